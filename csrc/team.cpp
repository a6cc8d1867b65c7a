#include "team.h"

#include <atomic>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sparsefield {
namespace {

constexpr auto AWAKE = std::chrono::microseconds(1000);  // after a call, for the next
constexpr int SPINS = 4000;   // in a call: a step takes microseconds, but a core may be wanted by others
constexpr int GLANCES = 100;  // between calls, before others may run

void rest() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

int core() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// A barrier that spins briefly, then lets others run.
class Barrier {
 public:
  void wait(int size) {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins)
      spins < SPINS ? rest() : std::this_thread::yield();
  }

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// Of the helpers: how many calls there have been, what the last is doing, and how many are ready for it.
struct State {
  enum Phase : uint64_t { closed, open, begun };
  uint64_t bits;
  static State of(uint64_t call, Phase phase, uint64_t ready) { return {call << 32 | ready << 2 | phase}; }
  uint64_t call() const { return bits >> 32; }
  uint64_t ready() const { return (bits & 0xffffffffu) >> 2; }
  Phase phase() const { return static_cast<Phase>(bits & 3u); }
};

}  // namespace

// One for the process; its threads live as long.
class Pool {
 public:
  std::mutex taken;  // by a call
  Barrier barrier;
  std::atomic<long long> joined{0};  // calls

  // Whether there are so many helpers, now called to one call's work.
  bool open(const Team& team, const void* work, Team::Run run) {
    const int helpers = team.size() - 1;
    try {
      for (; threads_ < helpers; ++threads_) std::thread(&Pool::live, this, threads_ + 1).detach();
    } catch (const std::system_error&) {
      return false;
    }
    team_ = &team, work_ = work, run_ = run;
    std::fegetenv(&arithmetic_);
    wanted_.store(helpers, std::memory_order_relaxed);
    caller_core_.store(core(), std::memory_order_relaxed);
    state_.store(State::of(++calls_, State::open, 0).bits);
    if (asleep_.load()) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
    return true;
  }

  bool ready() const {
    return now().ready() >= static_cast<uint64_t>(wanted_.load(std::memory_order_relaxed));
  }
  void begin() {
    ++joined;
    state_.store(State::of(calls_, State::begun, 0).bits, std::memory_order_release);
  }

  void close() { state_.store(State::of(calls_, State::closed, 0).bits, std::memory_order_release); }

 private:
  State now() const { return {state_.load(std::memory_order_acquire)}; }

  void live(int number) {
    for (uint64_t done = 0;;) {
      const State call = next(done);
      done = call.call();
      if (number > wanted_.load(std::memory_order_relaxed) || !enter(call)) continue;
      State state = now();
      for (int spins = 0; state.call() == done && state.phase() == State::open; state = now())
        ++spins % GLANCES ? rest() : std::this_thread::yield();
      if (state.call() != done || state.phase() != State::begun) continue;
      std::fesetenv(&arithmetic_);  // whether denormals are flushed must not depend on who computes
      run_(work_, *team_, number);
    }
  }

  // An open call after that one.
  State next(uint64_t done) {
    const auto until = std::chrono::steady_clock::now() + AWAKE;
    const auto found = [&] {
      const State state{state_.load()};
      return state.call() != done && state.phase() == State::open;
    };
    while (!found()) {
      for (int glances = 0; glances < GLANCES && !found(); ++glances) rest();
      if (found()) break;
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() < until) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      ++asleep_;
      wake_.wait(lock, found);
      --asleep_;
    }
    return now();
  }

  // Whether it is now ready for a call. Not on the caller's core, where one would wait for the other.
  bool enter(State call) {
    for (State state = now(); state.call() == call.call() && state.phase() == State::open; state = now()) {
      const int mine = core();
      if (mine >= 0 && mine == caller_core_.load(std::memory_order_relaxed))
        std::this_thread::yield();
      else if (state_.compare_exchange_strong(state.bits,
                                              State::of(call.call(), State::open, state.ready() + 1).bits))
        return true;
    }
    return false;
  }

  std::atomic<uint64_t> state_{0};
  std::atomic<int> wanted_{0}, caller_core_{-1}, asleep_{0};
  std::mutex mutex_;  // of those asleep
  std::condition_variable wake_;
  int threads_ = 0;
  uint64_t calls_ = 0;
  const Team* team_ = nullptr;
  const void* work_ = nullptr;
  Team::Run run_ = nullptr;
  std::fenv_t arithmetic_;
};

namespace {

Pool& pool() {
  static Pool* const only = new Pool;  // never destroyed: its threads may outlive main()
  return *only;
}

}  // namespace

Team::Team(int size, const void* work, Run then) : size_(size) {
  if (size == 1 || !pool().taken.try_lock()) return;
  taken_ = pool().open(*this, work, then);
  if (!taken_) pool().taken.unlock();
}

Team::~Team() {
  if (!taken_) return;
  pool().close();
  pool().taken.unlock();
}

bool Team::join() {
  if (!taken_ || joined_ || !pool().ready()) return joined_;
  joined_ = true;  // before they begin, who read it
  pool().begin();
  return true;
}

long long joined_calls() { return pool().joined; }

void Team::wait() const {
  if (joined_) pool().barrier.wait(size_);
}

}  // namespace sparsefield
