#include "assay/contract/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/contract/artifact.h"
#include "assay/contract/encrypted_key.h"

namespace assay {
namespace {

constexpr std::string_view suffix = ".key";

// Given where a name belongs, a secret stands in the shell's history and in the list of processes: it is not repeated here too.
bool looks_secret(std::string_view name) { return name.starts_with("nsec1") || name.starts_with("ncryptsec1") || is_hex(name, 64); }

Result<std::string> key_path(const std::string& folder, std::string_view name) {
  if (looks_secret(name)) {
    return fail(ErrorCode::usage, "a secret key was given where the name of a key belongs",
                "others may have seen it: use another key from now on; assay key import reads one from a file or the terminal");
  }
  if (!is_name(name) || name.size() > 64) {
    return fail(ErrorCode::usage, fmt::format("\"{}\" is no key name", name), "use letters, digits, '_', '.' and '-'");
  }
  return fmt::format("{}/{}{}", folder, name, suffix);
}

// Written beside its place and linked there: the link fails if the name is taken, so no key is ever replaced.
Result<void> write_new(const std::string& folder, const std::string& path, std::string_view secret) {
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

// What a key file holds. An encrypted one is not opened here.
struct Stored {
  SecretText plain;  // 64 hex digits, or empty
  std::string encrypted, public_hex;
};

Result<Stored> read_stored(const std::string& path) {
  ASSAY_CHECK(check_private(path));
  ASSAY_CHECK(check_owner(path));
  ASSAY_TRY(std::string bytes, read_file(path, 4096));
  SecretText text(std::move(bytes));
  text.chomp();
  Stored out;
  const std::string_view view = text.view();
  if (!view.starts_with("ncryptsec1")) {
    out.plain = std::move(text);
    return out;
  }
  const std::size_t end = view.find('\n');
  out.encrypted = view.substr(0, end);
  if (end != std::string_view::npos) out.public_hex = view.substr(end + 1);
  if (!is_hex(out.public_hex, 64))
    return fail(ErrorCode::malformed, "the encrypted key has no public key in its second line", "import it again: assay key import", path);
  return out;
}

SecretText plain_line(const SecretKey& key) {
  std::string text = hex(std::span<const std::uint8_t>(key.secret()));
  text += '\n';
  return SecretText(std::move(text));
}

std::string encrypted_lines(const SecretKey& key, std::string_view encrypted) {
  return fmt::format("{}\n{}\n", encrypted, key.public_hex());
}

}  // namespace

std::string default_key_folder() { return config_folder() + "/keys"; }

Result<void> import_key(const std::string& folder, std::string_view name, const SecretKey& key) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  return write_new(folder, path, plain_line(key).view());
}

Result<void> import_encrypted_key(const std::string& folder, std::string_view name, const SecretKey& key, std::string_view encrypted) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  return write_new(folder, path, encrypted_lines(key, encrypted));
}

Result<SecretKey> create_key(const std::string& folder, std::string_view name, Entropy& entropy) {
  ASSAY_TRY(const SecretKey key, SecretKey::generate(entropy));
  ASSAY_CHECK(import_key(folder, name, key));
  return key;
}

Result<SecretKey> load_key(const std::string& folder, std::string_view name, const AskPassphrase& ask) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  ASSAY_TRY(const Stored stored, read_stored(path));
  if (stored.encrypted.empty()) {
    auto key = SecretKey::parse(stored.plain.view());
    if (!key) return std::unexpected(std::move(key.error()).in(path));
    return key;
  }
  if (!ask) return fail(ErrorCode::usage, "the key is under a passphrase", "assay key decrypt takes it out", path);
  ASSAY_TRY(const SecretText passphrase, ask(name));
  auto key = decrypt_key(stored.encrypted, passphrase.view());
  if (!key) return std::unexpected(std::move(key.error()).in(path));
  if (key->public_hex() != stored.public_hex)
    return fail(ErrorCode::mismatch, "the public key in the file is another's", "import the key again: assay key import", path);
  return key;
}

Result<SecretKey> load_or_create_key(const std::string& folder, std::string_view name, Entropy& entropy, const AskPassphrase& ask) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    auto made = create_key(folder, name, entropy);
    if (made || made.error().code != ErrorCode::usage) return made;  // usage: another process was faster, its key is the one
  }
  return load_key(folder, name, ask);
}

Result<std::string> encrypted_text(const std::string& folder, std::string_view name) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  ASSAY_TRY(Stored stored, read_stored(path));
  return std::move(stored.encrypted);
}

Result<void> replace_key(const std::string& folder, std::string_view name, const SecretKey& key, std::string_view encrypted) {
  ASSAY_TRY(const std::string path, key_path(folder, name));
  ASSAY_CHECK(check_private(path));
  if (encrypted.empty()) return write_file(path, plain_line(key).view(), 0600);
  return write_file(path, encrypted_lines(key, encrypted), 0600);
}

namespace {

KeyInfo info_of(const std::string& folder, std::string name) {
  KeyInfo info{std::move(name), "", "", false};
  const auto public_hex = [&]() -> Result<std::string> {
    ASSAY_TRY(const std::string path, key_path(folder, info.name));
    ASSAY_TRY(const Stored stored, read_stored(path));
    info.encrypted = !stored.encrypted.empty();
    if (info.encrypted) return stored.public_hex;
    ASSAY_TRY(const SecretKey key, SecretKey::parse(stored.plain.view()));
    return key.public_hex();
  }();
  if (public_hex) info.public_hex = *public_hex;
  else info.problem = public_hex.error().message;
  return info;
}

}  // namespace

Result<std::vector<KeyInfo>> list_keys(const std::string& folder) {
  std::vector<KeyInfo> out;
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return out;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string file = at->path().filename().string();
    if (!file.ends_with(suffix)) continue;
    out.push_back(info_of(folder, file.substr(0, file.size() - suffix.size())));
  }
  if (error) return fail(ErrorCode::io, fmt::format("the key folder cannot be read: {}", error.message()), "check permissions", folder);
  std::sort(out.begin(), out.end(), [](const KeyInfo& a, const KeyInfo& b) { return a.name < b.name; });
  return out;
}

}  // namespace assay
