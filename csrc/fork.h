// Threads after a fork.
#pragma once

namespace sparsefield {

// The pool of OpenMP threads does not live on in a forked child, where a call that needs it would wait for
// ever. PyTorch's own operators use the same pool, so whether the parent had one cannot be known here: a
// process that was forked, and has not begun another program since, runs on one thread.
int usable_threads(int wanted);

}  // namespace sparsefield
