#include "assay/lm/logprobs.h"

#include <utility>

#include <fmt/format.h>

#include "assay/trace/record.h"

namespace assay {
namespace {

Json one_json(const TokenLogprob& token) { return JsonObject{{"token", recorded_text(token.token)}, {"logprob", token.logprob}}; }

Result<TokenLogprob> read_one(const Json& value) {
  TokenLogprob out;
  if (!value.is_object()) return fail(ErrorCode::malformed, "a token's log-probability is no object");
  auto token = recorded_bytes(value.at("token"));
  if (!token) return std::unexpected(std::move(token.error()).in("token"));
  out.token = *std::move(token);
  const Json& number = value.at("logprob");
  if (!number.is_number() || !(number.as_double() <= 0))
    return fail(ErrorCode::malformed, "a log-probability is a number up to 0", {}, "logprob");
  out.logprob = number.as_double();
  return out;
}

}  // namespace

Result<LogprobsWanted> logprobs_wanted(const Json& config) {
  LogprobsWanted out;
  const Json& yes = config.at("logprobs");
  if (!yes.is_null() && !yes.is_bool()) return fail(ErrorCode::malformed, "logprobs is true or false", {}, "config.logprobs");
  out.yes = yes.is_bool() && yes.as_bool();
  const Json& top = config.at("top_logprobs");
  if (top.is_null()) return out;
  if (!top.is_int() || top.as_int() < 0 || top.as_int() > top_logprobs_max) {
    return fail(ErrorCode::malformed, fmt::format("top_logprobs is a whole number from 0 to {}", top_logprobs_max), {},
                "config.top_logprobs");
  }
  if (!out.yes) return fail(ErrorCode::malformed, "top_logprobs says nothing without logprobs", "logprobs = true", "config.top_logprobs");
  out.top = static_cast<int>(top.as_int());
  return out;
}

Json logprobs_json(const std::vector<SaidToken>& tokens) {
  JsonList out;
  out.reserve(tokens.size());
  for (const SaidToken& token : tokens) {
    JsonList top;
    for (const TokenLogprob& other : token.top) top.push_back(one_json(other));
    Json one = one_json(token.said);
    one.set("top", std::move(top));
    out.push_back(std::move(one));
  }
  return out;
}

Result<std::vector<SaidToken>> read_logprobs(const Json& value) {
  if (!value.is_list()) return fail(ErrorCode::malformed, "log-probabilities are a list, one entry a token", {}, "logprobs");
  std::vector<SaidToken> out;
  out.reserve(value.as_list().size());
  for (std::size_t i = 0; i < value.as_list().size(); ++i) {
    const Json& entry = value.as_list()[i];
    SaidToken token;
    auto said = read_one(entry);
    if (!said) return std::unexpected(std::move(said.error()).in(fmt::format("logprobs[{}]", i)));
    token.said = *std::move(said);
    const Json& top = entry.at("top");
    if (!top.is_list()) return fail(ErrorCode::malformed, "top is a list", {}, fmt::format("logprobs[{}].top", i));
    for (const Json& other : top.as_list()) {
      auto read = read_one(other);
      if (!read) return std::unexpected(std::move(read.error()).in(fmt::format("logprobs[{}].top", i)));
      token.top.push_back(*std::move(read));
    }
    out.push_back(std::move(token));
  }
  return out;
}

}  // namespace assay
