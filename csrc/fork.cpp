#include "fork.h"

#include <pthread.h>

#include <atomic>
#include <fstream>
#include <limits>
#include <string>

namespace sparsefield {
namespace {

// Whether this process was forked before the kernels were loaded: proc(5), stat, field 9, PF_FORKNOEXEC.
bool forked_before() {
  std::ifstream stat("/proc/self/stat");
  stat.ignore(std::numeric_limits<std::streamsize>::max(), ')');  // the name may hold spaces
  std::string state;
  long parent = 0, group = 0, session = 0, terminal = 0, foreground = 0;
  unsigned long flags = 0;
  stat >> state >> parent >> group >> session >> terminal >> foreground >> flags;
  return flags & 0x40;
}

std::atomic<bool> forked{false};

[[maybe_unused]] const bool watching = [] {
  forked = forked_before();
  pthread_atfork(nullptr, nullptr, [] { forked = true; });
  return true;
}();

}  // namespace

int usable_threads(int wanted) { return forked.load(std::memory_order_relaxed) ? 1 : wanted; }

}  // namespace sparsefield
