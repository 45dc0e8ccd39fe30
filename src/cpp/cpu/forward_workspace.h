#pragma once
// Where the forward pass keeps the packed weights and what it makes on the way.

#include "cpu/layout.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class L, class P>
struct ForwardWorkspace {
  using T = RealOf<P>;
  using F = Format<P>;
  // What lives on from part to part comes first, where the number of rows moves nothing.
  PackedLayer<L, P> weights;
  T* h0;                      // (B, H)
  T* gates;                   // [tile][chunk row][slot][unit], unless the reserve holds them
  T* states;                  // [state][tile][B][unit], unless the reserve holds them
  T* x;                       // (chunk rows, I) as operands, where products round
  T* operands[kMaxOperands];  // (B, H) thrice: of the initial state, of even and odd steps
  T* second;                  // (B, H)
  T* sums;                    // [thread][row of a block][gate][unit]
  static constexpr Index kSums = kMaxBlockRows * L::kGateRow;
  // Operands from this one on are copies: those that the cell makes and, where products round, h.
  static constexpr int kFirstCopy = F::kRounds ? 0 : 1;
  Index size;

  // The weights lie at `packed`, or in the workspace itself if that is null.
  ForwardWorkspace(T* base, const LayerSize& s, int threads, T* packed)
      : weights(packed ? packed : base, s) {
    Carver<T> c{base, s.packed ? 0 : weights.size};
    const Index H = s.hidden_size, B = s.rows.batch, tiles = L::tiles(H);
    const bool keeps_gates = s.training && L::kKeepsGates;
    h0 = c.take(B * H);
    gates =
        c.take(keeps_gates ? 0 : tiles * chunk_capacity(s.rows, kForwardChunkRows) * L::kSlotRow);
    states = c.take(s.training ? 0 : L::kExtraStates * tiles * B * L::kUnits);
    x = c.take(F::kRounds ? chunk_capacity(s.rows, kForwardChunkRows) * F::operand(s.input_size)
                          : 0);
    for (int o = kFirstCopy; o < L::info.operands; ++o) operands[o] = c.take(3 * B * F::operand(H));
    second = c.take(L::kTwoStages ? B * F::operand(H) : 0);
    sums = c.take(threads * kSums);
    size = c.used;
  }
};

}  // namespace RNNFAST_ISA_NAMESPACE
