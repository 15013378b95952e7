#pragma once
/// @file
/// Text that must not stay in memory: a passphrase, a key as people copy it. Wiped when it goes, never printed, moved and not copied.
///
///     ASSAY_TRY(const SecretText passphrase, ask("key 'release'"));
///     encrypt_key(key, passphrase.view(), entropy);
///
/// Thread safety: a value.

#include <string>
#include <string_view>

namespace assay {

class SecretText {
 public:
  SecretText() = default;
  /// Takes the text over; `text` is wiped, the copy that a short string leaves behind included.
  explicit SecretText(std::string&& text);
  SecretText(SecretText&& other) noexcept;
  SecretText& operator=(SecretText&& other) noexcept;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText();

  std::string_view view() const { return text_; }
  bool empty() const { return text_.empty(); }
  /// Adds a byte without leaving a freed copy: room for `bytes_max` is taken at once. False: it is full.
  bool push(char byte);
  void pop();
  /// Takes a line's end off: "\n", "\r\n".
  void chomp();

  static constexpr std::size_t bytes_max = 4096;

 private:
  void wipe();
  std::string text_;
};

}  // namespace assay
