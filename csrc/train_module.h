// Adds what training needs to the Python module.
#pragma once

#include <nanobind/nanobind.h>

namespace sparsefield {

void add_training(nanobind::module_& module);

}  // namespace sparsefield
