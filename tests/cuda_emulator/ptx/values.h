#pragma once
// PTX's types under their own names, and registers: unsigned words of their width, whatever they
// hold.

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>

namespace emulator::ptx {

using pred = bool;
using b8 = uint8_t;
using b16 = uint16_t;
using b32 = uint32_t;
using b64 = uint64_t;
using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
using f32 = float;
using f64 = double;

struct f16 {
  b16 bits;
};
struct bf16 {
  b16 bits;
};
template <class T>
struct Packed {
  T lo, hi;
};
using f16x2 = Packed<f16>;
using bf16x2 = Packed<bf16>;
struct tf32;  // only a name: such values are carried as b32

enum Rounding { rn, rz, rm, rp, rna, rni, rzi, rmi, rpi };

template <class T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;
template <class T>
concept Real = std::same_as<T, f32> || std::same_as<T, f64>;
template <class T>
concept Half = std::same_as<T, f16> || std::same_as<T, bf16>;

template <class T, int N>
using Vector = std::array<T, N>;

template <size_t bytes>
using Bits = std::conditional_t<
    bytes == 1, b8, std::conditional_t<bytes == 2, b16, std::conditional_t<bytes == 4, b32, b64>>>;

// What a register holds, read as a T: the low bits of a wider one.
template <class T, class Register>
inline T as(Register word) {
  return std::bit_cast<T>(static_cast<Bits<sizeof(T)>>(word));
}

// Writes a register; a wider one gets a signed integer's sign, and zeros above all else.
template <class Register, class T>
inline void put(Register& word, T value) {
  if constexpr (std::integral<T>)
    word = static_cast<Register>(value);
  else
    word = std::bit_cast<Bits<sizeof(T)>>(value);
}

// The equal parts of a word, the lowest first.
template <class Part, int N, class Word>
inline Vector<Part, N> cut(Word word) {
  Vector<Part, N> parts;
  for (int i = 0; i < N; ++i)
    parts[i] = static_cast<Part>(std::bit_cast<Bits<sizeof(Word)>>(word) >> (8 * sizeof(Part) * i));
  return parts;
}

template <class Word, class... Parts>
inline Word joined(Parts... parts) {
  Bits<sizeof(Word)> word = 0;
  int shift = 0;
  ((word |= static_cast<Bits<sizeof(Word)>>(parts) << shift, shift += 8 * sizeof(Parts)), ...);
  return std::bit_cast<Word>(word);
}

// What set writes.
template <class T>
inline T flag(bool value) {
  if constexpr (std::same_as<T, f32>)
    return value ? 1.0f : 0.0f;
  else
    return value ? static_cast<T>(-1) : 0;
}

inline void ignore(auto) {}

}  // namespace emulator::ptx
