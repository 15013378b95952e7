#pragma once
/// @file
/// Errors as values. Every fallible function of Assay returns `Result<T>`; no exception crosses a public boundary.
///
///     Result<Json> read(std::string_view text);
///     ASSAY_TRY(const Json value, read(text));        // passes the error on
///     return fail(ErrorCode::malformed, "expected an object, found a list", "wrap it in {}");
///
/// Thread safety: values; copy and move them freely.

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace assay {

/// Few and stable; `exit_code` maps each to the exit code of the command line (docs/formats.md §9).
enum class ErrorCode {
  malformed,       ///< the input breaks its format; the path names the place
  limit_exceeded,  ///< larger, deeper or longer than the documented limit
  mismatch,        ///< a hash, signature or other check does not hold
  diverged,        ///< a replay differs from its record
  over_budget,     ///< a budget is spent, or too small for the worst case of the next call
  refused,         ///< compatibility, privacy or trust says no
  unavailable,     ///< a lane, relay, provider or file that is needed cannot be reached
  timed_out,       ///< a deadline passed
  cancelled,       ///< a person or a caller stopped the work
  io,              ///< the operating system refused a read or a write
  usage,           ///< the call or the command line is wrong
  unreadable,      ///< an LM's answer cannot be read as the signature asks
  internal,        ///< a bug in Assay
};

std::string_view name(ErrorCode code);

/// 1 failed · 2 usage · 3 check · 4 replay · 5 budget · 6 refused · 7 unreachable · 130 interrupted.
int exit_code(ErrorCode code);

/// What happened, where, and what the reader can do. Holds no secret, ever.
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;  ///< what happened, with expected and found
  std::string path;     ///< where: "predictors.answer.demos[3]", "relay.jsonl:12:7"
  std::string remedy;   ///< what to do next; empty if nothing

  /// Prefixes the path with an outer place: `std::move(e).in("artifact")` gives "artifact.flow", and "one.run.jsonl: classify/0" for what
  /// is a path itself. A file or an option that it names already stays once.
  Error in(std::string_view outer) &&;
  /// "message (code)\n  at path\n  try remedy", as the command line prints it after "error: ".
  std::string text() const;
};

/// A place or message that is longer than 1,024 bytes loses its middle, which an ellipsis stands for; whole UTF-8 sequences are kept.
std::string short_place(std::string place);

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message, std::string remedy = {}, std::string path = {}) {
  return std::unexpected<Error>(Error{code, std::move(message), std::move(path), std::move(remedy)});
}

}  // namespace assay

#define ASSAY_CONCAT_(a, b) a##b
#define ASSAY_CONCAT(a, b) ASSAY_CONCAT_(a, b)
#define ASSAY_TRY_(tmp, decl, expr)                         \
  auto tmp = (expr);                                        \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  decl = std::move(*tmp)
/// `ASSAY_TRY(auto x, f());` declares x from f()'s value, or returns f()'s error. One per line.
#define ASSAY_TRY(decl, expr) ASSAY_TRY_(ASSAY_CONCAT(assay_try_, __LINE__), decl, expr)
/// For Result<void>: returns the error, else goes on.
#define ASSAY_CHECK(expr)                                                                                      \
  do {                                                                                                         \
    if (auto assay_checked = (expr); !assay_checked) return std::unexpected(std::move(assay_checked).error()); \
  } while (false)
