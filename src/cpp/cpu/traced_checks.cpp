#include "cpu/traced_checks.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "core/error.h"

namespace rnnfast {
namespace {

// Makes a stage's program out of its definition, and checks it.
class ProgramMaker {
 public:
  ProgramMaker(const CellDefinition& cell, const CellInfo& info, int stage, Role role)
      : cell_(cell), info_(info), stage_(stage), role_(role) {}

  void make(const ProgramOf& code) {
    if (role_ == Role::backward && stage_ == info_.last())
      for (int i = 0; i < cell_.states; ++i) number({PlaceKind::dnext, i});  // the first buffers
    for (const InstructionOf& i : code) {
      const int operands = kOperandCounts[int(i.op)];
      const short a = read(i.a), b = operands > 1 ? read(i.b) : a, c = operands > 2 ? read(i.c) : a;
      made.instructions.push_back({i.op, write(i.to), a, b, c});
    }
    for (int i = 0; i < cell_.stages[stage_].values && makes_values(); ++i)
      check(has({PlaceKind::made, info_.first_value(stage_) + i}), "does not make value ", i);
    check(made.places.size() <= kMaxPlaces, "has ", made.places.size(), " places, at most ",
          kMaxPlaces, " are possible");
  }

  MadeProgram made;

 private:
  template <class... Part>
  void check(bool holds, const Part&... parts) const {
    RNNFAST_CHECK(holds, "cell ", cell_.name, ": the program of stage ", stage_, " ", parts...);
  }
  bool is_opening() const {
    return role_ == Role::opening_forward || role_ == Role::opening_backward;
  }
  bool is_backward() const { return role_ == Role::backward || role_ == Role::opening_backward; }
  bool makes_values() const { return role_ != Role::opening_backward; }

  short find(PlaceOf place) const {
    for (std::size_t i = 0; i < made.places.size(); ++i)
      if (made.places[i].kind == place.kind && made.places[i].index == place.index) return short(i);
    return -1;
  }
  bool has(PlaceOf place) const { return find(place) >= 0; }

  short number(PlaceOf place) {
    if (const short known = find(place); known >= 0) return known;
    const auto limit = limit_of(place);
    check(place.index >= limit.first && place.index < limit.second, "has no place ",
          kPlaceNames[int(place.kind)], " ", place.index);
    if (place.kind == PlaceKind::dmade)
      if (const int product = only_product(place.index); product >= 0)
        return number({PlaceKind::product, product});
    const short buffer = is_buffered(place) ? short(made.buffers++) : short(-1);
    made.places.push_back({place.kind, short(place.index), buffer});
    return short(made.places.size() - 1);
  }
  short read(PlaceOf place) {
    const bool made_here = place.kind == PlaceKind::tmp || place.kind == PlaceKind::made ||
                           (place.kind == PlaceKind::next && !is_backward());
    check(place.kind != PlaceKind::product, "reads a product, which only the engine names");
    check(!made_here || has(place), "reads ", kPlaceNames[int(place.kind)], " ", place.index,
          " before it is written");
    return number(place);
  }
  short write(PlaceOf place) {
    const std::initializer_list<PlaceKind> written = {
        PlaceKind::slot,  PlaceKind::next,   PlaceKind::made,   PlaceKind::tmp,  PlaceKind::dslot,
        PlaceKind::dgate, PlaceKind::dstate, PlaceKind::dparam, PlaceKind::dnorm};
    const bool is_read_only =
        is_backward() && (place.kind == PlaceKind::slot || place.kind == PlaceKind::next);
    check(!is_read_only && std::find(written.begin(), written.end(), place.kind) != written.end(),
          "writes ", kPlaceNames[int(place.kind)], " ", place.index, ", which is only read");
    return number(place);
  }

  // The places of a kind that this program has: [first, second).
  std::pair<int, int> limit_of(PlaceOf place) const {
    const std::pair<int, int> none{0, 0};
    const bool forward = role_ == Role::forward, backward = role_ == Role::backward;
    const bool last = stage_ == info_.last();
    const int value = info_.first_value(stage_);
    switch (place.kind) {
      case PlaceKind::tmp:
        return {0, kMaxBuffers};
      case PlaceKind::constant:
        return {0, int(cell_.constants.size())};
      case PlaceKind::state:
        return {0, cell_.states};
      case PlaceKind::made:
        return makes_values() ? std::pair{value, value + cell_.stages[stage_].values} : none;
      case PlaceKind::slot:
        return is_opening() ? none : std::pair{0, info_.slots()};
      case PlaceKind::param:
        return is_opening() ? none : std::pair{0, cell_.params};
      case PlaceKind::h:
        return forward && has_product(place.index) ? std::pair{0, info_.gates} : none;
      case PlaceKind::next:  // h goes to its place at the end of the step
        if (is_opening()) return none;
        return {forward && !last ? 1 : 0, cell_.states};
      case PlaceKind::norm:
        return forward && norm_stage(place.index, &Norm::used_by) ? all_norms() : none;
      case PlaceKind::dnorm:
        return backward && norm_stage(place.index, &Norm::used_by) ? all_norms() : none;
      case PlaceKind::dsource:
        return backward && norm_stage(place.index, &Norm::made_by) ? all_norms() : none;
      case PlaceKind::dnext:
        return backward && last ? std::pair{0, cell_.states} : none;
      case PlaceKind::dmade:
        return is_backward() ? std::pair{value, value + cell_.stages[stage_].values} : none;
      case PlaceKind::product:  // made of dmade
        return is_backward() ? std::pair{0, kMaxGates} : none;
      case PlaceKind::dslot:
        return backward ? std::pair{0, cell_.dslots} : none;
      case PlaceKind::dgate:
        return backward ? std::pair{0, info_.gates} : none;
      case PlaceKind::dstate:
        return is_backward() ? std::pair{0, cell_.states} : none;
      case PlaceKind::dparam:
        return backward ? std::pair{0, cell_.params} : none;
    }
    return none;
  }
  std::pair<int, int> all_norms() const { return {0, int(cell_.norms.size())}; }
  bool norm_stage(int norm, int Norm::* stage) const {
    return norm >= 0 && norm < int(cell_.norms.size()) && cell_.norms[norm].*stage == stage_;
  }
  bool has_product(int gate) const {
    const std::vector<Product>& products = cell_.stages[stage_].products;
    return std::any_of(products.begin(), products.end(),
                       [&](const Product& product) { return product.gates.has(gate); });
  }
  // The one product that multiplies a value, by its number in the cell, or -1 if there are several.
  int only_product(int value) const {
    int found = -1, product = 0;
    for (const StageOf& stage : cell_.stages)
      for (const Product& p : stage.products) {
        if (p.operand.from == Operand::kValue && p.operand.index == value) {
          if (found >= 0) return -1;
          found = product;
        }
        ++product;
      }
    return found;
  }
  bool is_buffered(PlaceOf place) const {
    switch (place.kind) {
      case PlaceKind::tmp:
      case PlaceKind::made:
      case PlaceKind::norm:
      case PlaceKind::dnext:
      case PlaceKind::dmade:
      case PlaceKind::dsource:
      case PlaceKind::dgate:
        return true;
      case PlaceKind::state:  // h has rows of its own length; an opening program is given its
                              // buffer
        return place.index == 0 && !is_opening();
      case PlaceKind::next:
        return place.index == 0;
      default:
        return false;
    }
  }

  const CellDefinition& cell_;
  const CellInfo& info_;
  const int stage_;
  const Role role_;
};

void set_row_blocks(const CellDefinition& d, const char* what, const std::vector<int>& blocks,
                    RowBlocks& to) {
  to.in_order = false;
  std::array<bool, kMaxGates> seen{};
  int count = 0, highest = -1;
  for (std::size_t gate = 0; gate < blocks.size(); ++gate) {
    const int block = blocks[gate];
    to.block[gate] = static_cast<signed char>(block);
    if (block < 0) continue;
    RNNFAST_CHECK(block < kMaxGates && !seen[std::size_t(block)], "cell ", d.name, ": ", what,
                  " has row block ", block, " twice, or too many");
    seen[std::size_t(block)] = true;
    ++count;
    highest = std::max(highest, block);
  }
  RNNFAST_CHECK(highest + 1 == count, "cell ", d.name, ": ", what, " has ", count,
                " row blocks, but one with number ", highest);
}

void check_gates(const CellDefinition& d) {
  RNNFAST_CHECK(
      !d.input.empty() && d.input.size() <= kMaxGates && d.input.size() == d.recurrent.size(),
      "cell ", d.name, ": expected 1 to ", kMaxGates, " gates, got ", d.input.size());
  // With weights, with the input itself, without a part of the input: in this order.
  const auto rank = [](int block) { return block >= 0 ? 0 : block == RowBlocks::kInput ? 1 : 2; };
  for (std::size_t gate = 0; gate < d.input.size(); ++gate) {
    RNNFAST_CHECK(d.input[gate] >= RowBlocks::kInput && d.recurrent[gate] >= RowBlocks::kNone,
                  "cell ", d.name, ": gate ", gate, " has no valid row block");
    RNNFAST_CHECK(gate == 0 || rank(d.input[gate - 1]) <= rank(d.input[gate]), "cell ", d.name,
                  ": gates are not in their order");
  }
  RNNFAST_CHECK(d.input[0] >= 0, "cell ", d.name, ": expected a row block of weight_ih, got none");
}

void check_products(const CellDefinition& d, const CellInfo& info) {
  std::array<bool, kMaxGates> done{};
  int products = 0;
  for (int k = 0; k < info.size(); ++k) {
    const std::vector<Product>& list = d.stages[std::size_t(k)].products;
    RNNFAST_CHECK(list.size() <= kMaxProducts && (k >= info.first() || list.empty()), "cell ",
                  d.name, ": stage ", k, " has too many products, ", list.size());
    products += int(list.size());
    for (const auto& [operand, gates] : list) {
      RNNFAST_CHECK(gates.count > 0 && gates.first >= 0 && gates.end() <= info.gates, "cell ",
                    d.name, ": a product of stage ", k, " has gates that are not there");
      for (int gate = gates.first; gate < gates.end(); ++gate) {
        RNNFAST_CHECK(!done[std::size_t(gate)] && info.recurrent.of(gate) >= 0, "cell ", d.name,
                      ": gate ", gate, " is not that of one product");
        done[std::size_t(gate)] = true;
      }
      const bool known = operand.from == Operand::kState
                             ? operand.index == 0
                             : operand.index >= 0 && operand.index < info.first_value(k);
      RNNFAST_CHECK(known, "cell ", d.name, ": a product of stage ", k,
                    " multiplies what is not there yet");
    }
  }
  for (int gate = 0; gate < info.gates; ++gate)
    RNNFAST_CHECK(done[std::size_t(gate)] == (info.recurrent.of(gate) >= 0), "cell ", d.name,
                  ": gate ", gate, " has a row block of weight_hh and no product");
  RNNFAST_CHECK(products <= kMaxGates, "cell ", d.name, ": expected at most ", kMaxGates,
                " products, got ", products);
}

}  // namespace

CellInfo checked_info(const CellDefinition& d) {
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
    // The drivers ask a stage for its products and values alone; gates and slots tell here that it
    // is there, and how many slots there are at the end.
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
  RNNFAST_CHECK(last.values == 0, "cell ", d.name, ": the last stage makes values for nobody");
  check_products(d, info);
  for (const Norm& norm : d.norms)
    RNNFAST_CHECK(norm.slot >= 0 && norm.slot < info.slots() && norm.made_by >= info.first() &&
                      norm.used_by > norm.made_by && norm.used_by <= info.last() && norm.eps >= 0,
                  "cell ", d.name, ": a norm of slot ", norm.slot, " cannot be made");
  return info;
}

bool MadeProgram::has(PlaceKind kind, int index) const {
  return std::any_of(places.begin(), places.end(), [&](const PlaceName& place) {
    return place.kind == kind && place.index == index;
  });
}

MadeProgram checked_program(const CellDefinition& definition, const CellInfo& info, int stage,
                            Role role) {
  ProgramMaker maker(definition, info, stage, role);
  const bool is_forward = role == Role::forward || role == Role::opening_forward;
  const StageOf& of = definition.stages[std::size_t(stage)];
  maker.make(is_forward ? of.forward : of.backward);
  return std::move(maker.made);
}

}  // namespace rnnfast
