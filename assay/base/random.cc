#include "assay/base/random.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "assay/base/json.h"

namespace assay {

Bytes32 Random::block() {
  std::string text = fmt::format("[\"assay.random/1\",{},", stream_.seed);
  append_json_string(text, stream_.phase);
  text += fmt::format(",{},", stream_.iteration);
  append_json_string(text, stream_.purpose);
  text += fmt::format(",{}]", next_++);
  return sha256(text);
}

std::uint64_t Random::word() {
  const Bytes32 bytes = block();
  std::uint64_t x = 0;
  for (std::size_t i = 0; i < 8; ++i) x = x << 8 | bytes[i];
  return x;
}

std::uint64_t Random::below(std::uint64_t n) {
  // n·⌊2^64/n⌋ as 2^64 − (2^64 mod n); 0 stands for 2^64 itself, when every x is accepted.
  const std::uint64_t limit = 0 - (0 - n) % n;
  while (true) {  // ends: at least half of all draws are accepted
    const std::uint64_t x = word();
    if (limit == 0 || x < limit) return x % n;
  }
}

double Random::unit() { return static_cast<double>(word() >> 11) * 0x1p-53; }

std::string Entropy::hex_bytes(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  fill(bytes);
  return hex(std::span<const std::uint8_t>(bytes));
}

Bytes32 Entropy::bytes32() {
  Bytes32 out{};
  fill(out);
  return out;
}

namespace {

class SystemEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> out) override {
    while (!out.empty()) {  // ends: each round fills at least one byte, or the process cannot go on safely
      const ssize_t count = getrandom(out.data(), out.size(), 0);  // may give less, or EINTR, beyond 256 bytes
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) std::abort();
      out = out.subspan(static_cast<std::size_t>(count));
    }
  }
};

}  // namespace

Entropy& system_entropy() {
  static SystemEntropy entropy;
  return entropy;
}

void FixedEntropy::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const Bytes32 block = random_.block();
    const std::size_t count = std::min<std::size_t>(out.size(), block.size());
    std::copy_n(block.begin(), count, out.begin());
    out = out.subspan(count);
  }
}

}  // namespace assay
