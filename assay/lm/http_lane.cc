#include "assay/lm/http_lane.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include <fmt/format.h>

#include "assay/net/http_session.h"
#include "assay/net/url.h"

namespace assay {
namespace {

constexpr std::int64_t first_pause_ns = 500'000'000;
constexpr std::int64_t longest_pause_ns = 30'000'000'000;
constexpr std::int64_t longest_asked_ns = 120'000'000'000;  // a server that asks for more is not to be had now

// A gateway that lost its server does not know what that server did.
bool leaves_open(int status) { return status / 100 == 1 || status == 502 || status == 504 || (status >= 520 && status <= 524); }

bool may_ask_again(int status) { return status == 408 || status == 409 || status == 425 || status == 429 || status >= 500; }

// Retry-After in seconds or as a date (RFC 9110 §10.2.3); what cannot be read counts as not given, more than a year as a year.
std::optional<std::int64_t> retry_after_ns(const HttpHeaders& headers, Clock& clock) {
  constexpr double year = 366.0 * 86400;
  const auto text = find_header(headers, "retry-after");
  if (!text) return std::nullopt;
  double seconds = 0;
  const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  if (problem != std::errc{} || end != text->data() + text->size()) {
    std::tm date{};
    const std::string copy(*text);
    const char* rest = ::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
    if (rest == nullptr || *rest != '\0') return std::nullopt;
    seconds = std::max(0.0, static_cast<double>(::timegm(&date)) - static_cast<double>(clock.unix_ns()) / 1e9);
  }
  if (!(seconds >= 0)) return std::nullopt;
  return static_cast<std::int64_t>(std::min(seconds, year) * 1e9);
}

// What was asked for, no more: servers send log-probabilities and alternatives by habits of their own.
Result<void> keep_wanted_logprobs(LmResponse& answer, const LogprobsWanted& wanted) {
  if (!wanted.yes) {
    answer.logprobs.reset();
    return {};
  }
  if (!answer.logprobs && answer.usage.completion_tokens > 0)
    return fail(ErrorCode::malformed, "the server sent no log-probabilities", "leave logprobs out, or use another lane", "config.logprobs");
  if (!answer.logprobs) answer.logprobs.emplace();
  for (SaidToken& token : *answer.logprobs) token.top.resize(std::min(token.top.size(), static_cast<std::size_t>(wanted.top)));
  return {};
}

}  // namespace

struct HttpLane::Impl {
  Impl(HttpLaneOptions given, Clock& c, Entropy& e)
      : options(std::move(given)), clock(c), entropy(e), session({.ca_file = options.ca_file}, c) {}

  HttpLaneOptions options;
  Clock& clock;
  Entropy& entropy;
  HttpSession session;
  Lane lane;
  std::string url;

  std::string without_key(std::string text) const { return without(std::move(text), options.api_key); }

  static std::string without(std::string text, const std::string& key) {
    constexpr std::string_view mask = "[key]";
    for (std::size_t at = key.empty() ? std::string::npos : text.find(key); at != std::string::npos;
         at = text.find(key, at + mask.size())) {  // ends: goes on behind the mask, which a short key may be a part of
      text.replace(at, key.size(), mask);
    }
    // A text that was cut may end within the key.
    constexpr std::size_t telling = 8;
    for (std::size_t size = key.size(); size > telling;) {  // ends: one byte fewer each time
      if (!text.ends_with(std::string_view(key).substr(0, --size))) continue;
      text.replace(text.size() - size, size, mask);
      break;
    }
    return text;
  }

  Error hidden(Error error) const {
    error.message = without_key(std::move(error.message));
    error.path = without(without_key(std::move(error.path)), pointer_token(options.api_key));  // so it stands in a place within JSON
    return error;
  }

  // An answer beyond the limits of a reader is the server's fault, not the prompt's.
  static Error transport_error(Error error) {
    if (error.code == ErrorCode::limit_exceeded) error.code = ErrorCode::malformed;
    return error;
  }

  // A server may send the key back in its answer, which goes into records. Very short ones are part of ordinary texts.
  void hide_key(LmResponse& answer) const {
    if (options.api_key.size() < 8) return;
    answer.content = without_key(std::move(answer.content));
    answer.finish_reason = without_key(std::move(answer.finish_reason));
    if (!answer.logprobs) return;
    for (SaidToken& token : *answer.logprobs) {
      for (TokenLogprob& other : token.top) other.token = without_key(std::move(other.token));
    }
    hide_key_in_pieces(*answer.logprobs);
  }

  // Tokens divide a key as they like: what they say together is looked at.
  void hide_key_in_pieces(std::vector<SaidToken>& tokens) const {
    std::string whole;
    for (const SaidToken& token : tokens) whole += token.said.token;
    std::vector<bool> secret(whole.size());
    const std::size_t size = options.api_key.size();
    for (std::size_t at = whole.find(options.api_key); at != std::string::npos; at = whole.find(options.api_key, at + size))
      std::fill_n(secret.begin() + static_cast<std::ptrdiff_t>(at), size, true);
    auto byte = secret.begin();
    for (SaidToken& token : tokens) {
      const auto end = byte + static_cast<std::ptrdiff_t>(token.said.token.size());
      if (std::find(byte, end, true) != end) {
        token.said.token.assign(token.said.token.size(), '*');  // as long as before, so that places stay
        token.top.clear();
      }
      byte = end;
    }
  }

  std::int64_t jittered(std::int64_t attempt) {
    const std::int64_t most = std::min(longest_pause_ns, first_pause_ns << std::min<std::int64_t>(attempt, 10));
    const Bytes32 bytes = entropy.bytes32();
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < 8; ++i) word = (word << 8) | bytes[i];
    return static_cast<std::int64_t>(word % static_cast<std::uint64_t>(most));
  }

  Error status_error(const HttpResponse& response) const {
    std::string why = chat_error_text(without_key(response.body));
    if (options.api_key.size() >= 8) why = without_key(std::move(why));  // it may have stood there in escapes
    const std::string said = fmt::format("{} answered {}{}", lane.engine, response.status, why.empty() ? "" : ": " + why);
    if (response.status >= 300 && response.status < 400)
      return {ErrorCode::unavailable, said, "lane", "redirects are not followed: give the endpoint's own address"};
    switch (response.status) {
      case 401:
      case 403: return {ErrorCode::refused, said, "lane", "give the key: key_env = \"NAME\" in [lane], or --key-env NAME"};
      case 404: return {ErrorCode::unavailable, said, "lane", "check the endpoint (it ends with /v1) and the model's name"};
      case 413: return {ErrorCode::limit_exceeded, said, "lane", "shorten the prompt"};
      case 400:
      case 422:
        return why.find("context") != std::string::npos ? Error{ErrorCode::limit_exceeded, said, "lane", "shorten the prompt"}
                                                        : Error{ErrorCode::refused, said, "lane", "the server does not take this request"};
      default: return {ErrorCode::unavailable, said, "lane", "try again later"};
    }
  }

  struct Try {
    Result<LmResponse> answer;
    bool again = false;
    bool lost = false;  // sent, and what became of it is not known
    std::optional<std::int64_t> pause_ns = {};
  };

  Try ask(const std::string& body, const Wait& wait) {
    ChatAnswerReader reader;
    Result<void> taken;
    bool begun = false, sent = false;
    HttpRequest request{"POST", url, {{"Content-Type", "application/json"}, {"Accept", "text/event-stream, application/json"}}, body};
    if (!options.api_key.empty()) request.headers.emplace_back("Authorization", "Bearer " + options.api_key);
    const auto response = session.stream(
        request,
        [&](std::string_view bytes) {
          begun = true;
          taken = reader.take(bytes);
          return taken.has_value();
        },
        wait, sent);
    if (!response)
      return {std::unexpected(transport_error(response.error())), response.error().code == ErrorCode::unavailable && !begun, sent};
    if (!taken) return {std::unexpected(hidden(std::move(taken.error()))), false, true};
    if (const int status = response->status; status / 100 != 2)
      return {std::unexpected(status_error(*response)), may_ask_again(status), leaves_open(status),
              retry_after_ns(response->headers, clock)};
    auto answer = reader.finish();
    if (!answer) return {std::unexpected(hidden(std::move(answer.error()))), false, true};
    hide_key(*answer);
    return {std::move(answer)};
  }

  Result<void> pause(std::int64_t ns, const Wait& wait, const Error& why) {
    const std::int64_t until = clock.steady_ns() + ns;
    if (until >= wait.deadline.at_ns) {
      Error error = why;
      error.message += fmt::format("; the next try would come in {:.1f} s, after the deadline", static_cast<double>(ns) / 1e9);
      return std::unexpected(std::move(error));
    }
    if (ns > longest_asked_ns) {
      Error error = why;
      error.message += fmt::format("; it asks to be left alone for {:.0f} s", static_cast<double>(ns) / 1e9);
      error.remedy = "ask again then, or use another server";
      return std::unexpected(std::move(error));
    }
    if (clock.sleep_until(until, wait.stop)) return {};
    return wait.check(clock, "the wait for " + lane.engine);
  }
};

HttpLane::HttpLane(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpLane::~HttpLane() = default;

Result<std::shared_ptr<HttpLane>> HttpLane::open(const HttpLaneOptions& options, Clock& clock, Entropy& entropy) {
  std::string base = options.base_url;
  while (base.ends_with('/')) base.pop_back();
  auto url = parse_url(base);
  if (!url) return std::unexpected(std::move(url.error()).in("lane.endpoint"));
  if (url->websocket()) return fail(ErrorCode::usage, "an openai lane needs an http:// or https:// endpoint", {}, "lane.endpoint");
  if (base.find_first_of("?#") != std::string::npos)
    return fail(ErrorCode::usage, "an endpoint is a base URL: the lane adds its path behind it", "leave query and fragment out",
                "lane.endpoint");
  if (options.model.empty())
    return fail(ErrorCode::usage, "an openai lane needs the name of a model", "model = \"…\", or --model", "lane.model");
  if (!options.api_key.empty() && !url->tls() && !is_loopback_host(url->host)) {
    return fail(ErrorCode::refused, fmt::format("the key would go to {} unencrypted", url->authority()), "use https://", "lane.endpoint");
  }
  if (!valid_header("Authorization", "Bearer " + options.api_key))
    return fail(ErrorCode::usage, "the key holds characters that no header may hold", "is there a line break at its end?", "lane.key_env");
  auto impl = std::make_unique<Impl>(options, clock, entropy);
  impl->url = base + "/chat/completions";
  impl->lane.kind = "openai";
  impl->lane.model = options.model;
  impl->lane.engine = fmt::format("{} ({})", url->scheme + "://" + url->authority(), name(options.dialect));
  return std::shared_ptr<HttpLane>(new HttpLane(std::move(impl)));
}

const Lane& HttpLane::lane() const { return impl_->lane; }
int HttpLane::concurrency() const { return static_cast<int>(std::clamp<std::int64_t>(impl_->options.concurrency, 1, 1024)); }

Result<void> HttpLane::takes(const LmRequest& request) const {
  const auto body = chat_body(request, impl_->options.model, impl_->options.dialect, true);
  return body ? Result<void>() : std::unexpected(body.error());
}

std::vector<PrivacyMode> HttpLane::privacy_modes() const {
  return impl_->options.privacy.empty() ? LM::privacy_modes() : sorted_privacy(impl_->options.privacy);
}

std::vector<std::string> HttpLane::capabilities() const {
  std::vector<std::string> out;
  if (impl_->options.context_tokens > 0) out.push_back(fmt::format("context:{}", impl_->options.context_tokens));
  if (impl_->options.dialect == ChatDialect::llama_cpp) out.emplace_back("json_schema");
  return out;
}

Result<LmResponse> HttpLane::complete_with(const LmRequest& request, const Wait& wait, const Events& events) {
  ASSAY_TRY(const std::string body, chat_body(request, impl_->options.model, impl_->options.dialect, true));
  if (impl_->options.context_tokens > 0) {
    const Json& most = request.config.at("max_tokens");
    if (most.is_int() && most.as_int() >= impl_->options.context_tokens)
      return fail(ErrorCode::limit_exceeded, fmt::format("max_tokens {} leaves no room for a prompt", most.as_int()), {},
                  "config.max_tokens");
  }
  ASSAY_TRY(const LogprobsWanted wanted, logprobs_wanted(request.config));
  for (std::int64_t attempt = 0;; ++attempt) {  // ends: with an answer, an error, or the last attempt
    const Wait limited{wait.deadline.sooner(Deadline::after(impl_->clock, std::chrono::seconds(impl_->options.attempt_seconds))),
                       wait.stop};
    Impl::Try tried = impl_->ask(body, limited);
    if (tried.answer) {
      if (attempt > 0) tried.answer->usage.more.set("attempts", attempt + 1);
      if (auto kept = keep_wanted_logprobs(*tried.answer, wanted); !kept) tried = {std::unexpected(kept.error()), false, true};
    }
    if (tried.answer) return std::move(tried.answer);
    const bool again = tried.again && attempt + 1 < impl_->options.attempts;
    Result<void> may;
    if (tried.lost && events.lost) may = events.lost(again);
    if (!again) return std::unexpected(std::move(tried.answer).error());
    ASSAY_CHECK(may);
    ASSAY_CHECK(impl_->pause(tried.pause_ns.value_or(impl_->jittered(attempt)), wait, tried.answer.error()));
  }
}

}  // namespace assay
