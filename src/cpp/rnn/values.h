#pragma once
// Reads states and slots out of the reserve, as arrays over time.

#include <span>

#include "rnn/reserve.h"

namespace rnnfast {

// A value of a layer and direction over time, and where to write it: a state or a slot of the cell,
// by its number.
template <class T>
struct ValueOverTime {
  enum From { kState, kSlot };
  From from;
  int index;
  T* to;  // (T, B, H), or (T, B, R) of h
};

// Copies values of layer and direction i after every step, with zeros after a sequence's end. The
// reserve must be of a training call without `recompute`. A slot has what the cell's last stage
// left there; its cell must have slots.
template <class T>
void network_values(const Reserve<T>& reserve, Index i, std::span<const ValueOverTime<T>> values);

}  // namespace rnnfast
