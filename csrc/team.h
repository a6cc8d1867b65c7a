// The threads that run one call: the caller, and helpers that join it once they are awake.
#pragma once

namespace sparsefield {

class Pool;

// The caller begins alone. A helper may be asleep, or its core busy with other work, and to wait for it may
// take longer than the call; so what is computed must not depend on whether it is there. A call that finds
// the helpers taken by another runs alone.
class Team {
 public:
  // Helpers are numbered from 1 to size - 1. `work(team, number)` must not touch the caller's memory after
  // its last wait(), and neither may throw from here to the end.
  template <class Work>
  Team(int size, const Work& work)
      : Team(size, &work, run<Work>) {}
  ~Team();
  Team(const Team&) = delete;

  int size() const { return size_; }
  bool joined() const { return joined_; }

  // By the caller: begins the helpers' work if all are there.
  bool join();

  // Until all have come here, once joined.
  void wait() const;

 private:
  using Run = void (*)(const void*, const Team&, int);
  template <class Work>
  static void run(const void* work, const Team& team, int number) {
    (*static_cast<const Work*>(work))(team, number);
  }
  Team(int size, const void* work, Run run);
  friend class Pool;
  int size_;
  bool taken_ = false, joined_ = false;
};

// How many calls of this process had all their helpers.
long long joined_calls();

}  // namespace sparsefield
