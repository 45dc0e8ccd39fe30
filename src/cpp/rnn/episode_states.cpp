#include "rnn/episode_states.h"

#include <algorithm>
#include <functional>

#include "cpu/traced_cells.h"

namespace rnnfast {
namespace {

// Where the states of an episode come from and go to, in one direction.
struct Ends {
  Index place;     // its row in the arrays of the kernels
  Index sequence;  // the caller's
  bool given, final;
};

Ends ends_of(const PackedBatch& packed, const PackedRows& rows, Index r, Index direction) {
  if (!packed.resets()) return {rows.order[r], rows.sequence[r], true, true};
  const Episode& episode = packed.episode(r);
  return {rows.order[r], rows.sequence[r], episode.given[direction], episode.final[direction]};
}

// Calls f(ends, row of the episode, rows of the caller's array) for each episode of each layer and
// direction, for one state. Rows have `width` values, and the caller's array `rows` of them for
// each layer and direction. Allocates nothing: at the end of backward it would be too late to fail.
template <class P, class Q, class Function>
void for_episodes(const NetworkSize& s, const PackedBatch& packed, P* episodes, Q* callers,
                  Index rows, Index width, Function&& f) {
  const PackedRows of = packed.rows(0, 0, nullptr);
  for (Index i = 0; i < s.cells(); ++i)
    for (Index r = 0; r < packed.episodes(); ++r) {
      const Ends e = ends_of(packed, of, r, i % s.num_directions);
      f(e, episodes + (i * packed.episodes() + e.place) * width, callers + i * rows * width);
    }
}

// Copies the callers' states that exist. f(ends, rows of the caller's array, width) returns the row
// to copy, or null for zeros.
template <class T, class Function>
EpisodeStates<const T> copied(const NetworkSize& s, const PackedBatch& packed,
                              const std::vector<const T*>& from, Index rows, Function&& f) {
  EpisodeStates<T> to = new_states<T>(s, packed);
  EpisodeStates<const T> result{std::move(to.memory), {}};
  for (int state = 0; state < int(from.size()); ++state) {
    const Index width = s.state_size(state);
    result.arrays.push_back(from[state] ? to.arrays[state] : nullptr);
    if (!from[state]) continue;
    for_episodes(s, packed, to.arrays[state], from[state], rows, width,
                 [&](const Ends& e, T* row, const T* callers) {
                   if (const T* given = f(e, callers, width))
                     std::copy_n(given, width, row);
                   else
                     std::fill_n(row, width, T(0));
                 });
  }
  return result;
}

}  // namespace

bool copies_states(const NetworkSize& size, const PackedBatch& packed) {
  return packed.resets() || size.has_reset_state;
}

template <class T>
EpisodeStates<T> new_states(const NetworkSize& s, const PackedBatch& packed) {
  const int states = known_cell(s.cell).states;
  const Index rows = s.cells() * packed.episodes();
  EpisodeStates<T> to{Buffer::allocate(std::size_t(rows * s.states_size(states)) * sizeof(T)), {}};
  for (int state = 0; state < states; ++state)
    to.arrays.push_back(to.memory.template as<T>() + rows * s.states_size(state));
  return to;
}

template <class T>
EpisodeStates<const T> initial_states(const NetworkSize& s, const PackedBatch& packed,
                                      const std::vector<const T*>& initial) {
  return copied(s, packed, initial, s.initial_rows(),
                [&](const Ends& e, const T* callers, Index width) -> const T* {
                  if (e.given) return callers + e.sequence * width;
                  return s.has_reset_state ? callers + s.batch * width : nullptr;
                });
}

template <class T>
EpisodeStates<const T> final_gradients(const NetworkSize& s, const PackedBatch& packed,
                                       const std::vector<const T*>& dfinal) {
  return copied(s, packed, dfinal, s.batch,
                [](const Ends& e, const T* callers, Index width) -> const T* {
                  return e.final ? callers + e.sequence * width : nullptr;
                });
}

template <class T>
void store_final(const NetworkSize& s, const PackedBatch& packed, const EpisodeStates<T>& from,
                 const std::vector<T*>& final) {
  for (int state = 0; state < int(final.size()); ++state) {
    const Index width = s.state_size(state);
    for_episodes(s, packed, from.arrays[state], final[state], s.batch, width,
                 [&](const Ends& e, const T* row, T* callers) {
                   if (e.final) std::copy_n(row, width, callers + e.sequence * width);
                 });
  }
}

template <class T>
void store_initial_gradients(const NetworkSize& s, const PackedBatch& packed,
                             const EpisodeStates<T>& from, const std::vector<T*>& dinitial) {
  for (int state = 0; state < int(dinitial.size()); ++state) {
    const Index width = s.state_size(state);
    std::fill_n(dinitial[state], s.cells() * s.initial_rows() * width, T(0));
    for_episodes(s, packed, from.arrays[state], dinitial[state], s.initial_rows(), width,
                 [&](const Ends& e, const T* row, T* callers) {
                   T* sum = callers + s.batch * width;
                   if (e.given)
                     std::copy_n(row, width, callers + e.sequence * width);
                   else if (s.has_reset_state)
                     std::transform(row, row + width, sum, sum, std::plus());
                 });
  }
}

#define INSTANTIATE(T)                                                                       \
  template EpisodeStates<T> new_states(const NetworkSize&, const PackedBatch&);              \
  template EpisodeStates<const T> initial_states(const NetworkSize&, const PackedBatch&,     \
                                                 const std::vector<const T*>&);              \
  template EpisodeStates<const T> final_gradients(const NetworkSize&, const PackedBatch&,    \
                                                  const std::vector<const T*>&);             \
  template void store_final(const NetworkSize&, const PackedBatch&, const EpisodeStates<T>&, \
                            const std::vector<T*>&);                                         \
  template void store_initial_gradients(const NetworkSize&, const PackedBatch&,              \
                                        const EpisodeStates<T>&, const std::vector<T*>&);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
