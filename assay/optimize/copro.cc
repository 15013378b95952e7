#include "assay/optimize/copro.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/base/nearest.h"
#include "assay/optimize/stats.h"

namespace assay {
namespace {

constexpr std::size_t proposal_bytes_max = 4000;
constexpr std::size_t attempts_shown = 5;

constexpr const char* first_brief =
    "You write instructions for a language model. Below are the instructions of one step of a program, and what the step is given and must "
    "answer. Write better instructions for the same step: say plainly what to look at, how to decide, and what the answer must look like. "
    "Name every answer that is allowed. Do not answer the task itself. Reply with the new instructions only.";

constexpr const char* next_brief =
    "You write instructions for a language model. Below are instructions that were tried for one step of a program, each with the share of "
    "examples that it got right, the worst first. Find out what the better ones do and the worse ones miss, then write instructions that "
    "are better than all of them. Do not repeat one of them, and do not answer the task itself. Reply with the new instructions only.";

// What has been tried for one predictor.
struct Attempt {
  std::string text;
  double score = 0;
  std::int64_t order = 0;
};

std::string fields_text(const std::vector<Field>& fields) {
  std::string out;
  for (const Field& field : fields) {
    out += fmt::format("{}- {}", out.empty() ? "" : "\n", field.name);
    if (!field.description.empty()) out += ": " + field.description;
    if (const Json& values = field.schema.at("enum"); values.is_list()) out += " (one of " + canonical(values).value_or("") + ")";
  }
  return out;
}

Result<Predictor> proposer(std::string_view signature_text, const char* brief, const CoproConfig& config) {
  Predictor out;
  ASSAY_TRY(out.signature, Signature::parse(signature_text, "ProposeInstructions", brief));
  out.template_json = ChatTemplate::make(out.signature);
  out.config = Predictor::default_config();
  out.config.set("temperature", config.init_temperature);
  out.config.set("max_tokens", config.max_tokens);
  out.config.set("seed_policy", "per_rollout");
  return out;
}

// A proposal as a model writes it, without what it likes to put around it.
std::string cleaned(std::string_view text) {
  text = trim(text);
  if (text.size() > 1 && text.front() == text.back() && (text.front() == '"' || text.front() == '\''))
    text = text.substr(1, text.size() - 2);
  return std::string(trim(text));
}

class Coordinate {
 public:
  Coordinate(Search& search, const CoproConfig& config, std::string path, Candidate& best, double& best_score, std::int64_t& made)
      : search_(search), config_(config), path_(std::move(path)), best_(best), best_score_(best_score), made_(made) {}

  Result<void> run() {
    const std::string current = best_.program.predictor(path_).signature.instructions;
    attempts_.push_back({current, best_score_, 0});
    for (std::int64_t round = 0; round < config_.depth; ++round) {
      const std::int64_t wanted = round == 0 ? config_.breadth - 1 : config_.breadth;
      for (std::int64_t i = 0; i < wanted; ++i) {
        ASSAY_TRY(const std::optional<std::string> text, propose(round, i));
        if (text) ASSAY_CHECK(attempt(*text));
      }
    }
    return {};
  }

 private:
  Result<std::optional<std::string>> propose(std::int64_t round, std::int64_t index) {
    const Predictor& student = search_.student.predictor(path_);
    JsonObject inputs{{"given", fields_text(student.signature.inputs)}, {"answers", fields_text(student.signature.outputs)}};
    Result<Predictor> predictor = fail(ErrorCode::internal, "");
    if (round == 0) {
      predictor = proposer("instructions, given, answers -> proposal", first_brief, config_);
      inputs.set("instructions", attempts_.front().text);
    } else {
      predictor = proposer("attempts, given, answers -> proposal", next_brief, config_);
      inputs.set("attempts", attempts_text());
    }
    if (!predictor) return std::unexpected(predictor.error());
    Context node = search_.context.at(fmt::format("propose:{}.{}.{}", made_, round, index)).with_rollout(index);
    if (search_.proposer != nullptr) node = node.with_lm(search_.proposer);
    auto answer = run_predictor(node, "propose", *predictor, inputs);
    if (!answer) {
      if (is_program_failure(answer.error().code)) return std::optional<std::string>();
      return std::unexpected(std::move(answer.error()));
    }
    std::string text = cleaned(answer->at("proposal").as_string());
    const bool seen = std::any_of(attempts_.begin(), attempts_.end(), [&](const Attempt& a) { return a.text == text; });
    if (text.empty() || text.size() > proposal_bytes_max || seen) return std::optional<std::string>();
    return std::optional(std::move(text));
  }

  // The best of what was tried, the worst of them first: what stands last weighs most.
  std::string attempts_text() const {
    std::vector<Attempt> shown = attempts_;
    std::sort(shown.begin(), shown.end(),
              [](const Attempt& a, const Attempt& b) { return a.score != b.score ? a.score > b.score : a.order < b.order; });
    shown.resize(std::min(shown.size(), attempts_shown));
    std::reverse(shown.begin(), shown.end());
    std::string out;
    for (const Attempt& attempt : shown) out += fmt::format("{}Score {:.3f}:\n{}\n", out.empty() ? "" : "\n", attempt.score, attempt.text);
    return out;
  }

  Result<void> attempt(const std::string& text) {
    auto program = best_.program.with_instructions(path_, text);
    if (!program) return std::unexpected(program.error());
    Candidate candidate{fmt::format("cand:{}", ++made_), std::move(*program), {}, fmt::format("instructions of {}", path_)};
    ASSAY_TRY(auto scores, score_candidate(search_, candidate));
    const double score = mean(scores);
    attempts_.push_back({text, score, made_});
    if (score <= best_score_) return {};  // a tie keeps the earlier one
    best_score_ = score;
    search_.best_scores = std::move(scores);
    best_ = std::move(candidate);
    return {};
  }

  Search& search_;
  const CoproConfig& config_;
  std::string path_;
  Candidate& best_;
  double& best_score_;
  std::int64_t& made_;
  std::vector<Attempt> attempts_;
};

}  // namespace

Result<CoproConfig> CoproConfig::read(const JsonObject& config) {
  CoproConfig out;
  const std::tuple<std::string_view, std::int64_t*, std::int64_t, std::int64_t> counts[] = {{"breadth", &out.breadth, 2, 64},
                                                                                            {"depth", &out.depth, 1, 32},
                                                                                            {"max_tokens", &out.max_tokens, 8, 8192},
                                                                                            {"val_rows", &out.val_rows, 0, 1000000}};
  for (const auto& [key, value] : config) {
    const auto count =
        std::find_if(std::begin(counts), std::end(counts), [&key = key](const auto& row) { return std::get<0>(row) == key; });
    if (count != std::end(counts)) {
      const auto& [name, into, least, most] = *count;
      if (!value.is_int() || value.as_int() < least || value.as_int() > most)
        return fail(ErrorCode::malformed, fmt::format("'{}' is an integer from {} to {}", key, least, most), "", "optimizer." + key);
      *into = value.as_int();
    } else if (key == "init_temperature") {
      if (!value.is_number() || !(value.as_double() >= 0 && value.as_double() <= 2))
        return fail(ErrorCode::malformed, "'init_temperature' is a number from 0 to 2", "", "optimizer." + key);
      out.init_temperature = value.as_double();
    } else {
      const std::string near = nearest(key, {"breadth", "depth", "init_temperature", "max_tokens", "val_rows"});
      return fail(ErrorCode::malformed, fmt::format("unknown hyper-parameter '{}'", key),
                  near.empty() ? "see docs/reference/optimizers.md" : fmt::format("did you mean '{}'?", near), "optimizer." + key);
    }
  }
  return out;
}

JsonObject CoproConfig::to_json() const {
  return {
      {"breadth", breadth}, {"depth", depth}, {"init_temperature", init_temperature}, {"max_tokens", max_tokens}, {"val_rows", val_rows}};
}

Result<Candidate> Copro::compile(Search& search) const {
  if (config_.val_rows > 0 && static_cast<std::size_t>(config_.val_rows) < search.val.size())
    search.val = search.val.first(static_cast<std::size_t>(config_.val_rows));
  Candidate best{"cand:0", search.student, {}, "the program as it is"};
  ASSAY_TRY(search.best_scores, score_candidate(search, best));
  double best_score = mean(search.best_scores);
  std::int64_t made = 0;
  for (const std::string& path : search.student.predictor_paths())
    ASSAY_CHECK(Coordinate(search, config_, path, best, best_score, made).run());
  return best;
}

}  // namespace assay
