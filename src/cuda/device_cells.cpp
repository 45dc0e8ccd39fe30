#include "cuda/device_cells.h"

#include <deque>

#include "cuda/ahead.h"

namespace rnnfast::cuda {
namespace {

struct Known {
  std::mutex mutex;
  std::deque<DeviceCell> cells;

  Known() {
    for (int i = 0; i < Cells::size; ++i) cells.emplace_back(cell_info(i).name, cell_info(i));
  }
  int find(const std::string& name) const {
    for (std::size_t i = 0; i < cells.size(); ++i)
      if (cells[i].name() == name) return int(i);
    return -1;
  }
};
Known& known() {
  static Known& cells = *new Known;  // never destroyed: threads may compute while the process ends
  return cells;
}

// The index in AheadCells, or -1.
template <class... Cell>
int ahead_place(TypeList<Cell...>, const std::string& name) {
  int place = 0, found = -1;
  ((found = name == Cell::info.name ? place : found, ++place), ...);
  return found;
}

}  // namespace

const Functions* DeviceCell::functions(const KernelUnit& unit) const {
  const std::lock_guard lock(mutex_);
  if (const auto found = functions_.find(unit); found != functions_.end()) return &found->second;
  const int place = ahead_place(AheadCells{}, name_);
  if (place < 0) return nullptr;
  const RecurrentKernel& kernel = recurrent_kernel(unit.kernel);
  return &functions_.emplace(unit, kernel.ahead(place, unit.pass, unit.paired)).first->second;
}

void DeviceCell::load(const KernelUnit& unit, Functions functions) {
  const std::size_t count =
      function_names(unit.kernel, unit.pass, unit.paired, info_, name_).size();
  RNNFAST_CHECK(functions.size() == count, "cell ", name_, ": expected ", count,
                " functions of kernel ", kernel_name(unit.kernel), ", got ", functions.size());
  const std::lock_guard lock(mutex_);
  functions_.emplace(unit, std::move(functions));
}

DeviceCell& device_cell(int number) {
  Known& all = known();
  const std::lock_guard lock(all.mutex);
  RNNFAST_CHECK(number >= 0 && std::size_t(number) < all.cells.size(),
                "cell: expected a number in [0, ", all.cells.size(), "), got ", number);
  return all.cells[std::size_t(number)];
}

int find_device_cell(const std::string& name) {
  Known& all = known();
  const std::lock_guard lock(all.mutex);
  return all.find(name);
}

int define_device_cell(const CellDefinition& definition) {
  const CellInfo info = checked_info(definition);
  RNNFAST_CHECK(definition.norms.empty(), "cell ", definition.name,
                ": there are no CUDA kernels for norms inside a step");
  Known& all = known();
  const std::lock_guard lock(all.mutex);
  RNNFAST_CHECK(all.find(definition.name) < 0, "cell ", definition.name,
                ": expected a name that no other cell has");
  all.cells.emplace_back(definition.name, info);
  return int(all.cells.size()) - 1;
}

}  // namespace rnnfast::cuda
