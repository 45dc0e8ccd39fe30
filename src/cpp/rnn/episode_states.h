#pragma once
// The states of episodes in place of those of the caller's sequences. The kernels see each episode
// as a sequence of its own, so if the batch resets, they get copies of the states' rows.

#include "rnn/reserve.h"

namespace rnnfast {

// States of the episodes: for each of the cell's states, (cells, E, its size), or null for zeros.
template <class T>
struct EpisodeStates {
  Buffer memory;
  std::vector<T*> arrays;
};

// Whether the caller's states must be copied. If not, the kernels take the caller's arrays.
bool copies_states(const NetworkSize& size, const PackedBatch& packed);

// New memory for all states.
template <class T>
EpisodeStates<T> new_states(const NetworkSize& size, const PackedBatch& packed);

// Copies the initial states: the given ones, of `size.initial_rows()` rows each, and for episodes
// that follow a reset the last of these rows or, if the caller gave none for it, zeros.
template <class T>
EpisodeStates<const T> initial_states(const NetworkSize& size, const PackedBatch& packed,
                                      const std::vector<const T*>& initial);

// Copies the gradients of final states to the episodes that end with one; the others get zeros.
template <class T>
EpisodeStates<const T> final_gradients(const NetworkSize& size, const PackedBatch& packed,
                                       const std::vector<const T*>& dfinal);

// Writes the final states (cells, B, its size) from those of the episodes.
template <class T>
void store_final(const NetworkSize& size, const PackedBatch& packed, const EpisodeStates<T>& from,
                 const std::vector<T*>& final);

// Writes the gradients of the initial states, (cells, initial rows, its size), from those of the
// episodes; that of a row for resets is their sum.
template <class T>
void store_initial_gradients(const NetworkSize& size, const PackedBatch& packed,
                             const EpisodeStates<T>& from, const std::vector<T*>& dinitial);

}  // namespace rnnfast
