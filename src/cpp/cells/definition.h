#pragma once
// The definition of a cell written in Python, and its check: the same facts as in cell.h and
// program.h, before they are known to be consistent.

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "cells/program.h"
#include "core/error.h"

namespace rnnfast {

struct PlaceOf {
  PlaceKind kind = PlaceKind::tmp;
  int index = 0;
};

struct InstructionOf {
  Operation op;
  PlaceOf to, a, b, c;
};
using ProgramOf = std::vector<InstructionOf>;

struct StageOf {
  std::vector<Product> products;
  int values = 0;  // that it computes
  ProgramOf forward, backward;
};

// A product as Python passes it: whether it multiplies a state, the number of the state or value,
// first gate, number of gates.
using ProductTuple = std::tuple<bool, int, int, int>;

inline std::vector<Product> products_told(const std::vector<ProductTuple>& told) {
  std::vector<Product> products;
  for (const auto& [is_state, operand, first, count] : told)
    products.push_back({is_state ? state(operand) : value(operand), {first, count}});
  return products;
}

// A cell as Python describes it, in the terms of cells/cell.h and cells/program.h.
struct CellDefinition {
  std::string name;
  int states = 1, params = 0, slots = 0, dslots = 0, mask = -1;
  bool observes = false;              // see CellInfo
  std::vector<int> input, recurrent;  // row blocks of each gate
  bool opens = false;
  std::vector<StageOf> stages;
  std::vector<Norm> norms;
  std::vector<double> constants;
};

inline void set_row_blocks(const CellDefinition& d, const char* what,
                           const std::vector<int>& blocks, RowBlocks& to) {
  to.in_order = false;
  std::array<bool, kMaxGates> seen{};
  int count = 0, highest = -1;
  for (std::size_t gate = 0; gate < blocks.size(); ++gate) {
    const int block = blocks[gate];
    to.block[gate] = static_cast<signed char>(block);
    if (block < 0) continue;
    RNNFAST_CHECK(block < kMaxGates && !seen[std::size_t(block)], "cell ", d.name, ": ", what,
                  " has row block ", block, " twice, or its number is too large");
    seen[std::size_t(block)] = true;
    ++count;
    highest = std::max(highest, block);
  }
  RNNFAST_CHECK(highest + 1 == count, "cell ", d.name, ": ", what, " has ", count,
                " row blocks, but one with number ", highest);
}

inline void check_gates(const CellDefinition& d) {
  RNNFAST_CHECK(
      !d.input.empty() && d.input.size() <= kMaxGates && d.input.size() == d.recurrent.size(),
      "cell ", d.name, ": expected 1 to ", kMaxGates, " gates, got ", d.input.size());
  // Gates come in this order: with weights, with the input itself, without an input part.
  const auto rank = [](int block) { return block >= 0 ? 0 : block == RowBlocks::kInput ? 1 : 2; };
  for (std::size_t gate = 0; gate < d.input.size(); ++gate) {
    RNNFAST_CHECK(d.input[gate] >= RowBlocks::kInput && d.recurrent[gate] >= RowBlocks::kNone,
                  "cell ", d.name, ": gate ", gate, " has an invalid row block");
    RNNFAST_CHECK(gate == 0 || rank(d.input[gate - 1]) <= rank(d.input[gate]), "cell ", d.name,
                  ": expected gates with weight_ih first, then those that read the input itself, "
                  "then those without an input part");
  }
  RNNFAST_CHECK(d.input[0] >= 0, "cell ", d.name, ": expected a row block of weight_ih, got none");
}

inline void check_products(const CellDefinition& d, const CellInfo& info) {
  std::array<bool, kMaxGates> done{};
  int products = 0;
  for (int k = 0; k < info.size(); ++k) {
    const std::vector<Product>& list = d.stages[std::size_t(k)].products;
    RNNFAST_CHECK(list.size() <= kMaxProducts && (k >= info.first() || list.empty()), "cell ",
                  d.name, ": stage ", k, " has too many products, ", list.size());
    products += int(list.size());
    for (const auto& [operand, gates] : list) {
      RNNFAST_CHECK(gates.count > 0 && gates.first >= 0 && gates.end() <= info.gates, "cell ",
                    d.name, ": a product of stage ", k, " has gates outside the cell's");
      for (int gate = gates.first; gate < gates.end(); ++gate) {
        RNNFAST_CHECK(!done[std::size_t(gate)] && info.recurrent.of(gate) >= 0, "cell ", d.name,
                      ": gate ", gate,
                      " does not belong to exactly one product with a row block of weight_hh");
        done[std::size_t(gate)] = true;
      }
      const bool known = operand.from == Operand::kState
                             ? operand.index == 0
                             : operand.index >= 0 && operand.index < info.first_value(k);
      RNNFAST_CHECK(known, "cell ", d.name, ": a product of stage ", k,
                    " multiplies a value that no earlier stage computes");
    }
  }
  for (int gate = 0; gate < info.gates; ++gate)
    RNNFAST_CHECK(done[std::size_t(gate)] == (info.recurrent.of(gate) >= 0), "cell ", d.name,
                  ": gate ", gate, " has a row block of weight_hh but no product");
  RNNFAST_CHECK(products <= kMaxGates, "cell ", d.name, ": expected at most ", kMaxGates,
                " products, got ", products);
}

// Whether a projection may replace h: a single product reads it, and no program.
inline bool reads_h_by_its_product(const CellDefinition& d) {
  const StageOf& stage = d.stages[0];
  if (d.stages.size() != 1 || stage.products.size() != 1) return false;
  const auto is_h = [](PlaceOf p) { return p.kind == PlaceKind::state && p.index == 0; };
  return std::none_of(stage.forward.begin(), stage.forward.end(),
                      [&](const InstructionOf& i) { return is_h(i.a) || is_h(i.b) || is_h(i.c); });
}

// Returns the checked info, still without a name. Throws Error, which says what is wrong.
inline CellInfo checked_info(const CellDefinition& d) {
  const auto within = [&](const char* what, int value, int least, int most) {
    RNNFAST_CHECK(value >= least && value <= most, "cell ", d.name, ": expected ", least, " to ",
                  most, " ", what, ", got ", value);
  };
  within("states", d.states, 1, kMaxStates);
  within("params", d.params, 0, kMaxGates);
  within("slots", d.slots, 0, 2 * kMaxGates);
  within("gradients of slots", d.dslots, 0, 2 * kMaxGates);
  within("stages", int(d.stages.size()), d.opens ? 2 : 1, kMaxStages);
  within("norms", int(d.norms.size()), 0, kMaxNorms);
  check_gates(d);
  CellInfo info{.name = nullptr,
                .states = d.states,
                .gates = int(d.input.size()),
                .params = d.params,
                .stages = {}};
  set_row_blocks(d, "weight_ih", d.input, info.input);
  set_row_blocks(d, "weight_hh", d.recurrent, info.recurrent);
  info.opens = d.opens;
  int values = 0;
  for (std::size_t k = 0; k < d.stages.size(); ++k) {
    Stage& stage = info.stages[k];
    // The drivers read only a stage's products and values. Its gates and slots are set here to mark
    // the stage as present and to give the total number of slots.
    if (k > 0 || !d.opens) stage.gates = {0, 1};
    stage.values = d.stages[k].values;
    within("values of a stage", stage.values, k == 0 && d.opens ? 1 : 0, kMaxValues);
    values += stage.values;
    const std::size_t count = std::min(d.stages[k].products.size(), std::size_t(kMaxProducts));
    std::copy_n(d.stages[k].products.begin(), count, stage.products);
  }
  within("values", values, 0, kMaxValues);
  Stage& last = info.stages[d.stages.size() - 1];
  last.saved = d.slots;
  last.sees = {0, d.dslots};
  info.mask = d.mask;
  info.observes = d.observes;
  info.projects = d.observes && reads_h_by_its_product(d);
  RNNFAST_CHECK(d.mask == -1 || (d.mask >= info.input_parts() && d.mask < d.slots), "cell ", d.name,
                ": expected the candidate's mask in a slot of its own, got slot ", d.mask);
  RNNFAST_CHECK(last.values == 0, "cell ", d.name,
                ": the last stage computes values that no stage reads");
  check_products(d, info);
  for (const Norm& norm : d.norms)
    RNNFAST_CHECK(
        norm.slot >= 0 && norm.slot < info.slots() && norm.made_by >= info.first() &&
            norm.used_by > norm.made_by && norm.used_by <= info.last() && norm.eps >= 0,
        "cell ", d.name,
        ": expected a norm of a slot of the cell, with eps >= 0 and used in a later stage "
        "than it is computed in, got one of slot ",
        norm.slot);
  return info;
}

}  // namespace rnnfast
