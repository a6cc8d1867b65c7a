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

constexpr int MOST_REGIONS = 64;

// Memory for the largest layer of a chain.
struct Storage {
  Array<uint32_t> index;
  Array<float> value;
  Array<int32_t> end;
  Array<float> dense;

  void reserve_rows(std::size_t sites, Values values) { dense.resize(sites * values.padded()); }
  void reserve_lists(std::size_t sites, Values values, int regions) {
    index.resize(sites * (values.padded() + static_cast<std::size_t>(LANES) * regions));
    value.resize(sites * (values.padded() + static_cast<std::size_t>(LANES) * regions));
    // enough for fewer regions too, of more panels each: r * (panels / r + 1) <= panels + r
    end.resize(sites * (static_cast<std::size_t>(values.panels()) + regions) +
               static_cast<std::size_t>(LANES) * regions);
  }
};

// The active values of each site and their indices, ascending. Threads that share the outputs of a layer
// write a region each: whole panels, and room for packing to write whole vectors. No cache line belongs
// to two regions.
struct Lists {
  struct Region {
    int first_panel, last_panel;
    int opens;     // where its entries begin within a site's
    int32_t* end;  // [sites, panels of a region]: where the entries of a panel end
  };
  uint32_t* index;
  float* value;
  std::size_t stride;
  int panel, panels, regions, per_region;
  Region region[MOST_REGIONS];

  Lists(Storage& in, Values values, std::size_t sites, int regions_)
      : index(in.index.data()), value(in.value.data()),
        stride(values.padded() + static_cast<std::size_t>(LANES) * regions_), panel(values.panel),
        panels(values.panels()), regions(regions_), per_region(values.panels() / regions_ + 1) {
    for (int r = 0; r < regions; ++r) {
      const int first = part(r, regions, panels);
      region[r] = {first, part(r + 1, regions, panels), panel * first + LANES * r,
                   in.end.data() + r * (sites * per_region + LANES)};
    }
  }

  // Where the entries of panel p begin, and end once written.
  int begin(std::size_t site, const Region& r, int p) const {
    return p == r.first_panel ? r.opens : r.end[site * per_region + p - 1 - r.first_panel];
  }
  int32_t& end(std::size_t site, const Region& r, int p) const {
    return r.end[site * per_region + p - r.first_panel];
  }

  // Entries of all sites.
  int64_t total(std::size_t sites) const {
    int64_t n = 0;
    for (int i = 0; i < regions; ++i)
      for (std::size_t s = 0; s < sites && region[i].first_panel < region[i].last_panel; ++s)
        n += end(s, region[i], region[i].last_panel - 1) - region[i].opens;
    return n;
  }

  // A site's entries in panels [from, to) of a region.
  struct Range {
    std::size_t first;
    int count;
  };
  Range range(std::size_t site, const Region& r, int from, int to) const {
    const int first = begin(site, r, from);
    return {site * stride + first, end(site, r, to - 1) - first};
  }
};

}  // namespace SF_ISA
}  // namespace sparsefield
