#include "assay/program/rewards.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "assay/base/nearest.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

// The digest of a built-in names its rule, spelled out: another rule is another text, so another digest.
CodeRef built_in_ref(std::string name, std::string version, std::string_view rule) {
  return {std::move(name), std::move(version), sha256_hex(rule)};
}

bool is_empty(const Json& value) {
  if (value.is_string()) return value.as_string().find_first_not_of(" \t\r\n") == std::string::npos;
  if (value.is_list()) return value.as_list().empty();
  return value.is_null() || (value.is_object() && value.as_object().empty());
}

double nonempty(const Json&, const Prediction& prediction) {
  const auto& outputs = prediction.outputs.as_object();
  const auto full = std::count_if(outputs.begin(), outputs.end(), [](const auto& m) { return !is_empty(m.second); });
  return outputs.empty() ? 0 : static_cast<double>(full) / static_cast<double>(outputs.size());
}

std::string shown(const Json& value) {
  constexpr std::size_t bytes_max = 200;
  std::string text = canonical(value).value_or("");
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "…";
}

// "section: expected "mail", got "sound"", for each output that differs from its label.
std::string differences(const Example& example, const Prediction& prediction) {
  std::string out;
  for (const auto& [key, label] : example.labels().as_object()) {
    if (prediction.at(key) == label) continue;
    out += fmt::format("{}{}: expected {}, got {}", out.empty() ? "" : "; ", key, shown(label), shown(prediction.at(key)));
  }
  return out;
}

Scored accuracy(const Example& example, const Prediction& prediction) {
  std::string wrong = differences(example, prediction);
  return {wrong.empty() ? 1.0 : 0.0, std::move(wrong)};
}

std::map<std::string, int> words(const Json& value) {
  std::map<std::string, int> out;
  std::string word;
  const std::string text = value.is_string() ? value.as_string() : canonical(value).value_or("");
  for (const char c : text + " ") {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte) != 0) word += byte < 0x80 ? static_cast<char>(std::tolower(byte)) : c;
    else if (!word.empty()) ++out[std::exchange(word, {})];
  }
  return out;
}

Scored token_f1(const Example& example, const Prediction& prediction) {
  double sum = 0;
  const auto& labels = example.labels().as_object();
  for (const auto& [key, label] : labels) {
    const auto want = words(label), found = words(prediction.at(key));
    double same = 0, want_count = 0, found_count = 0;
    for (const auto& [w, n] : want) want_count += n;
    for (const auto& [w, n] : found) {
      found_count += n;
      const auto at = want.find(w);
      if (at != want.end()) same += std::min(n, at->second);
    }
    sum += want_count + found_count == 0 ? 1 : 2 * same / (want_count + found_count);
  }
  return {labels.empty() ? 0 : sum / static_cast<double>(labels.size()), differences(example, prediction)};
}

template <class Entry>
Result<Entry> find_named(const std::map<std::string, Entry, std::less<>>& entries, std::string_view name, std::string_view what) {
  const auto at = entries.find(name);
  if (at != entries.end()) return at->second;
  std::string known;
  std::vector<std::string_view> names;
  for (const auto& [key, entry] : entries) {
    known += (known.empty() ? "" : ", ") + key;
    names.push_back(key);
  }
  const std::string near = nearest(name, names);
  return fail(ErrorCode::usage, fmt::format("unknown {} '{}'", what, name),
              near.empty() ? "known here: " + known : fmt::format("did you mean '{}'? known here: {}", near, known));
}

template <class Entry>
Result<Entry> find_exact(const std::map<std::string, Entry, std::less<>>& entries, const CodeRef& ref, std::string_view what) {
  ASSAY_TRY(Entry entry, find_named(entries, ref.name, what));
  if (entry.ref.version != ref.version) {
    return fail(ErrorCode::refused,
                fmt::format("{} '{}' has version {} here, {} is asked for", what, ref.name, entry.ref.version, ref.version));
  }
  if (entry.ref.digest != ref.digest) {
    return fail(ErrorCode::refused,
                fmt::format("{} '{}' has another digest here (want {}, found {})", what, ref.name, ref.digest, entry.ref.digest),
                "use the build whose code the module names");
  }
  return entry;
}

}  // namespace

Json CodeRef::to_json() const { return JsonObject{{"name", name}, {"version", version}, {"digest", digest}}; }

Result<CodeRef> CodeRef::read(const Json& value) {
  CodeRef ref;
  ASSAY_TRY(ref.name, string_member(value, "name"));
  ASSAY_TRY(ref.version, string_member(value, "version"));
  ASSAY_TRY(ref.digest, string_member(value, "digest"));
  return ref;
}

Rewards Rewards::built_in() {
  Rewards out;
  out.add(
      {built_in_ref("nonempty", "1", "assay.reward/nonempty/1: share of output fields that are not null, blank text, [] or {}"), nonempty});
  return out;
}
void Rewards::add(Reward reward) { rewards_.insert_or_assign(reward.ref.name, std::move(reward)); }
Result<Reward> Rewards::find(const CodeRef& ref) const { return find_exact(rewards_, ref, "reward"); }
Result<Reward> Rewards::find(std::string_view name) const { return find_named(rewards_, name, "reward"); }

Metrics Metrics::built_in() {
  Metrics out;
  out.add(
      {built_in_ref("accuracy", "1", "assay.metric/accuracy/1: 1 when every label equals its output as a JSON value, else 0"), accuracy});
  out.add({built_in_ref("token_f1", "1", "assay.metric/token_f1/1: mean over labels of the F1 of word counts, ASCII letters lowered"),
           token_f1});
  return out;
}
void Metrics::add(Metric metric) { metrics_.insert_or_assign(metric.ref.name, std::move(metric)); }
Result<Metric> Metrics::find(const CodeRef& ref) const { return find_exact(metrics_, ref, "metric"); }
Result<Metric> Metrics::find(std::string_view name) const { return find_named(metrics_, name, "metric"); }

}  // namespace assay
