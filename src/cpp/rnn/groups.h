#pragma once
// How many threads work on a call, and how they divide into groups that work side by side: on the
// two directions of a layer, or on consecutive layers, one behind the other (wave.h).

#include "core/team.h"
#include "rnn/reserve.h"

namespace rnnfast {

// Multiply-adds of a forward pass with all sequences at full length.
double network_work(const NetworkSize& size);

// Threads to pack weights of so many bytes.
int packing_threads(std::size_t bytes);

// The threads of a call, in `count` groups of equal size, each of which works on one layer in one
// direction. A single group is the whole team.
struct Groups {
  int threads, count;

  int size() const { return threads / count; }
  // Whether the groups work on layers, not on directions.
  bool in_wave(const NetworkSize& s) const { return count > 1 && s.num_directions == 1; }
  // The groups that a team forms, which is smaller than planned if the process is short of threads.
  int of(const Team& team) const { return team.size == threads ? count : 1; }
};

// The groups for a call over `rows` steps of all sequences, at most `sequences` of them at a time,
// which multiplies by the weights `passes` times.
template <class T>
Groups network_groups(const NetworkSize& size, Index rows, Index sequences, double passes);

// A direction of a layer, and the threads that run it.
struct Side {
  Index direction;
  int group;  // that they form; 0 if they are the whole team
  Team team;
  int thread;  // number in the team
};

// Calls f(side) for each direction of a layer: on the two groups of the team, or one after the
// other.
template <class F>
void for_directions(Index directions, int groups, const Team& team, int thread, F&& f) {
  if (groups == 1) {
    for (Index direction = 0; direction < directions; ++direction)
      f(Side{direction, 0, team, thread});
    return;
  }
  const int size = team.size / groups, group = thread / size;
  f(Side{group, group, team.group(group, groups), thread % size});
  team.barrier();
}

}  // namespace rnnfast
