#pragma once
// Layers as a wave: while one group of threads computes some steps of a layer, the next group
// computes the steps before them of the following layer.

#include <algorithm>

#include "core/threads.h"
#include "rnn/groups.h"

namespace rnnfast {

// Rows that a layer passes on at a time: few, as a layer starts when the first have come, but
// enough for the products with them.
inline constexpr Index kWaveRows = 8;

// How many layers can be at work at the same time in a call over `rows` steps of all sequences, at
// most `sequences` of them at a time. Steps come in the opposite order from a second direction, and
// masks of inputs are drawn for all steps at once.
inline Index wave_layers(const NetworkSize& s, Index rows, Index sequences) {
  if (s.num_directions == 2 || s.drops_inputs()) return 1;
  return rows < 2 * std::max(kWaveRows, sequences) ? 1 : s.num_layers;
}

class Wave {
 public:
  // For a pass through `layers` layers of `steps` steps; backward takes the last step first.
  Wave(Index layers, Index steps, bool backward, const Groups& groups)
      : layers_(layers),
        steps_(steps),
        backward_(backward),
        groups_(groups),
        progress_(layers, groups.threads) {}

  // On every thread of the team: calls run(layer, side, &flow) for the layers of the thread's
  // group, in the order of the pass. When steps of a layer are done, pass(layer, steps, team,
  // thread) prepares them for the next layer, on all threads of the group, and waits for them.
  // Neither may throw, and so neither allocates: the other groups would wait for the steps forever.
  template <class Run, class Pass>
  void run(const Team& team, int thread, Run&& run, Pass&& pass) {
    const int group = thread / groups_.size();
    const Side side{0, group, team.group(group, groups_.count), thread % groups_.size()};
    for (Index i = group; i < layers_; i += groups_.count) {
      Link<Pass> link{*this, pass, i, side};
      const Flow flow{kWaveRows, &Link<Pass>::take, &Link<Pass>::give, &link};
      run(layer(i), side, &flow);
    }
    team.barrier();
  }

 private:
  // Joins the i-th layer of the pass to its neighbours, on one thread.
  template <class Pass>
  struct Link {
    Wave& wave;
    Pass& pass;
    Index i;
    const Side& side;

    static void take(void* link, Index begin, Index end) {
      const Link& l = *static_cast<Link*>(link);
      if (l.i > 0) l.wave.progress_.await(l.i - 1, l.wave.count(begin, end));
    }
    static void give(void* link, Index begin, Index end) {
      const Link& l = *static_cast<Link*>(link);
      l.side.team.barrier();
      l.pass(l.wave.layer(l.i), StepRange{begin, end}, l.side.team, l.side.thread);
      if (l.side.thread == 0) l.wave.progress_.reach(l.i, l.wave.count(begin, end));
    }
  };

  Index layer(Index i) const { return backward_ ? layers_ - 1 - i : i; }
  // How many steps are done after steps [begin, end).
  Index count(Index begin, Index end) const { return backward_ ? steps_ - begin : end; }

  const Index layers_, steps_;
  const bool backward_;
  const Groups groups_;
  Progress progress_;  // of each layer
};

}  // namespace rnnfast
