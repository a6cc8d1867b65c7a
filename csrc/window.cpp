// The maps of a convolution between pixels.
#include "window.h"

#include <algorithm>

namespace sparsefield {
namespace {

bool same(const Window& a, const Window& b) {
  return a.kernel_h == b.kernel_h && a.kernel_w == b.kernel_w && a.stride_h == b.stride_h &&
         a.stride_w == b.stride_w && a.pad_h == b.pad_h && a.pad_w == b.pad_w && a.circular == b.circular;
}

// The tap of a number that has no output for an input pixel yet.
Tap& free_tap(std::vector<Tap>& taps, int number, std::size_t pixel, const Stage& stage) {
  for (Tap& tap : taps)
    if (tap.number == number && tap.target[pixel] < 0) return tap;
  taps.push_back({number, std::vector<int32_t>(static_cast<std::size_t>(stage.out.pixels()), -1),
                  std::vector<int32_t>(static_cast<std::size_t>(stage.in.pixels()), -1)});
  return taps.back();
}

std::vector<Tap> taps_of(const Window& w, const Stage& stage) {
  std::vector<Tap> taps;
  for (int i = 0; i < w.kernel_h; ++i)
    for (int j = 0; j < w.kernel_w; ++j)
      for (int y = 0; y < stage.out.height; ++y)
        for (int x = 0; x < stage.out.width; ++x) {
          const int v = source(y * w.stride_h + i - w.pad_h, stage.in.height, w.circular);
          const int u = source(x * w.stride_w + j - w.pad_w, stage.in.width, w.circular);
          if (v < 0 || u < 0) continue;
          const int from = v * stage.in.width + u, to = y * stage.out.width + x;
          Tap& tap = free_tap(taps, i * w.kernel_w + j, static_cast<std::size_t>(from), stage);
          tap.source[static_cast<std::size_t>(to)] = from;
          tap.target[static_cast<std::size_t>(from)] = to;
        }
  return taps;
}

}  // namespace

std::vector<Stage> stages_of(const std::vector<Window>& windows, Image in) {
  std::vector<Stage> stages;
  for (std::size_t l = 0; l < windows.size(); ++l) {
    Stage stage{in, after(windows[l], in), nullptr};
    if (l > 0 && stages.back().in == in && same(windows[l], windows[l - 1]))
      stage.taps = stages.back().taps;
    else
      stage.taps = std::make_shared<const std::vector<Tap>>(taps_of(windows[l], stage));
    stages.push_back(stage);
    in = stage.out;
  }
  return stages;
}

}  // namespace sparsefield
