// The geometry of a convolution: which input pixels an output pixel reads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace sparsefield {

struct Image {
  int height, width;
  int pixels() const { return height * width; }
  bool operator==(const Image& other) const { return height == other.height && width == other.width; }
};

// 1 x 1 images and one tap make a fully connected layer.
struct Window {
  int kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  bool circular = false;
  int taps() const { return kernel_h * kernel_w; }
};

inline int out_size(int n, int kernel, int stride, int pad) { return (n + 2 * pad - kernel) / stride + 1; }

inline Image after(const Window& w, Image in) {
  return {out_size(in.height, w.kernel_h, w.stride_h, w.pad_h),
          out_size(in.width, w.kernel_w, w.stride_w, w.pad_w)};
}

// Where position `at`, which may lie in the padding, is read along an axis of n; -1 if nothing is there.
inline int source(int at, int n, bool circular) {
  if (circular) return at < 0 ? at + n : at >= n ? at - n : at;
  return at < n ? at : -1;
}

// One weight matrix of a window, and the pixels between which it stands, -1 for none. An input pixel has one
// output at most: where wide circular padding reads a pixel twice, another tap has the same weights.
struct Tap {
  int number;                   // row by row of the kernel
  std::vector<int32_t> source;  // [output pixels]
  std::vector<int32_t> target;  // [input pixels]
};

// A convolution between two sizes of images.
struct Stage {
  Image in, out;
  std::shared_ptr<const std::vector<Tap>> taps;
};

// Of windows that follow one another, the first of which reads such images.
std::vector<Stage> stages_of(const std::vector<Window>& windows, Image in);

}  // namespace sparsefield
