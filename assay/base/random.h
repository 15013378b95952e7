#pragma once
/// @file
/// `random/1`: reproducible draws for decisions (docs/formats.md §4), and entropy for keys and ids.
///
///     Random random({.seed = 7, .phase = "search", .iteration = 0, .purpose = "demo"});
///     random.below(10);  random.unit();  random.shuffle(items);
///
/// Thread safety: a Random belongs to one thread; make one for each purpose.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "assay/base/sha256.h"

namespace assay {

struct RandomStream {
  std::int64_t seed = 0;  ///< 0 … 2^53−1
  std::string phase;
  std::int64_t iteration = 0;
  std::string purpose;
};

class Random {
 public:
  explicit Random(RandomStream stream) : stream_(std::move(stream)) {}
  /// The next block: sha256(canonical(["assay.random/1", seed, phase, iteration, purpose, k])).
  Bytes32 block();
  std::uint64_t word();                    ///< first 8 bytes of the next block, big-endian
  std::uint64_t below(std::uint64_t n);    ///< uniform in [0, n); n > 0
  double unit();                           ///< uniform in [0, 1)
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i-- > 1;) std::swap(items[i], items[below(i + 1)]);
  }

 private:
  RandomStream stream_;
  std::int64_t next_ = 0;
};

/// Source of unpredictable bytes: run ids, keys, signing, salts. Injected like the clock.
class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;
  std::string hex_bytes(std::size_t count);
  Bytes32 bytes32();
};

/// The kernel's. Used by main().
Entropy& system_entropy();

/// For tests: the same bytes each time, drawn from random/1.
class FixedEntropy final : public Entropy {
 public:
  explicit FixedEntropy(std::int64_t seed) : random_({seed, "entropy", 0, "test"}) {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  Random random_;
};

}  // namespace assay
