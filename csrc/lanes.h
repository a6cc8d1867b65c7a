// Vectors whose last may be cut short: rows of PyTorch's tensors end where they end.
#pragma once

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "vector.h"

namespace sparsefield {
namespace SF_ISA {

// The first n lanes of a vector, 1 <= n <= W. Sanitizers do not see into masked instructions.
struct Lanes {
  int n;
#if defined(__AVX512F__) && !defined(SF_EXACT)
  __mmask16 mask;
  explicit Lanes(int count) : n(count), mask(static_cast<__mmask16>((1u << count) - 1u)) {}
  Vec load(const float* p) const { return _mm512_maskz_loadu_ps(mask, p); }
  void store(float* p, Vec x) const { _mm512_mask_storeu_ps(p, mask, x); }
#elif defined(__AVX2__) && !defined(SF_EXACT)
  __m256i mask;
  explicit Lanes(int count)
      : n(count),
        mask(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))) {}
  Vec load(const float* p) const { return _mm256_maskload_ps(p, mask); }
  void store(float* p, Vec x) const { _mm256_maskstore_ps(p, mask, x); }
#else
  explicit Lanes(int count) : n(count) {}
  Vec load(const float* p) const {
    if (n == W) return SF_ISA::load(p);
    Vec x{};
    for (int i = 0; i < n; ++i) x[i] = p[i];
    return x;
  }
  void store(float* p, Vec x) const {
    if (n == W) return SF_ISA::store(p, x);
    for (int i = 0; i < n; ++i) p[i] = x[i];
  }
#endif
};

inline int vectors_of(int n) { return (n + W - 1) / W; }
inline Lanes last_of(int n) { return Lanes(n - (vectors_of(n) - 1) * W); }

inline Vec root(Vec x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(x);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#else
  for (int i = 0; i < W; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

typedef float Quad __attribute__((vector_size(16)));

// The sums of four vectors.
inline Quad sums_of(const Vec* x) {
  Quad q[4];
  for (int i = 0; i < 4; ++i) {
    Quad piece[W / 4];
    std::memcpy(piece, x + i, sizeof piece);
    q[i] = piece[0];
    for (int k = 1; k < W / 4; ++k) q[i] += piece[k];
  }
  const Quad a =
      __builtin_shufflevector(q[0], q[1], 0, 4, 1, 5) + __builtin_shufflevector(q[0], q[1], 2, 6, 3, 7);
  const Quad b =
      __builtin_shufflevector(q[2], q[3], 0, 4, 1, 5) + __builtin_shufflevector(q[2], q[3], 2, 6, 3, 7);
  return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
}

// While it lives, this thread takes numbers below the smallest normal one for zero: gradients of dead
// paths underflow, and arithmetic on what is left takes a hundred times as long.
class Flush {
 public:
#if defined(__SSE__)
  Flush() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
  ~Flush() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  Flush() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | uint64_t{1} << 24) : "memory");
  }
  ~Flush() { asm volatile("msr fpcr, %0" ::"r"(before_) : "memory"); }

 private:
  uint64_t before_;
#else
  Flush() {}
#endif
};

}  // namespace SF_ISA
}  // namespace sparsefield
