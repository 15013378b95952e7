#include "assay/base/result.h"

namespace assay {
namespace {

struct Row {
  std::string_view name;
  int exit_code;
};

// The one table from error codes to exit codes; the order is that of the enumerators.
constexpr Row rows[] = {
    {"malformed", 1}, {"limit_exceeded", 1}, {"mismatch", 3}, {"diverged", 4}, {"over_budget", 5}, {"refused", 6},  {"unavailable", 7},
    {"timed_out", 7}, {"cancelled", 130},    {"io", 1},       {"usage", 2},    {"unreadable", 1},  {"internal", 1},
};

}  // namespace

std::string_view name(ErrorCode code) { return rows[static_cast<int>(code)].name; }
int exit_code(ErrorCode code) { return rows[static_cast<int>(code)].exit_code; }

Error Error::in(std::string_view outer) && {
  // A file or an option that the path names already is not named twice.
  const std::string_view place = outer.starts_with("--") ? outer.substr(2) : outer;
  const bool named = place.size() < outer.size() || outer.find_first_of("/.") != std::string_view::npos;
  if (named && path.starts_with(place) && (path.size() == place.size() || std::string_view(".[:/").contains(path[place.size()]))) {
    path.replace(0, place.size(), outer);
  } else if (path.empty()) {
    path = outer;
  } else if (path.starts_with("line ") || path.starts_with("column ")) {
    path.insert(0, std::string(outer) + " ");
  } else if (path.front() == '[' || path.front() == ':' || path.front() == '/') {
    path.insert(0, outer);
  } else {  // another file, or a node's path, is no member of what is outside
    path.insert(0, std::string(outer) + (path.find('/') != std::string::npos ? ": " : "."));
  }
  path = short_place(std::move(path));
  return std::move(*this);
}

std::string short_place(std::string place) {
  constexpr std::size_t shown_max = 1024, ends = 480;  // bytes; what is cut off is the middle: both ends say the most
  if (place.size() <= shown_max) return place;
  const auto inside = [&](std::size_t at) { return (static_cast<unsigned char>(place[at]) & 0xC0) == 0x80; };
  std::size_t begin = ends, end = place.size() - ends;
  for (int i = 0; i < 3 && inside(begin); ++i) --begin;
  for (int i = 0; i < 3 && inside(end); ++i) ++end;
  place.replace(begin, end - begin, "…");
  return place;
}

std::string Error::text() const {
  std::string out = short_place(message) + " (" + std::string(name(code)) + ")";
  if (!path.empty()) out += "\n  at   " + path;
  if (!remedy.empty()) out += "\n  try  " + remedy;
  return out;
}

}  // namespace assay
