#include "cpu/traced_checks.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

#include "core/error.h"

namespace rnnfast {
namespace {

// Builds a stage's program from its definition and checks it.
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
      check(has({PlaceKind::made, info_.first_value(stage_) + i}), "does not compute value ", i);
    check(made.places.size() <= kMaxPlaces, "has ", made.places.size(), " places, but at most ",
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
    check(place.kind != PlaceKind::product,
          "reads a product, a kind of place that only the engine may use");
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
          "writes ", kPlaceNames[int(place.kind)], " ", place.index, ", which is read-only");
    return number(place);
  }

  // The indices of a kind of place that this program may use: [first, second).
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
      case PlaceKind::product:  // replaces dmade if only one product multiplies the value
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
      case PlaceKind::state:  // h has another layout; an opening program finds it in a buffer
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

}  // namespace

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
