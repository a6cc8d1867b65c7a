#include "instruction_set.h"

#include <stdexcept>

namespace sparsefield {
namespace {

struct InstructionSet {
  std::string name;
  bool present;
  Run run;
  const Training& training;
};

// Best first.
const std::vector<InstructionSet>& instruction_sets() {
  static const std::vector<InstructionSet> known = [] {
    std::vector<InstructionSet> sets;
#if defined(SF_X86)
    __builtin_cpu_init();
    const bool fma = __builtin_cpu_supports("fma");
    sets.push_back({"avx512",
                    fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"),
                    avx512::run, avx512::training});
    sets.push_back({"avx2", fma && __builtin_cpu_supports("avx2"), avx2::run, avx2::training});
#endif
    sets.push_back({"baseline", true, baseline::run, baseline::training});
    return sets;
  }();
  return known;
}

}  // namespace

std::vector<std::string> present_sets() {
  std::vector<std::string> names;
  for (const auto& set : instruction_sets())
    if (set.present) names.push_back(set.name);
  return names;
}

namespace {

const InstructionSet& chosen(const std::string& name) {
  for (const auto& set : instruction_sets())
    if (set.present && (name.empty() || name == set.name)) return set;
  throw std::invalid_argument("instruction set " + name + ": not on this machine");
}

}  // namespace

Run runner(const std::string& name) { return chosen(name).run; }

const Training& trainer(const std::string& name) { return chosen(name).training; }

}  // namespace sparsefield
