#pragma once
// The interface of the engine's ISA-specific kernels: plain structs that both sides can include.
//
// Sequences of unequal length are packed: sorted by decreasing length, so that the first `count(t)`
// sequences are active in step t and their rows are contiguous. A batch of equal lengths is the
// special case in which the packed rows are the (T, B, .) array itself. If resets cut the caller's
// sequences into episodes, each episode is a sequence here, and B is their number.

#include "cells/program.h"
#include "core/index.h"
#include "core/team.h"

namespace rnnfast {

// The precision of the products' factors: that of the arrays, rounded to bfloat16, or 8-bit
// integers with a scale for each row, which have no backward pass.
enum class Precision { full, bfloat16, int8 };

// Tags of the product formats other than float and double; cpu/format.h describes them.
struct Bf16Converted;
struct Bf16Dot;
struct Int8Multiplied;
struct Int8Dot;

struct PackedRows {
  Index steps;            // T
  Index batch;            // B
  const Index* offset;    // (T+1,) first row of each step; offset[T] is the number of rows
  const Index* order;     // (B,) the row of each packed sequence in the arrays of states
  const Index* sequence;  // (B,) the caller's number of each packed sequence
  const Index* start;     // (B,) the caller's step at which each starts; null: 0 for all
  Index first_step = 0;   // the number of these steps before step 0

  // The caller's number of packed sequence r's step t.
  RNNFAST_INLINE Index step_of(Index t, Index r) const {
    return first_step + t + (start ? start[r] : 0);
  }

  RNNFAST_INLINE Index total() const { return offset[steps]; }
  RNNFAST_INLINE Index count(Index t) const { return offset[t + 1] - offset[t]; }
  RNNFAST_INLINE bool dense() const { return total() == steps * batch; }
};

// Below this many rows, packing the weights would move more memory than the products read. Such
// calls use them in place (direct.h), unless they are already packed.
inline constexpr Index kDirectRows = 8;

// The noise inside the steps of one layer and direction; core/noise.h defines its masks.
struct LayerNoise {
  double zoneout[kMaxStates] = {};  // the probability that a unit of each state keeps its old value
  double recurrent_dropout = 0;     // on the operands of the recurrent products
  double candidate_dropout = 0;     // on the candidate, in cells with CellInfo::mask
  bool zones = false;               // whether any state has zoneout
  bool expects = false;             // zoneout uses its expectation instead of a mask
  unsigned long long seed = 0;
  unsigned cell = 0;  // identifies the masks

  RNNFAST_INLINE bool drops() const { return recurrent_dropout > 0; }
};

struct LayerSize {
  PackedRows rows;
  Index input_size;
  Index hidden_size;  // H
  Index proj_size;    // P; 0: h is not projected
  bool reverse;
  bool training;
  bool needs_dx;
  bool packed = false;  // the weights are packed already
  bool direct = false;  // the weights are read in place: see kDirectRows
  LayerNoise noise = {};

  // Width R of h, which the recurrent products multiply.
  RNNFAST_INLINE Index h_size() const { return proj_size ? proj_size : hidden_size; }
  // Rows of a tile's states beyond h in the reserve: the initial ones, those after each step and,
  // with zoneout, those that the cell computed in each step.
  RNNFAST_INLINE Index state_rows() const {
    return rows.batch + (noise.zones ? 2 : 1) * rows.total();
  }
};

// Position of a call among calls that process the steps in parts and share one workspace: the first
// packs the weights for all, the last writes the weights' gradients.
struct Part {
  bool first = true, last = true;
};

// How a layer and its neighbours work on the same call at the same time. The layer calls `take`
// before it reads rows of steps [begin, end) that the layer before it in the pass computes, and
// `give` when it has computed these steps itself, on every thread of its team. Steps are counted in
// the whole call.
struct Flow {
  Index rows;  // that are taken and given at a time, in whole steps
  void (*take)(void* context, Index begin, Index end);
  void (*give)(void* context, Index begin, Index end);
  void* context;
};

// Weights in PyTorch's layouts; biases, channel and weight_hr may be null.
template <class T>
struct CellWeights {
  T* weight_ih;       // (input_gates * H, I)
  T* weight_hh;       // (recurrent_gates * H, R)
  T* bias_ih;         // (input_gates * H,)
  T* bias_hh;         // (recurrent_gates * H,)
  T* weight_channel;  // (params, H)
  T* weight_hr;       // (P, H), with a projection
};

// What a context adds to the input part of the gates of one layer and direction, or its gradient:
// rows of (input_gates * H,), in the order of weight_ih's row blocks.
template <class T>
struct ContextGates {
  T* rows;      // null for no context
  Index batch;  // B if each of the caller's steps has a row, (T, B, .); 0 if each sequence has one
};

// How many values of T forward keeps for backward.
struct LayerReserve {
  Index gates;   // saved values, [tile][row][slot][unit]
  Index states;  // states beyond h, [state][tile][state_rows][unit]
  Index made;    // with zoneout, h as the cell computed it, (rows, H)
};

template <class T>
struct ForwardArgs {
  LayerSize size;
  Part part;
  const Flow* flow;  // null if the whole input is there
  bool recomputing;  // only refill the reserve: y holds an earlier call's result and is read
  CellWeights<const T> weights;  // unless size.packed
  T* packed;                     // what `pack` wrote, read only, if size.packed; else null
  const T* x;                    // (rows, I), row stride x_stride; or null
  const Index* indices;          // (rows,) in [0, I), where x is null
  Index x_stride;
  ContextGates<const T> context;
  T* y;  // (rows, R), row stride y_stride
  Index y_stride;
  const T* initial[kMaxStates];  // (B, R), and (B, H) beyond h; null for zeros
  T* final[kMaxStates];          // likewise; not written if recomputing
  T* gates;                      // reserve; null unless training
  T* states;                     // reserve; null unless training
  T* made;                       // likewise
  T* workspace;
};

template <class T>
struct BackwardArgs {
  LayerSize size;
  Part part;
  const Flow* flow;  // null if the whole of dy is there
  CellWeights<const T> weights;
  const T* x;
  const Index* indices;
  Index x_stride;
  const T* y;
  Index y_stride;
  const T* initial[kMaxStates];
  const T* gates;
  const T* states;
  const T* made;
  const T* dy;  // (rows, R), row stride y_stride; null for zeros
  const T* dfinal[kMaxStates];
  T* workspace;
  T* dx;  // (rows, I), row stride dx_stride; null if not wanted
  Index dx_stride;
  bool add_dx;               // add to dx instead of writing it
  T* dinitial[kMaxStates];   // like `initial`; may be dfinal
  CellWeights<T> dweights;   // null where a weight is, or where its gradient is not wanted
  bool add_dweights;         // add to dweights instead of writing them
  ContextGates<T> dcontext;  // added to
};

template <class T>
struct CellKernels {
  CellInfo info;
  const void* code;  // the cell's layout and functions (cell_code.h)
  Index tile_units;  // hidden units of a tile
  Index chunk_rows;  // backward's chunks of steps end with the step that fills this many rows
  // The same functions serve every cell; their first argument is this struct.
  LayerReserve (*reserve)(const CellKernels&, const LayerSize& size);
  // Sizes in values of T: of packed weights, and of the workspace of a call.
  Index (*packed)(const CellKernels&, const LayerSize& size);
  Index (*forward_workspace)(const CellKernels&, const LayerSize& size, int threads);
  Index (*backward_workspace)(const CellKernels&, const LayerSize& size, int threads);
  // Packs weights; ignores `size.rows`.
  void (*pack)(const CellKernels&, const CellWeights<const T>& weights, const LayerSize& size,
               const Team& team, int thread, T* packed);
  void (*forward)(const CellKernels&, const ForwardArgs<T>& args, const Team& team, int thread);
  // This and backward_workspace are null if the format has no backward pass.
  void (*backward)(const CellKernels&, const BackwardArgs<T>& args, const Team& team, int thread);
};

// The kernels of one instruction set and one format of products, over arrays of T.
template <class T>
struct FormatKernels {
  const CellKernels<T>* cells;  // by the cell's place in the registry
  // The kernels of a cell written in Python. They read the cell and `memory`, whose size in values
  // the first function returns, so both must outlive them.
  Index (*traced_values)(const TracedCell&);
  CellKernels<T> (*traced_kernels)(const TracedCell&, T* memory);
  // The best rate of multiply-adds, for benchmarks (probe.h): floating-point operations per round,
  // and a function that runs a number of rounds. It returns a value only to keep the compiler from
  // removing the work.
  Index probe_round_flops;
  double (*probe_multiply_adds)(Index rounds);
};

}  // namespace rnnfast
