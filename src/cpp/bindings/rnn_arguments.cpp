#include "bindings/rnn_arguments.h"

#include <array>
#include <string_view>

namespace rnnfast {
namespace {

template <class... Cell>
constexpr std::array<CellInfo, sizeof...(Cell)> infos(TypeList<Cell...>) {
  return {Cell::info...};
}
constexpr auto kInfos = infos(Cells{});

}  // namespace

const CellInfo& cell_info(int cell) { return kInfos[std::size_t(cell)]; }

std::optional<int> find_cell(py::handle name) {
  if (!PyUnicode_Check(name.ptr())) return std::nullopt;
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(name.ptr(), &size);
  if (!text) throw py::error_already_set();
  for (std::size_t i = 0; i < kInfos.size(); ++i)
    if (std::string_view(text, std::size_t(size)) == kInfos[i].name) return int(i);
  return std::nullopt;
}

bool read_int(py::handle object, Index& value) {
  if (!PyLong_CheckExact(object.ptr())) return false;
  int overflow = 0;
  value = PyLong_AsLongAndOverflow(object.ptr(), &overflow);
  return overflow == 0;
}

bool read_seed(py::handle object, std::uint64_t& value) {
  if (!PyLong_CheckExact(object.ptr())) return false;
  value = PyLong_AsUnsignedLongLong(object.ptr());
  if (!PyErr_Occurred()) return true;
  PyErr_Clear();
  return false;
}

bool read_lengths(py::handle object, const NetworkSize& s, std::span<const Index>& lengths) {
  lengths = {};
  if (object.is_none()) return true;
  if (!is_array<Index>(object, {s.batch})) return false;
  lengths = {array_data<const Index>(object), std::size_t(s.batch)};
  return find_outside(lengths.data(), s.batch, s.seq_len + 1) == nullptr;
}

}  // namespace rnnfast
