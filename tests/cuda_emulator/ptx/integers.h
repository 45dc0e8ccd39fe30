#pragma once
// Integer arithmetic and bits. Sums and products wrap, as the hardware's do.

#include <algorithm>

#include "emulator_scheduler.h"
#include "ptx/values.h"

namespace emulator::ptx {

template <Integer T>
using Unsigned = std::make_unsigned_t<T>;
template <Integer T>
using Wide = std::conditional_t<
    std::is_signed_v<T>,
    std::conditional_t<sizeof(T) == 2, s32, std::conditional_t<sizeof(T) == 4, s64, __int128>>,
    std::conditional_t<sizeof(T) == 2, u32,
                       std::conditional_t<sizeof(T) == 4, u64, unsigned __int128>>>;

template <Integer T>
constexpr u32 kBits = 8 * sizeof(T);

template <Integer T>
inline T add(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}
template <Integer T>
inline T sub(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
}
template <Integer T>
inline T mul(T a, T b) {
  return static_cast<T>(u64(a) * u64(b));
}
template <Integer T>
inline T mul_high(T a, T b) {
  return static_cast<T>(Wide<T>(a) * Wide<T>(b) >> kBits<T>);
}
template <Integer T>
inline Wide<T> mul_wide(T a, T b) {
  return Wide<T>(a) * Wide<T>(b);
}

template <Integer T>
inline T clamped(s64 value) {
  return static_cast<T>(
      std::clamp<s64>(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}
inline s32 add_saturated(s32 a, s32 b) { return clamped<s32>(s64(a) + b); }
inline s32 sub_saturated(s32 a, s32 b) { return clamped<s32>(s64(a) - b); }

// The low 24 bits of a, as a number.
template <Integer T>
inline s64 low24(T a) {
  return std::is_signed_v<T> ? s64(static_cast<s32>(u32(a) << 8) >> 8) : s64(u32(a) & 0xffffff);
}
template <Integer T>
inline T mul24_low(T a, T b) {
  return static_cast<T>(low24(a) * low24(b));
}
template <Integer T>
inline T mul24_high(T a, T b) {
  return static_cast<T>(low24(a) * low24(b) >> 16);
}

template <Integer T>
inline T add_carry(T a, T b, pred in, pred& out) {
  const Unsigned<T> x = a, y = b;
  const auto sum = static_cast<unsigned __int128>(x) + y + in;
  out = sum >> kBits<T> & 1;
  return static_cast<T>(sum);
}
template <Integer T>
inline T sub_borrow(T a, T b, pred in, pred& out) {
  const Unsigned<T> x = a, y = b;
  out = static_cast<unsigned __int128>(x) < static_cast<unsigned __int128>(y) + in;
  return static_cast<T>(x - y - in);
}

template <Integer T>
inline T abs_difference(T a, T b) {
  return a < b ? sub(b, a) : sub(a, b);
}

[[noreturn]] inline void divided_by_zero(Site site) {
  fail("integer division by zero at %s:%u", site.file_name(), site.line());
}
template <Integer T>
inline T divide(T a, T b, Site site = Site::current()) {
  if (b == 0) divided_by_zero(site);
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return sub(T(0), a);  // the least one stays
  return a / b;
}
template <Integer T>
inline T remainder(T a, T b, Site site = Site::current()) {
  if (b == 0) divided_by_zero(site);
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
  return a % b;
}

template <Integer T>
inline T neg(T a) {
  return sub(T(0), a);
}
template <Integer T>
inline T abs(T a) {
  return a < 0 ? neg(a) : a;
}
template <Integer T>
inline T min(T a, T b) {
  return b < a ? b : a;
}
template <Integer T>
inline T max(T a, T b) {
  return a < b ? b : a;
}

// The highest bit that is not the sign's; ~0 if there is none.
template <Integer T>
inline u32 find_bit(T a) {
  return kBits<T> - 1 - std::countl_zero(static_cast<Unsigned<T>>(a < 0 ? ~a : a));
}
// By how much to shift left to bring it to the top.
template <Integer T>
inline u32 find_bit_shift(T a) {
  const u32 bit = find_bit(a);
  return bit == ~0u ? bit : kBits<T> - 1 - bit;
}
template <Integer T>
inline T reverse_bits(T a) {
  T result = 0;
  for (u32 i = 0; i < kBits<T>; ++i) result |= (a >> i & 1) << (kBits<T> - 1 - i);
  return result;
}

template <Integer T>
inline T shift_left(T a, u32 by) {
  return by >= kBits<T> ? 0 : static_cast<T>(static_cast<Unsigned<T>>(a) << by);
}
template <Integer T>
inline T shift_right(T a, u32 by) {
  return by >= kBits<T> ? (a < 0 ? static_cast<T>(-1) : 0) : static_cast<T>(a >> by);
}

// `length` bits of a from a position on; a signed field repeats its highest bit.
template <Integer T>
inline T extract(T a, u32 position, u32 length) {
  position &= 255;
  length &= 255;
  const u32 highest = min(position + length - 1, kBits<T> - 1);
  const bool sign = std::is_signed_v<T> && length && (static_cast<Unsigned<T>>(a) >> highest & 1);
  Unsigned<T> field = shift_right(static_cast<Unsigned<T>>(a), position);
  const Unsigned<T> mask = length >= kBits<T> ? ~Unsigned<T>(0) : (Unsigned<T>(1) << length) - 1;
  const Unsigned<T> valid = position >= kBits<T> ? 0 : ~Unsigned<T>(0) >> position;
  field &= mask;
  return static_cast<T>(sign ? field | ~(mask & valid) : field);
}
template <Integer T>
inline T insert(T a, T b, u32 position, u32 length) {
  position &= 255;
  length &= 255;
  const T mask = shift_left<T>(length >= kBits<T> ? ~T(0) : (T(1) << length) - 1, position);
  return (b & ~mask) | (shift_left(a, position) & mask);
}

template <Integer T>
inline T extend_clamp(T a, u32 width) {
  return width >= 32 ? a : width ? static_cast<T>(a << (32 - width)) >> (32 - width) : 0;
}
template <Integer T>
inline T extend_wrap(T a, u32 width) {
  return extend_clamp(a, width & 31);
}
inline b32 mask_clamp(u32 position, u32 width) {
  return shift_left(width >= 32 ? ~0u : (1u << width) - 1, position);
}
inline b32 mask_wrap(u32 position, u32 width) { return mask_clamp(position & 31, width & 31); }

// Products of the bytes of a with those of b, or of its halves with two of them.
template <class A, class B>
inline s32 dot4(A a, B b, s32 c) {
  for (int i = 0; i < 4; ++i) {
    const s32 x = static_cast<A>(u32(a) << (24 - 8 * i)) >> 24;
    const s32 y = static_cast<B>(u32(b) << (24 - 8 * i)) >> 24;
    c = add(c, x * y);
  }
  return c;
}
template <class A, class B>
inline s32 dot2(A a, B b, s32 c, int first) {
  for (int i = 0; i < 2; ++i) {
    const s32 x = static_cast<A>(u32(a) << (16 - 16 * i)) >> 16;
    const s32 y = static_cast<B>(u32(b) << (24 - 8 * (first + i))) >> 24;
    c = add(c, x * y);
  }
  return c;
}
template <class A, class B>
inline s32 dot2_lo(A a, B b, s32 c) {
  return dot2(a, b, c, 0);
}
template <class A, class B>
inline s32 dot2_hi(A a, B b, s32 c) {
  return dot2(a, b, c, 2);
}

// Bit 4 x + 2 y + z of the table is the result for bits x, y, z.
template <int table>
inline b32 lop3(b32 a, b32 b, b32 c) {
  b32 result = 0;
  for (int i = 0; i < 8; ++i)
    if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return result;
}

inline b32 funnel_left(b32 low, b32 high, u32 by) {
  return static_cast<b32>((joined<b64>(low, high) << by) >> 32);
}
inline b32 funnel_right(b32 low, b32 high, u32 by) {
  return static_cast<b32>(joined<b64>(low, high) >> by);
}

// Each digit of the selector names one of eight bytes; its bit 3 asks for the byte's sign instead.
inline b32 permute(b32 a, b32 b, b32 selector) {
  const b64 bytes = joined<b64>(a, b);
  b32 result = 0;
  for (int i = 0; i < 4; ++i) {
    const b32 digit = selector >> (4 * i);
    const b8 byte = static_cast<b8>(bytes >> (8 * (digit & 7)));
    result |= b32(digit & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << (8 * i);
  }
  return result;
}
inline b32 permute_by(b32 a, b32 b, b32 choice, std::array<b32, 4> selectors) {
  return permute(a, b, selectors[choice & 3]);
}
inline b32 permute_f4e(b32 a, b32 b, b32 c) {
  return permute_by(a, b, c, {0x3210, 0x4321, 0x5432, 0x6543});
}
inline b32 permute_b4e(b32 a, b32 b, b32 c) {
  return permute_by(a, b, c, {0x5670, 0x6701, 0x7012, 0x0123});
}
inline b32 permute_rc8(b32 a, b32 b, b32 c) {
  return permute_by(a, b, c, {0x0000, 0x1111, 0x2222, 0x3333});
}
inline b32 permute_ecl(b32 a, b32 b, b32 c) {
  return permute_by(a, b, c, {0x3210, 0x3211, 0x3222, 0x3333});
}
inline b32 permute_ecr(b32 a, b32 b, b32 c) {
  return permute_by(a, b, c, {0x0000, 0x1110, 0x2210, 0x3210});
}
inline b32 permute_rc16(b32 a, b32 b, b32 c) {
  return permute_by(a, b, c, {0x1010, 0x3232, 0x1010, 0x3232});
}

}  // namespace emulator::ptx
