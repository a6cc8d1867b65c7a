// The copies of the kernels, one for each instruction set, and which of them this machine can run.
#pragma once

#include <string>
#include <vector>

#include "chain.h"
#include "train.h"

namespace sparsefield {

// Those of this machine, best first.
std::vector<std::string> present_sets();

// The kernels of a set, or of the best; throws std::invalid_argument if this machine has it not.
Run runner(const std::string& name);
const Training& trainer(const std::string& name);

}  // namespace sparsefield
