#pragma once
// Dropout between layers, and the masks of a call.

#include "rnn/reserve.h"

namespace rnnfast {

// Drops thread `thread`'s share of some steps of a layer's outputs on their way to the next layer,
// or of their gradients.
template <class T>
void drop_outputs(const NetworkSize& size, const PackedBatch& packed, Index layer, StepRange steps,
                  const T* from, T* to, int thread, int threads);

// The same for a layer's inputs, packed rows, with a mask that all steps share. If `from` is null,
// the inputs are one-hot rows given by `indices`. `memory` has input_mask_memory values, in which
// each thread draws its masks: in the middle of a call it is too late for memory to end.
template <class T>
void drop_inputs(const NetworkSize& size, const PackedBatch& packed, Index layer, const T* from,
                 const Index* indices, T* to, T* memory, int thread, int threads);
Index input_mask_memory(const NetworkSize& size, int threads);

// Writes the mask of a layer's outputs on their way to the next layer, (T, B, D * H).
template <class T>
void network_dropout_mask(const Reserve<T>& reserve, Index layer, T* mask);

// Write the masks of noise: how much of the new state s of layer and direction i each step takes,
// (T, B, H), where the rest is the old state; a layer's input mask, (B, input size), the same in
// every step; the mask of the recurrent products' operands of layer and direction i, (B, H); and
// that of each step's candidate, (T, B, H).
template <class T>
void network_zoneout_mask(const Reserve<T>& reserve, Index i, int s, T* mask);
template <class T>
void network_input_mask(const Reserve<T>& reserve, Index layer, T* mask);
template <class T>
void network_recurrent_mask(const Reserve<T>& reserve, Index i, T* mask);
template <class T>
void network_candidate_mask(const Reserve<T>& reserve, Index i, T* mask);

}  // namespace rnnfast
