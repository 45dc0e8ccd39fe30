#pragma once
// Operations of warps: what lanes exchange, votes, reductions, tensor cores.

#include "ptx/memory.h"

namespace emulator::ptx {

inline void warp_sync(b32 mask, Site site = Site::current()) {
  collective(mask, nullptr, nullptr, true, site);
}

inline u32 warp_index() { return current->index / 32; }

// Which lanes run together is the scheduler's choice; alone is what code must be ready for.
inline b32 active_mask() { return 1u << lane(); }

template <class T>
struct WithPredicate {
  T value;
  pred valid;
};

// ---- shuffles. `c` has the bounds of a segment: 5 bits of a limit, above them 5 of a mask.

struct Segment {
  u32 first, limit;
};
inline Segment segment_of(u32 c) {
  const u32 mask = c >> 8 & 31;
  return {lane() & mask, (lane() & mask) | (c & 31 & ~mask)};
}

inline WithPredicate<b32> shuffled(b32 value, int source, bool valid, b32 mask, Site site) {
  return {shuffle(mask, value, valid ? source : static_cast<int>(lane()), site), valid};
}
inline WithPredicate<b32> shuffle_up(b32 a, u32 b, u32 c, b32 mask, Site site = Site::current()) {
  const int source = static_cast<int>(lane()) - static_cast<int>(b & 31);
  return shuffled(a, source, source >= static_cast<int>(segment_of(c).limit), mask, site);
}
inline WithPredicate<b32> shuffle_down(b32 a, u32 b, u32 c, b32 mask, Site site = Site::current()) {
  const u32 source = lane() + (b & 31);
  return shuffled(a, source, source <= segment_of(c).limit, mask, site);
}
inline WithPredicate<b32> shuffle_bfly(b32 a, u32 b, u32 c, b32 mask, Site site = Site::current()) {
  const u32 source = lane() ^ (b & 31);
  return shuffled(a, source, source <= segment_of(c).limit, mask, site);
}
inline WithPredicate<b32> shuffle_idx(b32 a, u32 b, u32 c, b32 mask, Site site = Site::current()) {
  const Segment segment = segment_of(c);
  const u32 source = segment.first | (b & 31 & ~(c >> 8));
  return shuffled(a, source, source <= segment.limit, mask, site);
}

// ---- what a lane computes from the values of all

struct Gathered {
  b64 mine;
  b32 mask;  // of the lanes whose values there are
  Vector<b64, 32> all;
};

EMULATOR_UNTRACED inline void compute_gather(void** data, unsigned mask) {
  Vector<b64, 32> all{};
  for (int i = 0; i < 32; ++i)
    if (mask >> i & 1) all[i] = static_cast<Gathered*>(data[i])->mine;
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    static_cast<Gathered*>(data[i])->mask = mask;
    static_cast<Gathered*>(data[i])->all = all;
  }
}
inline Gathered gather(b64 value, b32 mask, Site site) {
  Gathered gathered{value, 0, {}};
  collective(mask, &gathered, compute_gather, false, site);
  return gathered;
}

// Lanes of the mask that have this value.
inline b32 lanes_with(b64 value, const Gathered& gathered) {
  b32 lanes = 0;
  for (int i = 0; i < 32; ++i)
    if (gathered.mask >> i & 1 && gathered.all[i] == value) lanes |= 1u << i;
  return lanes;
}
inline b32 ballot(pred a, b32 mask, Site site = Site::current()) {
  return lanes_with(1, gather(a, mask, site));
}
inline pred vote_any(pred a, b32 mask, Site site = Site::current()) {
  return ballot(a, mask, site) != 0;
}
inline pred vote_all(pred a, b32 mask, Site site = Site::current()) {
  return !vote_any(!a, mask, site);
}
inline b32 match_any(b64 a, b32 mask, Site site = Site::current()) {
  return lanes_with(a, gather(a, mask, site));
}
inline WithPredicate<b32> match_all(b64 a, b32 mask, Site site = Site::current()) {
  const Gathered gathered = gather(a, mask, site);
  const bool all = lanes_with(a, gathered) == gathered.mask;
  return {all ? gathered.mask : 0, all};
}
inline pred vote_uni(pred a, b32 mask, Site site = Site::current()) {
  return match_all(a, mask, site).valid;
}
// The lowest lane of the mask is elected.
inline WithPredicate<b32> elect(b32 mask, Site site = Site::current()) {
  const auto leader = static_cast<u32>(std::countr_zero(gather(0, mask, site).mask));
  return {leader, leader == lane()};
}

template <class T, class F>
inline T reduce(T a, b32 mask, F function, Site site) {
  const Gathered gathered = gather(static_cast<b64>(a), mask, site);
  T result = a;
  for (u32 i = 0; i < 32; ++i)
    if (gathered.mask >> i & 1 && i != lane())
      result = function(result, static_cast<T>(gathered.all[i]));
  return result;
}
#define EMULATOR_PTX_REDUCE(name, expression)                               \
  template <class T>                                                        \
  inline T reduce_##name(T a, b32 mask, Site site = Site::current()) {      \
    return reduce(a, mask, [](T x, T y) -> T { return expression; }, site); \
  }
EMULATOR_PTX_REDUCE(add, add(x, y))
EMULATOR_PTX_REDUCE(min, min(x, y))
EMULATOR_PTX_REDUCE(max, max(x, y))
EMULATOR_PTX_REDUCE(and, x& y)
EMULATOR_PTX_REDUCE(or, x | y)
EMULATOR_PTX_REDUCE(xor, x ^ y)
#undef EMULATOR_PTX_REDUCE

// ---- tensor cores: d(16, 8) = a(16, depth) b(depth, 8) + c

inline void check_whole_warp(const char* what, Site site) {
  if (existing_lanes() != ~0u)
    fail("%s in a warp of less than 32 threads at %s:%u", what, site.file_name(), site.line());
}

// Element `place` of a register's operands.
template <class T>
inline f32 element(b32 word, int place) {
  if constexpr (std::same_as<T, tf32>)
    return std::bit_cast<f32>(word & ~0x1fffu);  // the hardware does not look at the rest
  else
    return static_cast<f32>(widen(as<T>(word >> (16 * place))));
}

template <class T, int depth>
struct Fragments {
  static constexpr int elements = std::same_as<T, tf32> ? 1 : 2;  // a register
  static constexpr int count_b = depth / (4 * elements);
  Vector<b32, 2 * count_b> a;
  Vector<b32, count_b> b;
  Vector<f32, 4> d;
};

template <class T, int depth>
EMULATOR_UNTRACED inline void compute_product(void** data, unsigned) {
  using F = Fragments<T, depth>;
  f32 a[16][depth], b[depth][8];
  for (int i = 0; i < 32; ++i) {
    const auto& mine = *static_cast<F*>(data[i]);
    for (int r = 0; r < F::count_b; ++r)
      for (int e = 0; e < F::elements; ++e) {
        const int k = F::elements * (i % 4 + 4 * r) + e;
        a[i / 4][k] = element<T>(mine.a[2 * r], e);
        a[i / 4 + 8][k] = element<T>(mine.a[2 * r + 1], e);
        b[k][i / 4] = element<T>(mine.b[r], e);
      }
  }
  for (int i = 0; i < 32; ++i)
    for (int j = 0; j < 4; ++j) {
      f32 sum = 0;
      for (int k = 0; k < depth; ++k) sum += a[i / 4 + j / 2 * 8][k] * b[k][i % 4 * 2 + j % 2];
      static_cast<F*>(data[i])->d[j] += sum;
    }
}

template <class T, int depth>
inline Vector<f32, 4> multiply(decltype(Fragments<T, depth>::a) a,
                               decltype(Fragments<T, depth>::b) b, Vector<f32, 4> c,
                               Site site = Site::current()) {
  check_whole_warp("mma", site);
  Fragments<T, depth> mine{a, b, c};
  collective(~0u, &mine, compute_product<T, depth>, false, site);
  return mine.d;
}

// ---- ldmatrix: lane 8 m + r names row r of matrix m, 8 values of 16 bits

struct Rows {
  Vector<b16, 8> row;  // that the lane loaded
  Vector<Vector<b16, 8>, 32> all;
};

EMULATOR_UNTRACED inline void compute_rows(void** data, unsigned) {
  for (int i = 0; i < 32; ++i)
    for (int j = 0; j < 32; ++j)
      static_cast<Rows*>(data[i])->all[j] = static_cast<Rows*>(data[j])->row;
}

template <int count, bool transposed>
inline Vector<b32, count> load_matrix(b32 address, Site site = Site::current()) {
  check_whole_warp("ldmatrix", site);
  Rows rows{};
  if (lane() < 8 * count) rows.row = load<b16, 8>(shared(address, 16, site), site);
  collective(~0u, &rows, compute_rows, false, site);
  Vector<b32, count> result;
  const int major = lane() / 4, minor = lane() % 4 * 2;
  for (int m = 0; m < count; ++m) {
    const Vector<b16, 8>* matrix = &rows.all[8 * m];
    result[m] = transposed ? joined<b32>(matrix[minor][major], matrix[minor + 1][major])
                           : joined<b32>(matrix[major][minor], matrix[major][minor + 1]);
  }
  return result;
}

}  // namespace emulator::ptx
