#pragma once
// Dropout of what goes from layer to layer, and the masks of a call.

#include "rnn/reserve.h"

namespace rnnfast {

// Thread `thread`'s share of dropping a layer's outputs on their way to the next layer, or of their
// gradients.
template <class T>
void drop_outputs(const NetworkSize& size, const PackedBatch& packed, Index layer, const T* from,
                  T* to, int thread, int threads);

// The same of a layer's inputs, packed rows, by the mask that all steps share. Where `from` is null
// they are one-hot rows, of which `indices` tell.
template <class T>
void drop_inputs(const NetworkSize& size, const PackedBatch& packed, Index layer, const T* from,
                 const Index* indices, T* to, int thread, int threads);

// What a layer's outputs were multiplied with on their way to the next one, (T, B, D * H).
template <class T>
void network_dropout_mask(const Reserve<T>& reserve, Index layer, T* mask);

// Of noise: how much of the new state s of layer and direction i a step takes, (T, B, H), the rest
// being the old one; what a layer's inputs were multiplied with in every step, (B, input size);
// what the recurrent products of layer and direction i multiplied their operands with, (B, H); and
// what each step multiplied its candidate with, (T, B, H).
template <class T>
void network_zoneout_mask(const Reserve<T>& reserve, Index i, int s, T* mask);
template <class T>
void network_input_mask(const Reserve<T>& reserve, Index layer, T* mask);
template <class T>
void network_recurrent_mask(const Reserve<T>& reserve, Index i, T* mask);
template <class T>
void network_candidate_mask(const Reserve<T>& reserve, Index i, T* mask);

}  // namespace rnnfast
