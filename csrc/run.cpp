// Runs a chain. Compiled once for each instruction set, with SF_ISA as its namespace.
#include <limits>
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

// The activations of a block, sized for the largest layer.
struct Buffers {
  Storage storage[2];   // layers alternate between the two
  Array<float> stream;  // [sites, padded outputs]: h, for the skip
};

// What a share of the work has for itself.
struct Own {
  Array<float> kept;  // [sites, WIDEST]: sums between tiles
  Array<uint32_t> index;  // the strip of a convolution
  Array<float> value;
  Array<int> begin;
  std::vector<int64_t> active;  // [layers]
};

// All that a call needs: its thread keeps it for the next, and no other thread allocates.
struct Memory {
  Images sizes;
  std::vector<Buffers> buffers;
  std::vector<Own> own;  // [shares]
  bool streams;          // whether any layer has a skip
};

// One share of the work on every layer.
struct Worker {
  const Chain& chain;
  const Call& call;
  const Images& sizes;
  bool streams;
  Buffers& shared;
  Own& own;
  int share, shares;
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

void reserve(Buffers& buffers, const Chain& chain, const Call& call, const Memory& memory, int samples,
             int regions) {
  for (int l = call.first; l <= call.last; ++l) {
    const Values values = values_at(chain, l);
    const std::size_t sites = static_cast<std::size_t>(samples) * image(memory.sizes, call, l).pixels();
    if (l && memory.streams) buffers.stream.resize(sites * values.padded());
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

// A share of a layer: of the outputs in a fully connected chain, of the image's rows if not. The
// lists of images have one region, so that the panels of a pixel are of one share.
void run_layer(Worker& me, const Layer& layer, const Input& in, Image from, Image out, int samples,
               const Target& to) {
  const bool linear = !me.chain.convolutional;
  const int first = linear ? part(me.share, me.shares, layer.panels()) : 0;
  const int last = linear ? part(me.share + 1, me.shares, layer.panels()) : layer.panels();
  const bool reused = linear && in.lists &&
                      in.lists->total(static_cast<std::size_t>(samples)) >= int64_t{REUSED} * layer.inputs;
  const Strip strip{me.own.index.data(), me.own.value.data(), me.own.begin.data()};
  const int top = part(me.share, me.shares, out.height), bottom = part(me.share + 1, me.shares, out.height);
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

// A share of the input, from dense rows to what the first layer reads: of the values of every
// site in a fully connected chain, of the sites in a convolutional one.
void run_input(Worker& me, Rows x, Values values, int sites, const Target& to) {
  const int first = me.call.first;
  const bool linear = !me.chain.convolutional;
  const int from = linear ? part(me.share, me.shares, values.panels()) : 0;
  const int until = linear ? part(me.share + 1, me.shares, values.panels()) : values.panels();
  const int begin = linear ? 0 : part(me.share, me.shares, sites);
  const int end = linear ? sites : part(me.share + 1, me.shares, sites);
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

// A layer of the call on a block of samples; the one before its first is the input.
struct Step {
  int64_t sample;
  int samples, layer;
};

// Whether the first layer reads the call's input where it lies.
bool reads_input(const Chain& chain, const Call& call) {
  return call.first == 0 && reads_rows(chain, call, 0) && chain.phi == Phi::identity;
}

void step_input(Worker& me, Step at, Rows x, Place& to, float* stream, int region) {
  const Values values = values_at(me.chain, me.call.first);
  const int sites = at.samples * me.sizes[0].pixels();
  int64_t* active = me.own.active.data() + me.call.first;
  if (reads_input(me.chain, me.call)) {
    *active += count_active(x, values.count, part(me.share, me.shares, sites),
                            part(me.share + 1, me.shares, sites));
    return;
  }
  const bool rows = reads_rows(me.chain, me.call, me.call.first);
  run_input(me, x, values, sites,
            {rows ? nullptr : &to.lists, to.rows, {stream, values.padded()}, false, region, active});
}

void step(Worker& me, Step at) {
  const Call& call = me.call;
  float* stream = me.streams ? me.shared.stream.data() : nullptr;
  const int regions = me.chain.convolutional ? 1 : me.shares, region = regions > 1 ? me.share : 0;
  const auto placed = [&](int l) {
    return place(me, l, static_cast<std::size_t>(at.samples) * image(me.sizes, call, l).pixels(), regions);
  };
  const int l = at.layer, made = l + 1;
  const Rows x = rows_from(const_cast<float*>(call.x), at.sample * me.sizes[0].pixels(),
                           values_at(me.chain, call.first));
  Place out = placed(made);
  if (made == call.first) return step_input(me, at, x, out, stream, region);
  Place in = placed(l);
  if (l == 0 && reads_input(me.chain, call)) in.rows = x;
  const bool last = made == call.last;
  const Values values = values_at(me.chain, made);
  const Image &from = image(me.sizes, call, l), &after_it = image(me.sizes, call, made);
  if (last) out.rows = rows_from(call.out, at.sample * after_it.pixels(), values);
  int64_t unread = 0;
  const bool to_rows = last || reads_rows(me.chain, call, made);
  run_layer(me, me.chain.layer(l), {reads_rows(me.chain, call, l) ? nullptr : &in.lists, in.rows}, from,
            after_it, at.samples,
            {to_rows ? nullptr : &out.lists, out.rows, {stream, values.padded()}, last && call.raw, region,
             last ? &unread : me.own.active.data() + made});
}

// The steps of samples up to `until` in blocks, from one on. Reads nothing of the call after the last.
template <class Then>
void each_step(const Call& call, int64_t until, int block, Step at, Then then) {
  const int first = call.first, last = call.last;
  for (; at.sample < until; at.sample += block, at.layer = first - 1) {
    at.samples = static_cast<int>(std::min<int64_t>(block, until - at.sample));
    for (; at.layer < last; ++at.layer) then(at);
  }
}

// Samples of a block, of at most so many.
int block_size(const Chain& chain, const Call& call, int most, int64_t samples) {
  const int64_t pixels = int64_t{call.height} * call.width;
  if (chain.convolutional)
    most = static_cast<int>(std::max<int64_t>(1, BLOCK_PIXELS / std::max<int64_t>(1, pixels)));
  return static_cast<int>(std::min<int64_t>(most, samples));
}

// All that the shares need, before any helper is called: one that threw would leave the others waiting.
Memory& reserve_all(const Chain& chain, const Call& call, int shares, int block, int buffers, int regions) {
  thread_local Memory memory;
  const auto count = static_cast<std::size_t>(shares), blocks = static_cast<std::size_t>(buffers);
  memory.sizes = images(chain, call);
  memory.streams = chain.any_skip();
  if (memory.own.size() < count) memory.own.resize(count);
  if (memory.buffers.size() < blocks) memory.buffers.resize(blocks);
  for (std::size_t s = 0; s < count; ++s) {
    Own& own = memory.own[s];
    own.kept.resize(static_cast<std::size_t>(block) * WIDEST);
    own.active.assign(chain.layers.size(), 0);
    reserve_strip(own, chain, call, memory.sizes);
  }
  for (std::size_t b = 0; b < blocks; ++b)
    reserve(memory.buffers[b], chain, call, memory, block, regions);
  return memory;
}

// What the shares have counted.
void add_active(const Call& call, const Memory& memory, int shares) {
  for (int s = 0; call.active && s < shares; ++s)
    for (int l = call.first; l < call.last; ++l)
      call.active[l] += memory.own[static_cast<std::size_t>(s)].active[static_cast<std::size_t>(l)];
}

// All threads on each block: for few samples, or for weights that should be read once.
void run_together(const Chain& chain, const Call& call) {
  const int block = block_size(chain, call, SHARED_BLOCK, call.batch);
  const int shares = std::min(call.threads, MOST_REGIONS);
  Memory& memory = reserve_all(chain, call, shares, block, 1, chain.convolutional ? 1 : shares);
  const auto share = [&](int s, Step at) {
    Own& own = memory.own[static_cast<std::size_t>(s)];
    Worker me{chain, call, memory.sizes, memory.streams, memory.buffers[0], own, s, shares};
    step(me, at);
  };
  Step begun{0, 0, call.first - 1};
  const auto helper = [&](const Team& team, int number) {
    each_step(call, call.batch, block, begun, [&](Step at) {
      share(number, at);
      team.wait();
    });
  };
  Team team(shares, helper);
  each_step(call, call.batch, block, begun, [&](Step at) {
    if (!team.joined()) begun = at;
    team.join();
    for (int s = 0; s < (team.joined() ? 1 : shares); ++s) share(s, at);
    team.wait();
  });
  add_active(call, memory, shares);
}

// Each thread on samples of its own, without waiting for another.
void run_apart(const Chain& chain, const Call& call) {
  const int shares = static_cast<int>(std::min<int64_t>(call.threads, call.batch));
  if (!shares) return;
  const auto first = [&](int s) { return call.batch * s / shares; };
  const int most = block_size(chain, call, BLOCK, (call.batch + shares - 1) / shares);
  Memory& memory = reserve_all(chain, call, shares, most, shares, 1);
  const auto share = [&](int s, auto meanwhile) {
    Own& own = memory.own[static_cast<std::size_t>(s)];
    Buffers& buffers = memory.buffers[static_cast<std::size_t>(s)];
    Worker me{chain, call, memory.sizes, memory.streams, buffers, own, 0, 1};
    const int block = block_size(chain, call, BLOCK, first(s + 1) - first(s));
    each_step(call, first(s + 1), block, {first(s), 0, call.first - 1}, [&](Step at) {
      meanwhile();
      step(me, at);
    });
  };
  const auto helper = [&](const Team& team, int number) {
    share(number, [] {});
    team.wait();
  };
  Team team(shares, helper);
  share(0, [&] { team.join(); });
  for (int s = 1; s < shares && !team.joined(); ++s) share(s, [] {});
  team.wait();
  add_active(call, memory, shares);
}

}  // namespace

void run(const Chain& chain, const Call& call) {
  call.together ? run_together(chain, call) : run_apart(chain, call);
}

}  // namespace SF_ISA
}  // namespace sparsefield
