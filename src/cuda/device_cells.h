#pragma once
// The cells that the engine knows, and their kernels' functions: available from the start for
// AheadCells, and for other cells once they are compiled and loaded.

#include <map>
#include <mutex>
#include <tuple>

#include "cells/definition.h"
#include "cuda/recurrent_launch.h"

namespace rnnfast::cuda {

// One kernel of a cell in one pass, on devices of one compute capability.
struct KernelUnit {
  Kernel kernel;
  Pass pass;
  bool paired;  // products multiply pairs of bfloat16
  int capability;

  friend auto operator<=>(const KernelUnit&, const KernelUnit&) = default;
};

class DeviceCell {
 public:
  DeviceCell(std::string name, const CellInfo& info) : name_(std::move(name)), info_(info) {
    info_.name = name_.c_str();
  }
  DeviceCell(const DeviceCell&) = delete;

  const std::string& name() const { return name_; }
  const CellInfo& info() const { return info_; }
  // Null if they are not loaded.
  const Functions* functions(const KernelUnit& unit) const;
  void load(const KernelUnit& unit, Functions functions);

 private:
  std::string name_;
  CellInfo info_;
  mutable std::mutex mutex_;
  mutable std::map<KernelUnit, Functions> functions_;  // entries keep their addresses
};

// A cell by its number: those of the registry, then those defined. Cells are never freed.
DeviceCell& device_cell(int number);
// The number of the cell with that name, or -1.
int find_device_cell(const std::string& name);
// Throws Error, as `checked_info` does, or if a cell of this name exists.
int define_device_cell(const CellDefinition& definition);

}  // namespace rnnfast::cuda
