#include "cpu/traced_cells.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>

#include "cells/registry.h"
#include "core/error.h"
#include "core/memory.h"
#include "cpu/dispatch.h"

namespace rnnfast {
namespace {

// Which pass a program is of. The opening stage's see the states alone.
enum class Role { forward, backward, opening_forward, opening_backward };

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
      instructions.push_back({i.op, write(i.to), a, b, c});
    }
    for (int i = 0; i < cell_.stages[stage_].values && makes_values(); ++i)
      check(has({PlaceKind::made, info_.first_value(stage_) + i}), "does not make value ", i);
    check(places.size() <= kMaxPlaces, "has ", places.size(), " places, at most ", kMaxPlaces,
          " are possible");
  }

  std::vector<Instruction> instructions;
  std::vector<PlaceName> places;
  int buffers = 0;

  // Whether it writes a state after the step.
  bool makes_state(int i) const { return has({PlaceKind::next, i}); }

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
    for (std::size_t i = 0; i < places.size(); ++i)
      if (places[i].kind == place.kind && places[i].index == place.index) return short(i);
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
    places.push_back({place.kind, short(place.index), short(is_buffered(place) ? buffers++ : -1)});
    return short(places.size() - 1);
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

// A cell and what it points at.
struct DefinedCell {
  std::string name;
  std::vector<double> constants;
  std::vector<std::vector<Instruction>> code;
  std::vector<std::vector<PlaceName>> places;
  TracedCell cell{};

  template <class T>
  struct Kernels {
    std::once_flag made;
    Buffer memory;
    CellKernels<T> kernels;
  };
  Kernels<float> full, bfloat16;
  Kernels<double> full_double;
};

// Never freed: layers, reserves and packed weights know cells by their numbers.
constexpr int kMaxDefined = 1 << 14;
std::array<std::atomic<DefinedCell*>, kMaxDefined> defined_cells;

// The numbers of all cells by their names, those of the registry included.
struct Names {
  std::shared_mutex mutex;
  std::map<std::string, int, std::less<>> numbers;
};
Names& cell_names() {
  static Names& names = *[] {
    auto* made = new Names;  // never destroyed: daemon threads may compute while the process ends
    for (int i = 0; i < Cells::size; ++i) made->numbers.emplace(cell_info(i).name, i);
    return made;
  }();
  return names;
}

Program add_program(DefinedCell& to, ProgramMaker& maker) {
  to.code.push_back(std::move(maker.instructions));
  to.places.push_back(std::move(maker.places));
  return {to.code.back().data(), int(to.code.back().size()), to.places.back().data(),
          int(to.places.back().size()), maker.buffers};
}

std::unique_ptr<DefinedCell> make_cell(const CellDefinition& d) {
  auto made = std::make_unique<DefinedCell>();
  TracedCell& cell = made->cell;
  cell.info = checked_info(d);
  made->name = d.name;
  cell.info.name = made->name.c_str();
  made->constants = d.constants;
  cell.constants = made->constants.data();
  cell.constant_count = int(d.constants.size());
  std::copy(d.norms.begin(), d.norms.end(), cell.norms);
  cell.norm_count = int(d.norms.size());
  int most = 0, made_states = 0;
  for (int k = 0; k < cell.info.size(); ++k) {
    const bool opening = k < cell.info.first();
    const StageOf& stage = d.stages[std::size_t(k)];
    ProgramMaker forward(d, cell.info, k, opening ? Role::opening_forward : Role::forward);
    forward.make(stage.forward);
    for (int i = 0; i < d.states; ++i) made_states += forward.makes_state(i);
    cell.forward[k] = add_program(*made, forward);
    ProgramMaker backward(d, cell.info, k, opening ? Role::opening_backward : Role::backward);
    backward.make(stage.backward);
    cell.backward[k] = add_program(*made, backward);
    most = std::max({most, cell.forward[k].buffers, cell.backward[k].buffers});
  }
  RNNFAST_CHECK(made_states == d.states, "cell ", d.name, ": expected each state to be made once");
  const int opening = d.opens ? std::max(cell.forward[0].buffers, cell.backward[0].buffers) : 0;
  RNNFAST_CHECK(most + 1 + opening <= kMaxBuffers, "cell ", d.name,
                ": expected a stage of at most ", kMaxBuffers - 1 - opening,
                " values in flight, got ", most);
  return made;
}

const DefinedCell& defined(int number) {
  const DefinedCell* cell = defined_cells[std::size_t(number - Cells::size)].load();
  return *cell;
}

}  // namespace

int define_cell(const CellDefinition& definition) {
  auto made = make_cell(definition);
  Names& names = cell_names();
  const std::unique_lock lock(names.mutex);
  const auto count = names.numbers.size();
  RNNFAST_CHECK(count < Cells::size + kMaxDefined, "cell ", definition.name, ": expected at most ",
                kMaxDefined, " cells in a process");
  RNNFAST_CHECK(names.numbers.try_emplace(made->name, int(count)).second, "cell ", definition.name,
                ": expected a name that no other cell has");
  defined_cells[count - Cells::size] = made.release();
  return int(count);
}

std::optional<int> find_cell(std::string_view name) {
  Names& names = cell_names();
  const std::shared_lock lock(names.mutex);
  const auto found = names.numbers.find(name);
  return found == names.numbers.end() ? std::nullopt : std::optional(found->second);
}

int cell_count() {
  Names& names = cell_names();
  const std::shared_lock lock(names.mutex);
  return int(names.numbers.size());
}

const CellInfo& known_cell(int number) {
  return number < Cells::size ? cell_info(number) : defined(number).cell.info;
}

template <class T>
const CellKernels<T>& traced_kernels(int number, Precision precision) {
  const DefinedCell& cell = defined(number);
  auto& kept = const_cast<DefinedCell&>(cell);
  auto& made = [&]() -> DefinedCell::Kernels<T>& {
    if constexpr (sizeof(T) == sizeof(double))
      return kept.full_double;
    else
      return precision == Precision::full ? kept.full : kept.bfloat16;
  }();
  std::call_once(made.made, [&] {
    const FormatKernels<T>& format = format_kernels<T>(precision);
    made.memory = Buffer::allocate(std::size_t(format.traced_values(cell.cell)) * sizeof(T));
    made.kernels = format.traced_kernels(cell.cell, made.memory.template as<T>());
  });
  return made.kernels;
}

template const CellKernels<float>& traced_kernels<float>(int, Precision);
template const CellKernels<double>& traced_kernels<double>(int, Precision);

}  // namespace rnnfast
