// Runs a chain. Compiled once for each instruction set, with SF_ISA as its namespace.
#include <omp.h>

#include <exception>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "layer.h"
#include "team.h"

namespace sparsefield {
namespace SF_ISA {
namespace {

constexpr int BLOCK = 64;          // samples of one thread's block
constexpr int SHARED_BLOCK = 128;  // samples of a block that threads share
constexpr int BLOCK_PIXELS = 1024; // pixels of a block of images, which pass over the weights together

using Images = std::vector<Image>;

// What a team shares, sized for the largest layer; kept by its thread from call to call.
struct Buffers {
  Storage storage[2];   // layers alternate between the two
  Array<float> stream;  // [sites, padded outputs]: h, for the skip
};

// What each thread has for itself.
struct Own {
  Array<float> kept;  // [sites, WIDEST]: sums between tiles
  Array<uint32_t> index;  // the strip of a convolution
  Array<float> value;
  Array<int> begin;
  Images sizes;
  std::vector<int64_t> active;  // [layers]
};

// One thread's part in running one block.
struct Worker {
  const Chain& chain;
  const Call& call;
  Team& team;
  int member;
  Buffers& shared;
  Own& own;
};

bool reads_rows(const Chain& chain, const Call& call, int layer) {
  return call.dense[layer] && !chain.convolutional;
}

// Pixels, and places in a strip, are counted in an int.
void check_count(std::size_t n) {
  if (n > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw std::length_error("image: " + std::to_string(n) + " pixels or values of a strip; give a smaller");
}

// The sizes of the images before each layer of the call and after the last.
Images images(const Chain& chain, const Call& call) {
  Images sizes{{call.height, call.width}};
  for (int l = call.first; l < call.last; ++l)
    sizes.push_back(after(chain.layer(l).window, sizes.back()));
  for (const Image& size : sizes) check_count(static_cast<std::size_t>(size.height) * size.width);
  return sizes;
}

// The one before a layer, or after the last.
const Image& image(const Images& sizes, const Call& call, int layer) {
  return sizes[static_cast<std::size_t>(layer - call.first)];
}

// The values before layer l, or after the last.
Values values_at(const Chain& chain, int l) {
  if (l == 0) return {chain.layers[0].inputs, INPUT_PANEL};
  const Layer& before = chain.layer(l - 1);
  return {before.outputs, before.panel};
}

void reserve(Buffers& buffers, const Chain& chain, const Call& call, int samples, int regions) {
  const Images sizes = images(chain, call);
  for (int l = call.first; l <= call.last; ++l) {
    const Values values = values_at(chain, l);
    const std::size_t sites = static_cast<std::size_t>(samples) * image(sizes, call, l).pixels();
    if (l && chain.any_skip()) buffers.stream.resize(sites * values.padded());
    if (l == call.last) break;
    Storage& storage = buffers.storage[l % 2];
    if (reads_rows(chain, call, l))
      storage.reserve_rows(sites, values);
    else
      storage.reserve_lists(sites, values, regions);
  }
}

void reserve_strip(Own& own, const Chain& chain, const Call& call, const Images& sizes) {
  for (int l = call.first; chain.convolutional && l < call.last; ++l) {
    const Layer& layer = chain.layer(l);
    const Window& window = layer.window;
    const auto columns = static_cast<std::size_t>(image(sizes, call, l).width + 2 * window.pad_w);
    const std::size_t entries = columns * window.kernel_h * layer.inputs + W;
    check_count(entries);
    own.index.resize(entries);
    own.value.resize(entries);
    own.begin.resize(columns + 1);
  }
}

// Calls f with the number of vectors that panel p is wide, as a constant.
template <class Then>
void with_vectors(const Layer& layer, int p, Then f) {
  switch (layer.width(p) / LANES) {
    case 1: return f(std::integral_constant<int, 1 * LANES / W>());
    case 2: return f(std::integral_constant<int, 2 * LANES / W>());
    case 3: return f(std::integral_constant<int, 3 * LANES / W>());
    case 4: return f(std::integral_constant<int, 4 * LANES / W>());
    default: return f(std::integral_constant<int, 5 * LANES / W>());
  }
}

template <class Then>
void with_format(const Layer& layer, Then f) {
  switch (layer.format) {
    case Format::float32: return f(std::integral_constant<Format, Format::float32>());
    case Format::bfloat16: return f(std::integral_constant<Format, Format::bfloat16>());
    case Format::int8: return f(std::integral_constant<Format, Format::int8>());
  }
}

// The member's share of a layer: of the outputs in a fully connected chain, of the image's rows if not. The
// lists of images have one region, so that the panels of a pixel are one member's.
void run_layer(Worker& me, const Layer& layer, const Input& in, Image from, Image out, int samples,
               const Target& to) {
  const int team = me.team.size();
  const bool linear = !me.chain.convolutional;
  const int first = linear ? part(me.member, team, layer.panels()) : 0;
  const int last = linear ? part(me.member + 1, team, layer.panels()) : layer.panels();
  const bool reused = linear && in.lists &&
                      in.lists->total(static_cast<std::size_t>(samples)) >= int64_t{REUSED} * layer.inputs;
  const Strip strip{me.own.index.data(), me.own.value.data(), me.own.begin.data()};
  const int top = part(me.member, team, out.height), bottom = part(me.member + 1, team, out.height);
  with_format(layer, [&](auto format) {
    for (int p = first; p < last; ++p)
      with_vectors(layer, p, [&](auto vectors) {
        if (linear)
          linear_panel<format(), vectors()>(layer, in, reused, me.own.kept.data(), p, samples, to);
        for (int s = 0; !linear && s < samples; ++s)
          conv_panel<format(), vectors()>(layer, *in.lists, from, out, strip, p, static_cast<std::size_t>(s),
                                          top, bottom, to);
      });
  });
}

// The member's share of the input, from dense rows to what the first layer reads: of the values of every
// site in a fully connected chain, of the sites in a convolutional one.
void run_input(Worker& me, Rows x, Values values, int sites, const Target& to) {
  const int team = me.team.size(), first = me.call.first;
  const bool linear = !me.chain.convolutional;
  const int from = linear ? part(me.member, team, values.panels()) : 0;
  const int until = linear ? part(me.member + 1, team, values.panels()) : values.panels();
  const int begin = linear ? 0 : part(me.member, team, sites);
  const int end = linear ? sites : part(me.member + 1, team, sites);
  const Layer* before = first == 0 ? nullptr : &me.chain.layer(first - 1);
  for (int s = begin; s < end; ++s)
    for (int p = from; p < until; ++p) {
      const auto site = static_cast<std::size_t>(s);
      if (before)
        with_vectors(*before, p, [&](auto vectors) { receive<vectors()>(*before, x, p, site, to); });
      else
        receive_first(me.chain, x, values, p, site, to);
    }
}

// Where the values before layer l go.
struct Place {
  Lists lists;
  Rows rows;
};

Place place(Worker& me, int l, std::size_t sites, int regions) {
  const Values values = values_at(me.chain, l);
  Storage& storage = me.shared.storage[l % 2];
  return {Lists(storage, values, sites, regions), {storage.dense.data(), values.padded()}};
}

// Contiguous rows of a call's input or output, from a site on.
Rows rows_from(float* data, int64_t site, Values values) {
  return {data + site * values.count, static_cast<std::size_t>(values.count)};
}

// A block of samples through the layers of the call.
void run_block(Worker& me, int64_t sample, int samples) {
  const Call& call = me.call;
  const Images& sizes = me.own.sizes;
  float* stream = me.chain.any_skip() ? me.shared.stream.data() : nullptr;
  const int team = me.team.size();
  const int regions = me.chain.convolutional ? 1 : team, region = regions > 1 ? me.member : 0;
  const Values given = values_at(me.chain, call.first);
  const int sites = samples * sizes[0].pixels();
  const Rows x = rows_from(const_cast<float*>(call.x), sample * sizes[0].pixels(), given);
  Place in = place(me, call.first, static_cast<std::size_t>(sites), regions);
  bool rows = reads_rows(me.chain, call, call.first);
  int64_t* active = me.own.active.data();
  if (rows && call.first == 0 && me.chain.phi == Phi::identity) {  // read where they lie
    in.rows = x;
    active[0] += count_active(x, given.count, part(me.member, team, sites), part(me.member + 1, team, sites));
  } else {
    const Target to{rows ? nullptr : &in.lists, in.rows, {stream, given.padded()}, false, region,
                    active + call.first};
    run_input(me, x, given, sites, to);
  }
  for (int l = call.first; l < call.last; ++l) {
    const bool last = l + 1 == call.last;
    const Values values = values_at(me.chain, l + 1);
    const Image &from = image(sizes, call, l), &made = image(sizes, call, l + 1);
    Place out = place(me, l + 1, static_cast<std::size_t>(samples) * made.pixels(), regions);
    if (last) out.rows = rows_from(call.out, sample * made.pixels(), values);
    int64_t unread = 0;
    const bool to_rows = last || reads_rows(me.chain, call, l + 1);
    const Target to{to_rows ? nullptr : &out.lists, out.rows, {stream, values.padded()},
                    last && call.raw, region, last ? &unread : active + l + 1};
    me.team.wait();  // until the input of this layer is complete
    run_layer(me, me.chain.layer(l), {rows ? nullptr : &in.lists, in.rows}, from, made, samples, to);
    in = out;
    rows = to_rows;
  }
  me.team.wait();  // before another block overwrites what this one reads
}

// All that a thread allocates, before it meets the others: one that threw at a barrier would leave them
// waiting.
Own& reserve_own(const Chain& chain, const Call& call, int block) {
  thread_local Own own;
  own.kept.resize(static_cast<std::size_t>(block) * WIDEST);
  own.sizes = images(chain, call);
  own.active.assign(chain.layers.size(), 0);
  reserve_strip(own, chain, call, own.sizes);
  return own;
}

// Samples [first, last) in blocks, by one member of a team.
void run_range(Worker me, int block, int64_t first, int64_t last) {
  for (int64_t s = first; s < last; s += block)
    run_block(me, s, static_cast<int>(std::min<int64_t>(block, last - s)));
  for (int l = me.call.first; me.call.active && l < me.call.last; ++l) {
#pragma omp atomic
    me.call.active[l] += me.own.active[static_cast<std::size_t>(l)];
  }
}

// Samples of a block, of at most so many.
int block_size(const Chain& chain, const Call& call, int most, int64_t samples) {
  const int64_t pixels = int64_t{call.height} * call.width;
  if (chain.convolutional)
    most = static_cast<int>(std::max<int64_t>(1, BLOCK_PIXELS / std::max<int64_t>(1, pixels)));
  return static_cast<int>(std::min<int64_t>(most, samples));
}

Buffers& own_buffers() {
  thread_local Buffers buffers;
  return buffers;
}

// All threads on each block: for few samples, or for weights that should be read once.
void run_together(const Chain& chain, const Call& call) {
  const int block = block_size(chain, call, SHARED_BLOCK, call.batch);
  Buffers& buffers = own_buffers();
  const int threads = std::min(call.threads, MOST_REGIONS);
  reserve(buffers, chain, call, block, chain.convolutional ? 1 : threads);
  std::optional<Team> team;
  std::exception_ptr failure;
#pragma omp parallel num_threads(threads)
  {
    Own* own = nullptr;
    try {
      own = &reserve_own(chain, call, block);
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
#pragma omp single
    team.emplace(omp_get_num_threads());  // may be fewer than asked for
    if (!failure)  // of any: they met at the end of single
      run_range({chain, call, *team, omp_get_thread_num(), buffers, *own}, block, 0, call.batch);
  }
  if (failure) std::rethrow_exception(failure);
}

// Each thread on samples of its own, without waiting for another.
void run_apart(const Chain& chain, const Call& call) {
  std::exception_ptr failure;
#pragma omp parallel num_threads(call.threads)
  try {
    const int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const int64_t first = call.batch * thread / threads, last = call.batch * (thread + 1) / threads;
    const int block = block_size(chain, call, BLOCK, last - first);
    Team alone(1);
    if (block) {
      Own& own = reserve_own(chain, call, block);
      reserve(own_buffers(), chain, call, block, 1);
      run_range({chain, call, alone, 0, own_buffers(), own}, block, first, last);
    }
  } catch (...) {
#pragma omp critical
    failure = std::current_exception();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void run(const Chain& chain, const Call& call) {
  call.together ? run_together(chain, call) : run_apart(chain, call);
}

}  // namespace SF_ISA
}  // namespace sparsefield
