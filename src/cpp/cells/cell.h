#pragma once
// The contract between a cell and the drivers that run it.
//
// A cell is a list of stages. Before the steps, the driver computes the input's part of all gates:
// row blocks of weight_ih times the input, plus bias_ih. In a step it then does for each stage:
//   1. multiply: row blocks of weight_hh times the stage's operands, plus bias_hh, make the
//      recurrent part of the stage's gates;
//   2. call `forward<stage>` on registers, which makes what the stage after it multiplies or, in
//      the last stage, the new states.
// Backward runs the list from its end: `backward<stage>` takes the gradients of what the stage made
// and gives those of its gates, which the driver multiplies with the transposed weights.
//
// The first stage may have no products. It then makes operands out of the states alone, and is
// fused into the stage before it: it runs at the end of the previous step, and once for the initial
// states.
//
// A cell's functions are templates over the type of a value. They index arrays by constants only,
// so that all of them are registers.

#include "core/macros.h"

namespace rnnfast {

inline constexpr int kMaxStates = 4;    // states carried from step to step
inline constexpr int kMaxStages = 4;    // of a step
inline constexpr int kMaxProducts = 4;  // of a stage
inline constexpr int kMaxValues = 4;    // made in a step

// The items [first, first + count) of a list.
struct Span {
  int first = 0, count = 0;

  RNNFAST_INLINE constexpr int end() const { return first + count; }
  RNNFAST_INLINE constexpr bool has(int i) const { return i >= first && i < end(); }
};

// What a product multiplies: a state before the step, or a value that the stage before made.
struct Operand {
  enum From { kState, kValue };
  From from = kState;
  int index = 0;
};
RNNFAST_INLINE constexpr Operand state(int index) { return {Operand::kState, index}; }
RNNFAST_INLINE constexpr Operand value(int index) { return {Operand::kValue, index}; }

// Row blocks `gates` of weight_hh times an operand: the recurrent part of these gates.
struct Product {
  Operand operand = {};
  Span gates = {};
};

struct Stage {
  Span gates = {};  // it completes these; its functions count from the first of them
  Product products[kMaxProducts] = {};
  int values = 0;      // it makes this many operands for the stage after it
  int saved = 0;       // values that it keeps for its backward and for later stages
  Span sees = {};      // slots of earlier stages that it uses
  bool split = false;  // sees the input's and the recurrent part of its gates, not only their sum

  // How many products it has.
  RNNFAST_INLINE constexpr int size() const {
    int n = 0;
    while (n < kMaxProducts && products[n].gates.count > 0) ++n;
    return n;
  }
};

// A slot is a place for a saved value. Slots are numbered through the stages; slot k takes the
// place of the input's part of gate k, which is why a stage may save no more than the gates that
// are complete by then, unless it is the last.
struct CellInfo {
  const char* name;
  int states = 1;  // state 0 is h, the output
  int gates;       // each has a part of the input and a recurrent part
  int params = 0;  // parameter vectors of one value a hidden unit (rows of weight_channel)
  Stage stages[kMaxStages];

  // Row blocks of weight_ih and of weight_hh.
  RNNFAST_INLINE constexpr int input_gates() const { return gates; }
  RNNFAST_INLINE constexpr int recurrent_gates() const { return gates; }

  RNNFAST_INLINE constexpr int size() const {
    int n = 0;
    while (n < kMaxStages && (stages[n].gates.count > 0 || stages[n].values > 0)) ++n;
    return n;
  }
  // The first stage that has products: 1 if the first of all runs at the end of the step before.
  RNNFAST_INLINE constexpr int first() const { return stages[0].size() > 0 ? 0 : 1; }
  RNNFAST_INLINE constexpr int last() const { return size() - 1; }
  // Values made from the states alone, at the end of the step before.
  RNNFAST_INLINE constexpr int opening_values() const { return first() ? stages[0].values : 0; }
  RNNFAST_INLINE constexpr int values() const { return first_value(size()); }
  RNNFAST_INLINE constexpr int saved() const { return first_slot(size()); }
  RNNFAST_INLINE constexpr int slots() const { return gates > saved() ? gates : saved(); }
  RNNFAST_INLINE constexpr int seen() const { return first_seen(size()); }
  // Whether a gate's gradient may differ between the input's and the recurrent part.
  RNNFAST_INLINE constexpr bool split() const {
    for (const Stage& stage : stages)
      if (stage.split) return true;
    return false;
  }

  // How many values, saved values and slots seen belong to the stages before this one.
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
  // A slot's place among those that a later stage sees, or -1.
  RNNFAST_INLINE constexpr int seen_place(int slot) const {
    for (int k = 0; k < size(); ++k)
      if (stages[k].sees.has(slot)) return first_seen(k) + slot - stages[k].sees.first;
    return -1;
  }
};

// What a stage sees and makes in the forward pass. Arrays are there as the stage declares them.
template <class V>
struct Values {
  const V* a = nullptr;     // its gates, unless it is split
  const V* x = nullptr;     // the input's part of its gates, if it is split
  const V* h = nullptr;     // the recurrent part
  const V* p = nullptr;     // parameters
  const V* s = nullptr;     // states before the step
  const V* kept = nullptr;  // slots that it sees, by their number in the cell
  V* next = nullptr;        // states after the step; the last stage makes them
  V* made = nullptr;        // its values
  V* save = nullptr;        // its own slots
};

// What it sees and makes in the backward pass, where it must make its values once more for the
// gradients of the weights (an opening stage need not). The last stage writes ds and dp, those
// before it add to them; dkept is written by the one stage that sees the slot.
template <class V>
struct Gradients {
  const V* p = nullptr;
  const V* s = nullptr;
  const V* kept = nullptr;
  const V* save = nullptr;
  const V* next = nullptr;   // states after the step
  const V* dnext = nullptr;  // their gradient; for the last stage
  const V* dmade = nullptr;  // of its values
  const V* dsave = nullptr;  // of its slots that a later stage sees, through that stage
  V* da = nullptr;           // of its gates, unless it is split
  V* dx = nullptr;           // of the input's part, if it is split
  V* dh = nullptr;           // of the recurrent part
  V* ds = nullptr;           // of s, but for what comes through products
  V* dp = nullptr;
  V* dkept = nullptr;
  V* made = nullptr;
};

// What the drivers rely on.
constexpr bool is_well_formed(const CellInfo& info) {
  int gates = 0, before = info.first() ? info.stages[0].values : 0;
  if (info.first() && (info.stages[0].gates.count || info.stages[0].saved || before == 0))
    return false;
  for (int k = info.first(); k < info.size(); ++k) {
    const Stage& stage = info.stages[k];
    if (stage.size() == 0 || stage.gates.first != gates) return false;
    // Each gate has one product, and each operand too: at the beginning h, then all values that the
    // stage before made, in their order.
    const int values = k == info.first() ? info.opening_values() : before;
    int used = 0;
    for (int p = 0; p < stage.size(); ++p) {
      const Product& product = stage.products[p];
      if (product.gates.first != gates) return false;
      gates = product.gates.end();
      if (k == info.first() && p == 0) {
        if (product.operand.from != Operand::kState || product.operand.index != 0) return false;
      } else if (product.operand.from != Operand::kValue) {
        return false;
      } else if (product.operand.index != info.first_value(k) - values + used++) {
        return false;
      }
    }
    if (used != values || gates != stage.gates.end()) return false;
    const bool is_last = k == info.last();
    if (is_last ? stage.values > 0 : info.first_slot(k + 1) > gates) return false;
    if (stage.sees.count && stage.sees.end() > info.first_slot(k)) return false;
    for (int j = 0; j < k; ++j)  // a slot is seen by one stage
      for (int slot = stage.sees.first; slot < stage.sees.end(); ++slot)
        if (info.stages[j].sees.has(slot)) return false;
    before = stage.values;
  }
  return gates == info.gates && info.states >= 1 && info.states <= kMaxStates &&
         info.values() <= kMaxValues;
}

}  // namespace rnnfast
