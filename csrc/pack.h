// Fills the packed weights of a layer.
#pragma once

#include "chain.h"

namespace sparsefield {

std::size_t bytes_of(Format format);

// The width of panels with which `threads` threads share the outputs most evenly, in the fewest panels.
int panel_for(int outputs, int threads);

// weight: [outputs, inputs, kernel_h, kernel_w]; bias: [outputs], or null for zeros.
void pack(Layer& layer, const float* weight, const float* bias);

}  // namespace sparsefield
