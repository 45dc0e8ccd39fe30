#pragma once
// The two directions of a layer side by side, each on one half of the team.

#include "core/team.h"
#include "rnn/reserve.h"

namespace rnnfast {

// Operations of the recurrent products in a step of some sequences.
inline double step_flops(const NetworkSize& s, Index sequences) {
  const WeightShapes shapes = s.weight_shapes(0);
  return 2. * double(sequences) * double(shapes.weight_hh.count() + shapes.weight_hr.count());
}

// Up to this many operations per step, two directions run side by side. With more, meetings hardly
// cost time, and a scratch for each direction costs memory.
inline constexpr double kFlopsSideBySide = 1e6;

// Whether the halves of a team run the two directions of a layer side by side. The threads of a
// half meet less often than the whole team would, or never, and keep one direction's weights in
// their caches.
inline bool side_by_side(const NetworkSize& s, Index sequences, int threads) {
  return s.num_directions == 2 && threads > 1 && threads % 2 == 0 &&
         step_flops(s, sequences) <= kFlopsSideBySide;
}

// A direction of a layer, and the threads that run it.
struct Side {
  Index direction;
  int number;  // of the half that runs the direction; 0 if the whole team does
  Team team;
  int thread;  // number in the team
};

// Calls f(side) for each direction of a layer: on the halves of the team, or one after the other.
template <class F>
void for_directions(const NetworkSize& size, Index sequences, const Team& team, int thread, F&& f) {
  if (!side_by_side(size, sequences, team.size)) {
    for (Index direction = 0; direction < size.num_directions; ++direction)
      f(Side{direction, 0, team, thread});
    return;
  }
  const int half = team.size / 2, number = thread / half;
  f(Side{number, number, team.half(number), thread % half});
  team.barrier();
}

}  // namespace rnnfast
