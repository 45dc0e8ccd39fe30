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
#include "cpu/traced_checks.h"

namespace rnnfast {
namespace {

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
  Kernels<float> full, bfloat16, int8;
  Kernels<double> full_double;
};

// Never freed, because layers, reserves and packed weights refer to cells by number.
constexpr int kMaxDefined = 1 << 14;
std::array<std::atomic<DefinedCell*>, kMaxDefined> defined_cells;

// The numbers of all cells by name, including those of the registry.
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

Program add_program(DefinedCell& to, MadeProgram made) {
  to.code.push_back(std::move(made.instructions));
  to.places.push_back(std::move(made.places));
  return {to.code.back().data(), int(to.code.back().size()), to.places.back().data(),
          int(to.places.back().size()), made.buffers};
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
    MadeProgram forward =
        checked_program(d, cell.info, k, opening ? Role::opening_forward : Role::forward);
    for (int i = 0; i < d.states; ++i) made_states += forward.has(PlaceKind::next, i);
    cell.forward[k] = add_program(*made, std::move(forward));
    if (!d.observes)
      cell.backward[k] = add_program(
          *made,
          checked_program(d, cell.info, k, opening ? Role::opening_backward : Role::backward));
    most = std::max({most, cell.forward[k].buffers, cell.backward[k].buffers});
  }
  RNNFAST_CHECK(made_states == d.states, "cell ", d.name,
                ": expected each state to be computed exactly once");
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
      return precision == Precision::full       ? kept.full
             : precision == Precision::bfloat16 ? kept.bfloat16
                                                : kept.int8;
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
