#include "assay/base/secret_text.h"

#include <openssl/crypto.h>

#include <utility>

namespace assay {
namespace {

// The whole room that a string has, not only what it shows: a shorter text does not hide the rest of a longer one.
void wipe_string(std::string& text) {
  text.resize(text.capacity());
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

}  // namespace

SecretText::SecretText(std::string&& text) : text_(std::move(text)) { wipe_string(text); }
SecretText::SecretText(SecretText&& other) noexcept : text_(std::move(other.text_)) { other.wipe(); }
SecretText& SecretText::operator=(SecretText&& other) noexcept {
  if (this != &other) {
    wipe();
    text_ = std::move(other.text_);
    other.wipe();
  }
  return *this;
}
SecretText::~SecretText() { wipe(); }

void SecretText::wipe() { wipe_string(text_); }

bool SecretText::push(char byte) {
  if (text_.capacity() < bytes_max) {
    std::string roomy;
    roomy.reserve(bytes_max);
    roomy = text_;
    wipe();
    text_ = std::move(roomy);
  }
  if (text_.size() >= bytes_max) return false;
  text_ += byte;
  return true;
}

void SecretText::pop() {
  if (text_.empty()) return;
  text_.back() = 0;
  text_.pop_back();
}

void SecretText::chomp() {
  if (text_.ends_with('\n')) pop();
  if (text_.ends_with('\r')) pop();
}

}  // namespace assay
