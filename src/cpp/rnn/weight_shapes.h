#pragma once
// The shapes of a cell's weights: the only place that knows how many rows they have.

#include <cstddef>
#include <span>

#include "cpu/kernel_table.h"

namespace rnnfast {

struct WeightShape {
  int axes;        // 0 if the cell has no such weight
  Index sizes[2];  // of the axes

  std::span<const Index> span() const { return {sizes, std::size_t(axes)}; }
  Index count() const {
    Index n = axes > 0;
    for (const Index size : span()) n *= size;
    return n;
  }
};

// In the order of `CellWeights`.
struct WeightShapes {
  WeightShape weight_ih, weight_hh, bias_ih, bias_hh, weight_channel, weight_hr;

  WeightShapes(const CellInfo& cell, Index input_size, Index hidden_size, Index proj_size) {
    const Index input = cell.input_gates() * hidden_size;
    const Index recurrent = cell.recurrent_gates() * hidden_size;
    weight_ih = {2, {input, input_size}};
    weight_hh = {2, {recurrent, proj_size ? proj_size : hidden_size}};
    bias_ih = {1, {input}};
    bias_hh = {1, {recurrent}};
    weight_channel = {cell.params ? 2 : 0, {cell.params, hidden_size}};
    weight_hr = {proj_size ? 2 : 0, {proj_size, hidden_size}};
  }
};

}  // namespace rnnfast
