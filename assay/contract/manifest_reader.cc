// From JSON to the typed manifest: strict about what formats.md shows, keeping what it does not know.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "assay/contract/manifest.h"
#include "assay/contract/shape.h"

namespace assay {
namespace {

using Kind = Json::Kind;

constexpr std::int64_t count_max = json_integer_max;

// Reads an optional part with `read`, which takes a Spot.
template <class T, class Read>
Result<std::optional<T>> maybe(const Spot& spot, std::string_view key, Read read) {
  ASSAY_TRY(const auto found, spot.get_or_null(key, Kind::object));
  if (!found) return std::optional<T>();
  ASSAY_TRY(T value, read(*found));
  return std::optional<T>(std::move(value));
}

Result<std::optional<double>> maybe_number(const Spot& spot, std::string_view key) {
  ASSAY_TRY(const auto found, spot.get_or_null(key, Kind::number));
  return found ? std::optional<double>(found->value().as_double()) : std::nullopt;
}

Result<std::optional<std::string>> maybe_hex(const Spot& spot, std::string_view key, std::size_t digits = 64) {
  ASSAY_TRY(const auto found, spot.get_or_null(key, Kind::string));
  if (!found) return std::optional<std::string>();
  ASSAY_TRY(std::string text, spot.hex_text(key, digits));
  return std::optional<std::string>(std::move(text));
}

Result<std::optional<std::int64_t>> integer_if_set(const Spot& spot, std::string_view key) {
  ASSAY_TRY(const auto found, spot.get_if_set(key, Kind::integer));
  return found ? std::optional<std::int64_t>(found->value().as_int()) : std::nullopt;
}

Result<std::map<std::string, double>> numbers(const Spot& spot, std::string_view key) {
  ASSAY_TRY(const Spot object, spot.get(key, Kind::object));
  std::map<std::string, double> out;
  for (const auto& [name, value] : object.value().as_object()) {
    ASSAY_CHECK(object.member(name, value).is(Kind::number));
    out.emplace(name, value.as_double());
  }
  return out;
}

// A set: sorted by canonical order without duplicates, or its text would not be the only one for the same set.
Result<std::vector<std::string>> texts(const Spot& spot, std::string_view key) {
  ASSAY_TRY(const Spot list, spot.get(key, Kind::list));
  std::vector<std::string> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Spot item = list.item(i);
    ASSAY_CHECK(item.is(Kind::string));
    out.push_back(item.value().as_string());
    if (i > 0 && compare_utf16(out[i - 1], out[i]) >= 0) {
      return item.error(fmt::format("\"{}\" does not come after \"{}\"", out[i], out[i - 1]), "sort the list and take duplicates out");
    }
  }
  return out;
}

constexpr std::string_view interval_methods[] = {"wilson/1", "bootstrap/1", "paired-bootstrap/1"};

Result<Interval> interval_at(const Spot& spot) {
  Interval out;
  ASSAY_TRY(out.low, spot.number("low"));
  ASSAY_TRY(out.high, spot.number("high"));
  ASSAY_TRY(out.level, spot.number("level"));
  ASSAY_TRY(out.method, spot.text("method"));
  if (std::find(std::begin(interval_methods), std::end(interval_methods), out.method) == std::end(interval_methods))
    return spot.error(fmt::format("\"{}\" is no method of an interval", out.method), "wilson/1, bootstrap/1 or paired-bootstrap/1");
  ASSAY_TRY(out.seed, integer_if_set(spot, "seed"));
  ASSAY_TRY(out.b, integer_if_set(spot, "b"));
  if (!(out.level > 0 && out.level < 1)) return spot.error(fmt::format("a level lies between 0 and 1, found {}", number_text(out.level)));
  if (out.method == "wilson/1" && (out.low < 0 || out.high > 1)) return spot.error("an interval of a share lies within 0 and 1");
  if (out.low > out.high) return spot.error(fmt::format("low {} is above high {}", number_text(out.low), number_text(out.high)));
  out.extra = spot.others({"low", "high", "level", "method", "seed", "b"});
  return out;
}

Result<Usage> usage_at(const Spot& spot) {
  Usage out;
  ASSAY_TRY(out.calls, spot.integer("calls", 0));
  ASSAY_TRY(out.cached_calls, spot.integer("cached_calls", 0));
  ASSAY_TRY(out.prompt_tokens, spot.integer("prompt_tokens", 0));
  ASSAY_TRY(out.completion_tokens, spot.integer("completion_tokens", 0));
  out.extra = spot.others({"calls", "cached_calls", "prompt_tokens", "completion_tokens"});
  return out;
}

Result<Score> score_at(const Spot& spot) {
  Score out;
  ASSAY_TRY(out.score, spot.number("score"));
  ASSAY_TRY(out.interval, maybe<Interval>(spot, "interval", interval_at));
  out.extra = spot.others({"score", "interval"});
  return out;
}

Result<Quantiles> quantiles_at(const Spot& spot, std::string_view key) {
  ASSAY_TRY(const Spot found, spot.get(key, Kind::object));
  Quantiles out;
  ASSAY_TRY(out.p50, maybe_number(found, "p50"));
  ASSAY_TRY(out.p95, maybe_number(found, "p95"));
  out.extra = found.others({"p50", "p95"});
  return out;
}

Result<PerCall> per_call_at(const Spot& spot) {
  PerCall out;
  ASSAY_TRY(out.tokens, quantiles_at(spot, "tokens"));
  ASSAY_TRY(out.msats, quantiles_at(spot, "msats"));
  ASSAY_TRY(out.latency_ms, quantiles_at(spot, "latency_ms"));
  out.extra = spot.others({"tokens", "msats", "latency_ms"});
  return out;
}

Result<LaneRef> lane_at(const Spot& spot) {
  LaneRef out;
  ASSAY_TRY(out.lane_id, spot.hex_text("lane_id"));
  ASSAY_TRY(out.model, spot.text("model"));
  out.extra = spot.others({"lane_id", "model"});
  return out;
}

Result<AssayBuild> build_at(const Spot& spot) {
  AssayBuild out;
  ASSAY_TRY(out.version, spot.text("version"));
  ASSAY_TRY(out.build, spot.text("build"));
  out.extra = spot.others({"version", "build"});
  return out;
}

// Wilson's interval of a share holds that share, whatever the level.
Result<void> check_holds(const Spot& spot, std::string_view key, double value, const Interval& interval) {
  constexpr double rounding = 1e-9;
  if (interval.low - rounding <= value && value <= interval.high + rounding) return {};
  return spot.error(fmt::format("{} is {}, outside its own interval {} … {}", key, number_text(value), number_text(interval.low),
                                number_text(interval.high)));
}

Result<void> check_share(const Spot& spot, std::string_view key, double value) {
  if (value >= 0 && value <= 1) return {};
  return spot.error(fmt::format("{} is a share from 0 to 1, found {}", key, number_text(value)));
}

// A share stands in a share's interval, and the gain is the difference of the two scores.
Result<void> check_scores(const Spot& spot, const Scorecard& card) {
  const auto is_share = [](const std::optional<Interval>& interval) { return interval && interval->method == "wilson/1"; };
  if (card.score && is_share(card.interval)) {
    ASSAY_CHECK(check_share(spot, "score", *card.score));
    ASSAY_CHECK(check_holds(spot, "score", *card.score, *card.interval));
  }
  if (card.baseline && is_share(card.baseline->interval)) {
    ASSAY_CHECK(check_share(spot, "baseline.score", card.baseline->score));
    ASSAY_CHECK(check_holds(spot, "baseline.score", card.baseline->score, *card.baseline->interval));
  }
  if (is_share(card.p_fail_interval)) ASSAY_CHECK(check_holds(spot, "p_fail", card.p_fail, *card.p_fail_interval));
  if (card.score && !card.primary) return spot.error("there is a score, and no primary metric that it is of");
  if (card.gain && !(card.score && card.baseline)) return spot.error("there is a gain, and not both scores that it is the difference of");
  if (!card.score && card.primary && card.truth_metrics.contains(*card.primary))
    return spot.error(fmt::format("truth_metrics has a \"{}\", and the score that is of it is missing", *card.primary));
  if (is_share(card.gain_interval)) return spot.error("a gain is no share, and its interval has the method of one");
  if (card.interval && !card.score) return spot.error("there is an interval of a score, and no score");
  if (card.gain_interval && !card.gain) return spot.error("there is an interval of a gain, and no gain");
  if (card.score && card.primary) {
    const auto named = card.truth_metrics.find(*card.primary);
    if (named == card.truth_metrics.end() || named->second != *card.score)
      return spot.error(fmt::format("score is {}, but truth_metrics has {} for its primary \"{}\"", number_text(*card.score),
                                    named == card.truth_metrics.end() ? "nothing" : number_text(named->second), *card.primary));
  }
  if (card.score && card.baseline && card.gain) {
    const double difference = *card.score - card.baseline->score;
    const double rounding = 1e-9 * std::max({1.0, std::abs(*card.score), std::abs(card.baseline->score)});
    if (!(std::abs(difference - *card.gain) <= rounding))
      return spot.error(fmt::format("gain is {}, but score less baseline is {}", number_text(*card.gain), number_text(difference)));
  }
  return {};
}

Result<Scorecard> scorecard_at(const Spot& spot) {
  Scorecard out;
  ASSAY_TRY(out.proxy_metrics, numbers(spot, "proxy_metrics"));
  ASSAY_TRY(out.truth_metrics, numbers(spot, "truth_metrics"));
  ASSAY_TRY(const auto primary, spot.get_or_null("primary", Kind::string));
  if (primary) out.primary = primary->value().as_string();
  ASSAY_TRY(out.rollouts, spot.integer("rollouts", 0));
  ASSAY_TRY(out.median_score, spot.number("median_score"));
  ASSAY_TRY(out.p_fail, spot.number("p_fail"));
  ASSAY_CHECK(check_share(spot, "p_fail", out.p_fail));
  ASSAY_TRY(out.p_fail_interval, maybe<Interval>(spot, "p_fail_interval", interval_at));
  ASSAY_TRY(out.n_test, spot.integer("n_test", 0));
  ASSAY_TRY(out.score, maybe_number(spot, "score"));
  ASSAY_TRY(out.interval, maybe<Interval>(spot, "interval", interval_at));
  ASSAY_TRY(out.baseline, maybe<Score>(spot, "baseline", score_at));
  ASSAY_TRY(out.gain, maybe_number(spot, "gain"));
  ASSAY_TRY(out.gain_interval, maybe<Interval>(spot, "gain_interval", interval_at));
  ASSAY_TRY(out.test_looks, spot.integer("test_looks", 0));
  ASSAY_TRY(const Spot per_call, spot.get("per_call", Kind::object));
  ASSAY_TRY(out.per_call, per_call_at(per_call));
  ASSAY_CHECK(check_scores(spot, out));
  ASSAY_TRY(const auto overlaps, spot.get_if_set("overlaps", Kind::integer));
  if (overlaps) ASSAY_CHECK(spot.integer("overlaps", 0));
  out.extra = spot.others({"proxy_metrics", "truth_metrics", "primary", "rollouts", "median_score", "p_fail", "p_fail_interval", "n_test",
                           "score", "interval", "baseline", "gain", "gain_interval", "test_looks", "per_call"});
  return out;
}

Result<Compatibility> compatibility_at(const Spot& spot) {
  Compatibility out;
  ASSAY_TRY(out.required_tools, texts(spot, "required_tools"));
  ASSAY_TRY(out.required_lanes, texts(spot, "required_lanes"));
  ASSAY_TRY(out.capabilities, texts(spot, "capabilities"));
  ASSAY_TRY(const std::vector<std::string> modes, texts(spot, "privacy_modes_allowed"));
  for (const std::string& text : modes) {
    auto mode = parse_privacy(text);
    if (!mode) return std::unexpected(std::move(mode.error()).in("privacy_modes_allowed").in(spot.path()));
    out.privacy_modes_allowed.push_back(*mode);
  }
  ASSAY_TRY(out.min_provider_reputation, maybe_number(spot, "min_provider_reputation"));
  out.extra = spot.others({"required_tools", "required_lanes", "privacy_modes_allowed", "min_provider_reputation", "capabilities"});
  return out;
}

Result<Provenance> provenance_at(const Spot& spot) {
  Provenance out;
  ASSAY_TRY(out.task, maybe<LaneRef>(spot, "task", lane_at));
  ASSAY_TRY(out.proposer, maybe<LaneRef>(spot, "proposer", lane_at));
  ASSAY_TRY(const Spot build, spot.get("assay", Kind::object));
  ASSAY_TRY(out.assay, build_at(build));
  ASSAY_TRY(out.parent, maybe_hex(spot, "parent"));
  ASSAY_TRY(out.journal_root, maybe_hex(spot, "journal_root"));
  ASSAY_TRY(const Spot usage, spot.get("usage", Kind::object));
  ASSAY_TRY(out.usage, usage_at(usage));
  ASSAY_TRY(const auto cost, spot.get_or_null("cost_msats", Kind::integer));
  if (cost) {
    ASSAY_TRY(out.cost_msats, spot.integer("cost_msats", 0, count_max));
  }
  ASSAY_TRY(out.duration_ms, spot.integer("duration_ms", 0));
  out.extra = spot.others({"task", "proposer", "assay", "parent", "journal_root", "usage", "cost_msats", "duration_ms"});
  return out;
}

Result<void> read_signature(const Spot& spot, CompiledModuleManifest& out) {
  if (spot.value().at("signer").is_string()) {
    ASSAY_TRY(out.signer, spot.hex_text("signer"));
  } else if (!spot.value().at("signer").is_null()) {
    return spot.error("\"signer\" is a public key or null");
  }
  if (spot.value().at("signature").is_null()) return {};  // null or absent: unsigned
  ASSAY_TRY(out.signature, spot.hex_text("signature", 128));
  if (!out.signer) return spot.error("there is a signature without a signer", "sign the module again");
  return {};
}

Result<CompiledModuleManifest> manifest_at(const Spot& spot) {
  CompiledModuleManifest out;
  ASSAY_TRY(const std::string format, spot.text("format"));
  if (format != manifest_format) {
    return spot.error(fmt::format("expected format \"{}\", found \"{}\"", manifest_format, format), "use a version of Assay that knows it");
  }
  ASSAY_TRY(out.signature_name, spot.text("signature_name"));
  ASSAY_TRY(out.compiled_id, spot.hex_text("compiled_id"));
  ASSAY_TRY(out.optimizer, spot.text("optimizer"));
  ASSAY_TRY(const Spot config, spot.get("optimizer_config", Kind::object));
  for (const char* key : {"seed", "order_seed"}) ASSAY_CHECK(config.get_or_null(key, Kind::integer));
  out.optimizer_config = config.value().as_object();
  ASSAY_TRY(out.trainset_id, spot.hex_text("trainset_id"));
  ASSAY_TRY(out.valset_id, maybe_hex(spot, "valset_id"));
  ASSAY_TRY(out.testset_id, maybe_hex(spot, "testset_id"));
  ASSAY_TRY(out.created_at, spot.integer("created_at", 0));
  ASSAY_TRY(const Spot scorecard, spot.get("scorecard", Kind::object));
  ASSAY_TRY(out.scorecard, scorecard_at(scorecard));
  ASSAY_TRY(const Spot compatibility, spot.get("compatibility", Kind::object));
  ASSAY_TRY(out.compatibility, compatibility_at(compatibility));
  ASSAY_TRY(const Spot provenance, spot.get("provenance", Kind::object));
  ASSAY_TRY(out.provenance, provenance_at(provenance));
  ASSAY_CHECK(read_signature(spot, out));
  out.extra = spot.others({"format", "signature_name", "compiled_id", "optimizer", "optimizer_config", "trainset_id", "valset_id",
                           "testset_id", "created_at", "scorecard", "compatibility", "provenance", "signer", "signature"});
  return out;
}

// Through the canonical text, so that 3.0 is the integer 3, and NaN is refused with its place.
template <class T>
Result<T> read_with(const Json& json, Result<T> (*read)(const Spot&)) {
  ASSAY_TRY(const std::string text, canonical(json));
  ASSAY_TRY(const Json value, read_json(text));
  const Spot spot(value, "");
  ASSAY_CHECK(spot.is(Kind::object));
  return read(spot);
}

}  // namespace

Result<CompiledModuleManifest> read_manifest(const Json& json) { return read_with(json, manifest_at); }
Result<Scorecard> read_scorecard(const Json& json) { return read_with(json, scorecard_at); }
Result<Compatibility> read_compatibility(const Json& json) { return read_with(json, compatibility_at); }
Result<Provenance> read_provenance(const Json& json) { return read_with(json, provenance_at); }
Result<Interval> read_interval(const Json& json) { return read_with(json, interval_at); }
Result<Usage> read_usage(const Json& json) { return read_with(json, usage_at); }

}  // namespace assay
