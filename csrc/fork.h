// Threads after a fork.
#pragma once

namespace sparsefield {

// Pools of threads, OpenMP's and the helpers' (team.h), do not live on in a forked child, where a call that
// needs one would wait for ever. PyTorch's own operators use OpenMP's, so whether the parent had one cannot
// be known here: a process that was forked, and has not begun another program since, runs on one thread.
int usable_threads(int wanted);

}  // namespace sparsefield
