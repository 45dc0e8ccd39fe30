#pragma once
// The options of a network and its calls, which stay the same from call to call and do not follow
// from the arrays.

#include "cpu/kernel_table.h"

namespace rnnfast {

// Noise inside the steps of every layer: masks in training; in evaluation, or if `expects`, only
// zoneout, by its expectation.
struct NetworkNoise {
  double zoneout[kMaxStates] = {};  // of each state
  double input_dropout = 0, recurrent_dropout = 0, candidate_dropout = 0;
  bool expects = false;

  bool zones() const {
    for (const double p : zoneout)
      if (p > 0) return true;
    return false;
  }
};

struct NetworkOptions {
  int cell = 0;  // place in the registry
  Index num_layers = 1, num_directions = 1;
  double dropout = 0;  // on the outputs of all layers but the last
  NetworkNoise noise;
  bool training = false;
  Precision precision = Precision::full;  // of the products
  Index recompute = 0;  // the least steps whose gates backward recomputes at a time; 0: none
  int threads = 0;      // the most that a call uses; 0: the process's setting
  bool keep_y = false;  // whether the reserve has its own copy of y, so that callers may change it

  Index cells() const { return num_layers * num_directions; }
  bool drops() const { return training && dropout > 0; }
  bool draws_noise() const { return training && !noise.expects; }
  bool drops_inputs() const { return draws_noise() && noise.input_dropout > 0; }
  bool drops_candidates() const { return draws_noise() && noise.candidate_dropout > 0; }
};

}  // namespace rnnfast
