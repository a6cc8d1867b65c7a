// The activations of a layer at every site of a block: lists of the active ones, or dense rows.
// A site is a sample of a fully connected chain, or a pixel of an image.
#pragma once

#include <algorithm>

#include "vector.h"

namespace sparsefield {
namespace SF_ISA {

// Where the index-th of `parts` nearly equal parts of [0, n) begins.
inline int part(int index, int parts, int n) {
  return static_cast<int>(static_cast<int64_t>(n) * index / parts);
}

// How many values a site has, in panels of how many.
struct Values {
  int count, panel;
  int panels() const { return (count + panel - 1) / panel; }
  std::size_t padded() const { return static_cast<std::size_t>(panels()) * panel; }
  // Values that panel p holds.
  int held(int p) const { return std::min(panel, count - p * panel); }
};

// Memory for the largest layer of a chain.
struct Storage {
  Array<uint32_t> index;
  Array<float> value;
  Array<int32_t> end;
  Array<float> dense;

  void reserve_rows(std::size_t sites, Values values) { dense.resize(sites * values.padded()); }
  void reserve_lists(std::size_t sites, Values values, int regions) {
    index.resize(sites * (values.padded() + static_cast<std::size_t>(W) * regions));
    value.resize(sites * (values.padded() + static_cast<std::size_t>(W) * regions));
    end.resize(sites * values.panels());
  }
};

// The active values of each site and their indices, ascending. Threads that share the outputs of a layer
// write a region each; a region holds whole panels, and room for packing to write whole vectors.
struct Lists {
  uint32_t* index;
  float* value;
  int32_t* end;  // [sites, panels]: where the entries of a panel end
  std::size_t stride;
  int panel, panels, regions;

  Lists(Storage& in, Values values, int regions_)
      : index(in.index.data()), value(in.value.data()), end(in.end.data()),
        stride(values.padded() + static_cast<std::size_t>(W) * regions_), panel(values.panel),
        panels(values.panels()), regions(regions_) {}

  int first_panel(int region) const { return part(region, regions, panels); }

  // A site's entries in panels [from, to) of a region are [first, last).
  struct Range {
    std::size_t first;
    int count;
  };
  Range range(std::size_t site, int region, int from, int to) const {
    const int first = begin(site, region, from);
    return {site * stride + first, end[site * panels + to - 1] - first};
  }
  // Where the entries of panel p begin.
  int begin(std::size_t site, int region, int p) const {
    return p == first_panel(region) ? panel * p + W * region : end[site * panels + p - 1];
  }
};

}  // namespace SF_ISA
}  // namespace sparsefield
