#pragma once
// Runs a program of vector instructions on a block. One instruction works on all vectors of the
// block before the next, so that its dispatch is shared and independent vectors are in flight; the
// block is small enough for its places to stay in the L1 cache. It uses the same functions as
// compiled cells, so results have the same bits.

#include "cells/program.h"
#include "cpu/math.h"

namespace RNNFAST_ISA_NAMESPACE {

inline constexpr int kProgramVectors = 16;  // of a block, at most

// The vectors of a place: runs of `inner` adjacent vectors, `stride` values apart.
template <class T>
struct Place {
  T* at;
  Index stride;
};

template <class T>
struct Operands {
  using V = Vec<T>;
  const Place<T>&to, &a, &b, &c;
  Index outer;
  int inner;

  // Computes to[i] = f(a[i], b[i], c[i]), with kCount arguments, for all vectors.
  template <int kCount, class F>
  RNNFAST_INLINE void each(F&& f) const {
    if (inner == 1) {
#pragma GCC unroll 4
      for (Index o = 0; o < outer; ++o) one<kCount>(o, 0, f);
      return;
    }
    for (Index o = 0; o < outer; ++o)
      for (int i = 0; i < inner; ++i) one<kCount>(o, i * kLanes<T>, f);
  }

 private:
  template <int kCount, class F>
  RNNFAST_INLINE void one(Index o, Index i, F&& f) const {
    const V x = V::load(a.at + o * a.stride + i);
    V result;
    if constexpr (kCount == 1) {
      result = f(x);
    } else {
      const V y = V::load(b.at + o * b.stride + i);
      if constexpr (kCount == 2)
        result = f(x, y);
      else
        result = f(x, y, V::load(c.at + o * c.stride + i));
    }
    result.store(to.at + o * to.stride + i);
  }
};

template <class T>
void execute(const Program& program, Place<T>* places, Index outer, int inner) {
  using V = Vec<T>;
  using Raw = typename V::Raw;
  for (const Instruction* i = program.code; i < program.code + program.size; ++i) {
    const Operands<T> on{places[i->to], places[i->a], places[i->b], places[i->c], outer, inner};
    const auto one = [&](auto&& f) { on.template each<1>(f); };
    const auto two = [&](auto&& f) { on.template each<2>(f); };
    const auto three = [&](auto&& f) { on.template each<3>(f); };
    switch (i->op) {
      case Operation::copy:
        one([](V a) { return a; });
        break;
      case Operation::neg:
        one([](V a) -> V { return -a.v; });
        break;
      case Operation::add:
        two([](V a, V b) { return a + b; });
        break;
      case Operation::sub:
        two([](V a, V b) { return a - b; });
        break;
      case Operation::mul:
        two([](V a, V b) { return a * b; });
        break;
      case Operation::div:
        two([](V a, V b) { return a / b; });
        break;
      case Operation::fma:
        three([](V a, V b, V c) { return multiply_add(c, a, b); });
        break;
      case Operation::fms:
        three([](V a, V b, V c) { return multiply_add<T>(-c.v, a, b); });
        break;
      case Operation::fnma:
        three([](V a, V b, V c) { return multiply_add<T>(c, -a.v, b); });
        break;
      case Operation::sigmoid:
        one([](V a) { return sigmoid(a); });
        break;
      case Operation::tanh:
        one([](V a) { return tanh(a); });
        break;
      case Operation::relu:
        one([](V a) { return relu(a); });
        break;
      case Operation::exp:
        one([](V a) { return exp(a); });
        break;
      case Operation::log:
        one([](V a) { return log(a); });
        break;
      case Operation::softplus:
        one([](V a) { return softplus(a); });
        break;
      case Operation::sqrt:
        one([](V a) { return sqrt(a); });
        break;
      case Operation::abs:
        one([](V a) -> V { return a.v < T(0) ? -a.v : a.v; });
        break;
      case Operation::max:
        two([](V a, V b) -> V { return a.v >= b.v || a.v != a.v ? a.v : b.v; });
        break;
      case Operation::min:
        two([](V a, V b) -> V { return a.v <= b.v || a.v != a.v ? a.v : b.v; });
        break;
      case Operation::greater:
        two([](V a, V b) -> V { return a.v > b.v ? V(1).v : Raw{}; });
        break;
      case Operation::select:
        three([](V a, V b, V c) -> V { return a.v > T(0) ? b.v : c.v; });
        break;
      case Operation::dsigmoid:
        two([](V a, V b) { return a * dsigmoid(b); });
        break;
      case Operation::dtanh:
        two([](V a, V b) { return a * dtanh(b); });
        break;
      case Operation::drelu:
        two([](V a, V b) { return where_positive(b, a); });
        break;
    }
  }
}

// The places of a program on a block, which the driver locates.
template <class T>
class Places {
 public:
  // Buffers have `inner` vectors per row. The first `first` belong to another program on the same
  // block.
  Places(const Program& program, T* buffers, int first, Index outer, int inner)
      : program_(program),
        buffers_(buffers + first * kBuffer),
        outer_(outer),
        inner_(inner),
        width_(inner * kLanes<T>) {}

  // Runs the program; f(kind, index) returns the place of operands without a buffer. Gate gradients
  // have buffers, but only formats that round use them.
  template <class F>
  RNNFAST_INLINE void run(F&& f, bool buffers_gates = true) {
    for (int i = 0; i < program_.place_count; ++i) {
      const auto [kind, index, own] = program_.places[i];
      const bool buffered = own >= 0 && (buffers_gates || kind != PlaceKind::dgate);
      places_[i] = buffered ? buffer(own) : f(kind, index);
    }
    execute(program_, places_, outer_, inner_);
  }
  // Calls f(index, buffer) for the buffers of a kind.
  template <class F>
  RNNFAST_INLINE void each(PlaceKind kind, F&& f) const {
    for (int i = 0; i < program_.place_count; ++i)
      if (program_.places[i].kind == kind && program_.places[i].buffer >= 0)
        f(program_.places[i].index, buffer(program_.places[i].buffer).at);
  }
  RNNFAST_INLINE Place<T> buffer(int number) const { return {buffers_ + number * kBuffer, width_}; }
  static constexpr Index kBuffer = kProgramVectors * kLanes<T>;

 private:
  const Program& program_;
  T* const buffers_;
  const Index outer_;
  const int inner_;
  const Index width_;
  Place<T> places_[kMaxPlaces];
};

}  // namespace RNNFAST_ISA_NAMESPACE
