// Vectors of the instruction set that this translation unit is compiled for, by GCC's and Clang's
// vector extensions; intrinsics only where those have no word: packing the active lanes of a vector.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "chain.h"

namespace sparsefield {
namespace SF_ISA {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float Vec __attribute__((vector_size(W * 4)));
typedef float VecLoose __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef uint32_t Bits __attribute__((vector_size(W * 4)));
typedef uint32_t BitsLoose __attribute__((vector_size(W * 4), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(W * 4)));

inline Vec load(const float* p) { return *reinterpret_cast<const VecLoose*>(p); }
inline void store(float* p, Vec x) { *reinterpret_cast<VecLoose*>(p) = x; }
inline Vec all(float x) { return Vec{} + x; }

// W weights as float32, whatever they are stored as.
template <Format F>
struct Stored;

template <>
struct Stored<Format::float32> {
  using Type = float;
  static Vec load(const float* p) { return SF_ISA::load(p); }
};

template <>
struct Stored<Format::bfloat16> {
  using Type = uint16_t;
  static Vec load(const uint16_t* p) {
#if defined(__AVX512F__)
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
#elif defined(__AVX2__)
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
#else
    typedef uint16_t Half __attribute__((vector_size(W * 2), aligned(2), may_alias));
    const Bits bits = __builtin_convertvector(*reinterpret_cast<const Half*>(p), Bits) << 16;
    Vec x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
#endif
  }
};

template <>
struct Stored<Format::int8> {
  using Type = int8_t;
  static Vec load(const int8_t* p) {
#if defined(__AVX512F__)
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
    Vec x;
    for (int i = 0; i < W; ++i) x[i] = p[i];
    return x;
#endif
  }
};

// The lanes that are not zero (NaN is not), as bits.
inline uint32_t active_lanes(Vec y) {
#if defined(__AVX512F__)
  __mmask16 lanes = _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_NEQ_UQ);
  // GCC 12 may keep the widened mask in memory by a 16-bit store and read back 32 bits; in a general
  // register it is widened rightly. Met with -fsanitize=thread, where registers are few.
  asm("" : "+r"(lanes));
  return lanes;
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
#else
  uint32_t lanes = 0;
  for (int i = 0; i < W; ++i) lanes |= static_cast<uint32_t>(y[i] != 0.0f) << i;
  return lanes;
#endif
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// order[lanes]: the numbers of the set bits, first to last.
struct Order {
  alignas(32) uint32_t lane[256][8];
  constexpr Order() : lane{} {
    for (uint32_t bits = 0; bits < 256; ++bits)
      for (uint32_t i = 0, n = 0; i < 8; ++i)
        if (bits >> i & 1) lane[bits][n++] = i;
  }
};
inline constexpr Order ORDER;
#endif

// Write the chosen lanes of y and their indices (first, first + 1, ...) side by side; may write up to
// W entries, of which the first popcount(lanes) count.
inline void pack(uint32_t lanes, Vec y, uint32_t first, uint32_t* index, float* value) {
#if defined(__AVX512F__)
  const __m512i iota = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i where = _mm512_add_epi32(iota, _mm512_set1_epi32(static_cast<int>(first)));
  const __mmask16 mask = static_cast<__mmask16>(lanes);
  _mm512_storeu_si512(index, _mm512_maskz_compress_epi32(mask, where));
  _mm512_storeu_ps(value, _mm512_maskz_compress_ps(mask, y));
#elif defined(__AVX2__)
  const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i*>(ORDER.lane[lanes]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(index),
                      _mm256_add_epi32(order, _mm256_set1_epi32(static_cast<int>(first))));
  _mm256_storeu_ps(value, _mm256_permutevar8x32_ps(y, order));
#else
  for (int n = 0; lanes; lanes &= lanes - 1, ++n) {
    int i = __builtin_ctz(lanes);
    index[n] = first + static_cast<uint32_t>(i);
    value[n] = y[i];
  }
#endif
}

// phi(h). A NaN stays one: every comparison with it is false.
template <Phi P>
inline Vec apply(Vec h, Vec tau, Vec m) {
  if constexpr (P == Phi::identity) return h;
  if constexpr (P == Phi::cut) return h <= tau ? all(0.0f) : h;
  if constexpr (P == Phi::one_sided) {
    Vec y = h - tau;
    y = y < 0.0f ? all(0.0f) : y;
    return y > m ? m : y;
  }
  Vec y = h > tau ? h - tau : (h < -tau ? h + tau : (h == h ? all(0.0f) : h));
  y = y > m ? m : y;
  return y < -m ? -m : y;
}

}  // namespace SF_ISA
}  // namespace sparsefield
