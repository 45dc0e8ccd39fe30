#pragma once
// The names of the standard library that the kernels use, for NVRTC, which does not have one.

using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned;
using int64_t = long long;
using uint64_t = unsigned long long;
using size_t = decltype(sizeof(0));

namespace std {

template <class T, T... kValues>
struct integer_sequence {};

namespace detail {
// Joins the sequences of both halves of a count.
template <class A, class B>
struct Joined;
template <int... kA, int... kB>
struct Joined<integer_sequence<int, kA...>, integer_sequence<int, kB...>> {
  using Type = integer_sequence<int, kA..., int(sizeof...(kA)) + kB...>;
};
template <int kCount>
struct Counted {
  using Type = typename Joined<typename Counted<kCount / 2>::Type,
                               typename Counted<kCount - kCount / 2>::Type>::Type;
};
template <>
struct Counted<0> {
  using Type = integer_sequence<int>;
};
template <>
struct Counted<1> {
  using Type = integer_sequence<int, 0>;
};

template <bool kFirst, class A, class B>
struct Conditional {
  using Type = A;
};
template <class A, class B>
struct Conditional<false, A, B> {
  using Type = B;
};
}  // namespace detail

template <class T, T kCount>
using make_integer_sequence = typename detail::Counted<kCount>::Type;  // for int only
template <bool kFirst, class A, class B>
using conditional_t = typename detail::Conditional<kFirst, A, B>::Type;

}  // namespace std
