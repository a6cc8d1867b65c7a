// Threads that share one block of work, layer by layer.
#pragma once

#include <atomic>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sparsefield {

// A barrier that spins briefly, then lets others run: a layer takes microseconds, but there may be
// more threads than cores.
class Team {
 public:
  explicit Team(int size) : size_(size) {}
  int size() const { return size_; }

  void wait() {
    if (size_ == 1) return;
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
      spins < 4000 ? rest() : std::this_thread::yield();
  }

 private:
  static void rest() {
#if defined(__x86_64__)
    _mm_pause();
#endif
  }
  int size_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

}  // namespace sparsefield
