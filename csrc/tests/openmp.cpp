// The little of GCC's OpenMP that the kernels use, in plain threads that a sanitizer follows. It does not
// follow libgomp's, which wait for one another by futex, and would report every region as a race.
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace {

struct Region {
  int threads;
  std::mutex mutex;
  std::condition_variable turned;
  int arrived = 0, turn = 0, singles = 0;
};

struct Member {
  Region* region = nullptr;
  int number = 0, singles = 0;
};

thread_local Member me;
std::mutex critical;

}  // namespace

extern "C" {

int omp_get_thread_num() { return me.number; }
int omp_get_num_threads() { return me.region ? me.region->threads : 1; }
void GOMP_critical_start() { critical.lock(); }
void GOMP_critical_end() { critical.unlock(); }

void GOMP_barrier() {
  Region& region = *me.region;
  std::unique_lock<std::mutex> lock(region.mutex);
  const int turn = region.turn;
  if (++region.arrived == region.threads) {
    region.arrived = 0, ++region.turn;
    region.turned.notify_all();
  }
  region.turned.wait(lock, [&] { return region.turn != turn; });
}

bool GOMP_single_start() {
  std::lock_guard<std::mutex> lock(me.region->mutex);
  return me.singles++ == me.region->singles && ++me.region->singles;
}

void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
  Region region{static_cast<int>(threads), {}, {}};
  const auto member = [&](int number) {
    const Member before = me;
    me = {&region, number, 0};
    body(data);
    me = before;
  };
  std::vector<std::thread> others;
  for (int number = 1; number < region.threads; ++number) others.emplace_back(member, number);
  member(0);
  for (std::thread& other : others) other.join();
}

}  // extern "C"
