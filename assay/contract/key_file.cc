#include "assay/contract/key_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/contract/artifact.h"

namespace assay {
namespace {

constexpr std::string_view suffix = ".key";

Result<std::string> key_path(const std::string& folder, std::string_view name) {
  if (!is_name(name) || name.size() > 64) {
    return fail(ErrorCode::usage, fmt::format("\"{}\" is no key name", name), "use letters, digits, '_', '.' and '-'");
  }
  return fmt::format("{}/{}{}", folder, name, suffix);
}

void wipe(std::string& secret) { OPENSSL_cleanse(secret.data(), secret.size()); }

// Written beside its place and linked there: the link fails if the name is taken, so no key is ever replaced.
Result<void> write_new(const std::string& folder, const std::string& path, const std::string& secret) {
  ASSAY_CHECK(make_folders(folder, 0700));
  const std::string temporary = fmt::format("{}.{}.new", path, ::getpid());
  ASSAY_CHECK(write_file(temporary, secret, 0600));
  const int linked = ::link(temporary.c_str(), path.c_str());
  const int why = errno;
  ::unlink(temporary.c_str());
  if (linked == 0) return {};
  if (why == EEXIST) return fail(ErrorCode::usage, "a key of this name exists, and keys are never replaced", "choose another name", path);
  return fail(ErrorCode::io, fmt::format("the key cannot be put in its place: {}", std::strerror(why)), "check permissions", path);
}

Result<void> check_private(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    return fail(ErrorCode::io, fmt::format("the key cannot be opened: {}", std::strerror(errno)), "make one with `assay key new`", path);
  }
  if ((info.st_mode & 0077) == 0) return {};
  return fail(ErrorCode::refused, fmt::format("others may read this key (mode {:04o})", info.st_mode & 07777),
              fmt::format("chmod 600 {}", path), path);
}

}  // namespace

std::string default_key_folder() { return config_folder() + "/keys"; }

Result<void> import_key(const std::string& folder, std::string_view name, const SecretKey& key) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  std::string secret = hex(std::span<const std::uint8_t>(key.secret())) + "\n";
  auto written = write_new(folder, path, secret);
  wipe(secret);
  return written;
}

Result<SecretKey> create_key(const std::string& folder, std::string_view name, Entropy& entropy) {
  ASSAY_TRY(const SecretKey key, SecretKey::generate(entropy));
  ASSAY_CHECK(import_key(folder, name, key));
  return key;
}

Result<SecretKey> load_key(const std::string& folder, std::string_view name) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  ASSAY_CHECK(check_private(path));
  ASSAY_TRY(std::string text, read_file(path, 4096));
  if (text.ends_with('\n')) text.pop_back();
  auto key = SecretKey::parse(text);
  wipe(text);
  if (!key) return std::unexpected(std::move(key.error()).in(path));
  return key;
}

Result<SecretKey> load_or_create_key(const std::string& folder, std::string_view name, Entropy& entropy) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    auto made = create_key(folder, name, entropy);
    if (made || made.error().code != ErrorCode::usage) return made;  // usage: another process was faster, its key is the one
  }
  return load_key(folder, name);
}

Result<std::vector<KeyInfo>> list_keys(const std::string& folder) {
  std::vector<KeyInfo> out;
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return out;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string file = at->path().filename().string();
    if (!file.ends_with(suffix)) continue;
    KeyInfo info{file.substr(0, file.size() - suffix.size()), "", ""};
    const auto key = load_key(folder, info.name);
    if (key) info.public_hex = key->public_hex();
    else info.problem = key.error().message;
    out.push_back(std::move(info));
  }
  if (error) return fail(ErrorCode::io, fmt::format("the key folder cannot be read: {}", error.message()), "check permissions", folder);
  std::sort(out.begin(), out.end(), [](const KeyInfo& a, const KeyInfo& b) { return a.name < b.name; });
  return out;
}

}  // namespace assay
