// What this machine can do at best: multiply-adds from registers, and bytes read from each level of memory.
// Built by roofline.py with -O3 -march=native -fopenmp; prints one JSON object.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

typedef float Vec __attribute__((vector_size(64)));

static double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static void keep(Vec x) { asm volatile("" : : "m"(x) : "memory"); }

// The best of some rates, with all threads at work at once; summed over threads.
template <class Work>
static double best_rate(int threads, int repeats, Work work) {
  double best = 0;
  for (int r = 0; r < repeats; ++r) {
    double slowest = 0, done = 0;
#pragma omp parallel num_threads(threads) reduction(max : slowest) reduction(+ : done)
    {
#pragma omp barrier
      const double start = now();
      done += work(omp_get_thread_num());
      slowest = now() - start;
    }
    best = std::max(best, done / slowest);
  }
  return best;
}

static double multiply_add(int threads) {
  return best_rate(threads, 20, [](int) {
    Vec sum[12] = {}, a = Vec{} + 1.0000001f, b = Vec{} + 1e-9f;
    asm volatile("" : "+m"(a), "+m"(b));
    const int n = 1 << 20;
    for (int i = 0; i < n; ++i)
      for (Vec& s : sum) s = s * a + b;
    for (Vec s : sum) keep(s);
    return 2.0 * 16 * 12 * n;
  });
}

static double read(int threads, std::size_t bytes) {
  std::vector<char*> memory(threads);
#pragma omp parallel num_threads(threads)
  {
    char* own = static_cast<char*>(std::aligned_alloc(std::size_t{2} << 20, std::max(bytes, std::size_t{2} << 20)));
    std::memset(own, 1, bytes);
    memory[omp_get_thread_num()] = own;
  }
  const std::size_t passes = std::max<std::size_t>(1, (std::size_t{256} << 20) / bytes);
  const double rate = best_rate(threads, 7, [&](int thread) {
    const Vec* from = reinterpret_cast<const Vec*>(memory[thread]);
    Vec sum[8] = {};
    for (std::size_t pass = 0; pass < passes; ++pass)
      for (std::size_t i = 0; i < bytes / 64; i += 8)
        for (int v = 0; v < 8; ++v) sum[v] += from[i + v];
    for (Vec s : sum) keep(s);
    return static_cast<double>(passes * bytes);
  });
  for (char* own : memory) std::free(own);
  return rate;
}

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  std::printf("{\"threads\": %d, \"multiply_add_flops\": %.4g, \"near_bytes\": %.4g, \"second_bytes\": %.4g, ", threads,
              multiply_add(threads), read(threads, 32 << 10), read(threads, 512 << 10));
  std::printf("\"far_bytes\": %.4g}\n", read(threads, std::size_t{256} << 20));
}
