#pragma once
// The contract between a cell and the drivers that run it.
//
// A cell is a list of stages. Before the steps, the driver computes the input part of every gate:
// row blocks of weight_ih times the input, plus bias_ih. In each step it then does two things for
// each stage:
//   1. It multiplies row blocks of weight_hh by the stage's operands and adds bias_hh: the
//      recurrent part of the stage's gates.
//   2. It calls `forward<stage>` on registers, which computes the operands of later stages or, in
//      the last stage, the new states.
// Backward runs the list from its end: `backward<stage>` turns the gradients of the stage's results
// into those of its gates, which the driver multiplies by the transposed weights.
//
// A cell may have an opening stage: its first stage then has no gates and computes operands from
// the states only. It is fused into the last stage of the previous step, and runs once on its own
// for the initial states.
//
// A cell's functions are templates over the type of a value. They index arrays by constants only,
// so that the compiler keeps every array in registers.

#include "core/macros.h"

namespace rnnfast {

inline constexpr int kMaxStates = 8;     // states carried from step to step
inline constexpr int kMaxStages = 16;    // per step
inline constexpr int kMaxProducts = 16;  // per stage
inline constexpr int kMaxValues = 32;    // computed in a step
inline constexpr int kMaxGates = 32;

// The items [first, first + count) of a list.
struct Span {
  int first = 0, count = 0;

  RNNFAST_INLINE constexpr int end() const { return first + count; }
  RNNFAST_INLINE constexpr bool has(int i) const { return i >= first && i < end(); }
};

// The operand of a product: a state before the step, or a value that an earlier stage computed.
struct Operand {
  enum From { kState, kValue };
  From from = kState;
  int index = 0;
};
RNNFAST_INLINE constexpr Operand state(int index) { return {Operand::kState, index}; }
RNNFAST_INLINE constexpr Operand value(int index) { return {Operand::kValue, index}; }

// Maps each gate to its row block of a weight matrix.
struct RowBlocks {
  static constexpr int kNone = -1, kInput = -2;  // no such part; the input itself, without weights

  bool in_order = true;  // gate k has block k
  signed char block[kMaxGates] = {};

  RNNFAST_INLINE constexpr int of(int gate) const { return in_order ? gate : block[gate]; }
  // Returns how many of the first `gates` gates have a block.
  RNNFAST_INLINE constexpr int count(int gates) const {
    int n = 0;
    for (int gate = 0; gate < gates; ++gate) n += of(gate) >= 0;
    return n;
  }
};

// Row blocks `gates` of weight_hh times an operand, which is the recurrent part of these gates.
struct Product {
  Operand operand = {};
  Span gates = {};
};

struct Stage {
  Span gates = {};  // the gates it completes; its functions count from the first of them
  Product products[kMaxProducts] = {};
  int values = 0;      // operands that it computes for the stage after it
  int saved = 0;       // values that it saves for its backward and for later stages
  Span sees = {};      // slots of earlier stages that it reads
  bool split = false;  // reads the input and recurrent parts of its gates, not just their sum

  // Returns the number of products.
  RNNFAST_INLINE constexpr int size() const {
    int n = 0;
    while (n < kMaxProducts && products[n].gates.count > 0) ++n;
    return n;
  }
};

// A slot holds a saved value. Slots are numbered across the stages. Slot k overwrites the input
// part of gate k, so no stage but the last may save more values than there are complete gates by
// then.
struct CellInfo {
  const char* name;
  int states = 1;  // state 0 is h, the output
  int gates;       // each has an input part, a recurrent part, or both
  int params = 0;  // parameter vectors with one value per hidden unit (rows of weight_channel)
  // Gates with an input part come first: those with rows of weight_ih, then those that read the
  // input itself.
  RowBlocks input = {}, recurrent = {};
  bool opens = false;  // the first stage runs at the end of the previous step
  // The slot that holds the candidate's factor before a step, or -1: see candidate_dropout.
  int mask = -1;
  // Whether a step reads h only through its single product, so that a projection may replace h. The
  // functions of such a cell read neither s[0] nor next[0], and the last stage's backward
  // recomputes h as made[0] and sets its gradient, ds[0], to 0.
  bool projects = false;
  // Whether the cell runs forward only, for what its slots hold after each step: the form of a cell
  // written in Python that keeps named values there.
  bool observes = false;
  Stage stages[kMaxStages];

  // The number of row blocks of weight_ih and of weight_hh.
  RNNFAST_INLINE constexpr int input_gates() const { return input.count(gates); }
  RNNFAST_INLINE constexpr int recurrent_gates() const { return recurrent.count(gates); }
  // The number of gates with an input part, with or without weights.
  RNNFAST_INLINE constexpr int input_parts() const {
    int n = 0;
    while (n < gates && input.of(n) != RowBlocks::kNone) ++n;
    return n;
  }
  // Whether a gate reads the input itself, which must then be as wide as the state.
  RNNFAST_INLINE constexpr bool reads_input() const { return input_gates() < input_parts(); }

  RNNFAST_INLINE constexpr int size() const {
    int n = 0;
    while (n < kMaxStages && (stages[n].gates.count || stages[n].values || stages[n].saved)) ++n;
    return n;
  }
  // The first stage of a step: 1 if stage 0 runs at the end of the previous step.
  RNNFAST_INLINE constexpr int first() const { return opens ? 1 : 0; }
  RNNFAST_INLINE constexpr int last() const { return size() - 1; }
  // The number of values computed from the states only, at the end of the previous step.
  RNNFAST_INLINE constexpr int opening_values() const { return first() ? stages[0].values : 0; }
  RNNFAST_INLINE constexpr int values() const { return first_value(size()); }
  RNNFAST_INLINE constexpr int saved() const { return first_slot(size()); }
  RNNFAST_INLINE constexpr int slots() const {
    return input_parts() > saved() ? input_parts() : saved();
  }
  RNNFAST_INLINE constexpr int seen() const { return first_seen(size()); }
  // Whether a gate's input and recurrent parts may have different gradients.
  RNNFAST_INLINE constexpr bool split() const {
    for (const Stage& stage : stages)
      if (stage.split) return true;
    return false;
  }

  // How many values, saved values and slots read belong to the stages before this one.
  RNNFAST_INLINE constexpr int first_value(int stage) const {
    int n = 0;
    for (int k = 0; k < stage; ++k) n += stages[k].values;
    return n;
  }
  RNNFAST_INLINE constexpr int first_slot(int stage) const {
    int n = 0;
    for (int k = 0; k < stage; ++k) n += stages[k].saved;
    return n;
  }
  RNNFAST_INLINE constexpr int first_seen(int stage) const {
    int n = 0;
    for (int k = 0; k < stage; ++k) n += stages[k].sees.count;
    return n;
  }
  // The slot's index among those that a later stage reads, or -1.
  RNNFAST_INLINE constexpr int seen_place(int slot) const {
    for (int k = 0; k < size(); ++k)
      if (stages[k].sees.has(slot)) return first_seen(k) + slot - stages[k].sees.first;
    return -1;
  }
};

// The inputs and results of a stage in the forward pass. An array that the stage does not declare
// is null.
template <class V>
struct Values {
  const V* a = nullptr;     // its gates, unless it is split
  const V* x = nullptr;     // the input part of its gates, if it is split
  const V* h = nullptr;     // the recurrent part
  const V* p = nullptr;     // parameters
  const V* s = nullptr;     // states before the step
  const V* kept = nullptr;  // slots that it reads, by their number in the cell
  V* next = nullptr;        // states after the step; only for the last stage
  V* made = nullptr;        // the values that it computes
  V* save = nullptr;        // its own slots
};

// The inputs and results of a stage in the backward pass, where it must also recompute its values
// for the gradients of the weights (an opening stage need not). The last stage writes ds and dp,
// and earlier stages add to them. The only stage that reads a slot writes its dkept.
template <class V>
struct Gradients {
  const V* p = nullptr;
  const V* s = nullptr;
  const V* kept = nullptr;
  const V* save = nullptr;
  const V* next = nullptr;   // states after the step
  const V* dnext = nullptr;  // their gradient; only for the last stage
  const V* dmade = nullptr;  // of its values
  const V* dsave = nullptr;  // of its slots, through the later stage that reads them
  V* da = nullptr;           // of its gates, unless it is split
  V* dx = nullptr;           // of the input part, if it is split
  V* dh = nullptr;           // of the recurrent part
  V* ds = nullptr;           // of s, without what comes through products
  V* dp = nullptr;
  V* dkept = nullptr;
  V* made = nullptr;
};

// Checks what the drivers rely on: here, the gates of a stage and their products. `next_value` is
// the first value that no product has multiplied yet.
constexpr bool is_well_formed(const CellInfo& info, int k, int& next_value) {
  const Stage& stage = info.stages[k];
  bool has_product[kMaxGates] = {};
  for (int p = 0; p < stage.size(); ++p) {
    const auto& [operand, gates] = stage.products[p];
    for (int gate = gates.first; gate < gates.end(); ++gate) {
      if (!stage.gates.has(gate) || has_product[gate] || info.recurrent.of(gate) < 0) return false;
      has_product[gate] = true;
    }
    if (operand.from == Operand::kState) {
      if (operand.index != 0) return false;
    } else if (operand.index != next_value++ || operand.index >= info.first_value(k)) {
      return false;  // each value is multiplied once, in order
    }
  }
  for (int gate = stage.gates.first; gate < stage.gates.end(); ++gate)
    if (!has_product[gate] && info.recurrent.of(gate) >= 0) return false;
  return true;
}
constexpr bool is_well_formed(const CellInfo& info) {
  if (info.opens && (info.stages[0].gates.count || info.stages[0].saved || !info.stages[0].values))
    return false;
  int gates = 0, next_value = 0;
  for (int k = info.first(); k < info.size(); ++k) {
    const Stage& stage = info.stages[k];
    if (stage.gates.count == 0 || stage.gates.first != gates) return false;
    if (!is_well_formed(info, k, next_value)) return false;
    gates = stage.gates.end();
    const bool is_last = k == info.last();
    if (is_last ? stage.values > 0 : info.first_slot(k + 1) > gates) return false;
    if (stage.sees.count && stage.sees.end() > info.first_slot(k)) return false;
    for (int j = 0; j < k; ++j)  // only one stage reads a slot
      for (int slot = stage.sees.first; slot < stage.sees.end(); ++slot)
        if (info.stages[j].sees.has(slot)) return false;
  }
  for (int gate = info.input_parts(); gate < info.gates; ++gate)
    if (info.input.of(gate) != RowBlocks::kNone) return false;
  for (int gate = 0; gate < info.input_gates(); ++gate)
    if (info.input.of(gate) < 0) return false;
  const Product& first = info.stages[0].products[0];
  if (info.projects &&
      (info.size() != 1 || info.stages[0].size() != 1 || first.operand.from != Operand::kState))
    return false;
  return gates == info.gates && next_value == info.values() && info.states >= 1 &&
         info.states <= kMaxStates && info.values() <= kMaxValues;
}

}  // namespace rnnfast
