#include "bindings/rnn_arguments.h"

#include <string_view>

namespace rnnfast {
namespace {

constexpr const char* kPrecisions[] = {"full", "bfloat16"};  // in the order of Precision

// Whether an object is a string, and which.
bool read_text(py::handle object, std::string_view& text) {
  if (!PyUnicode_Check(object.ptr())) return false;
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (!data) throw py::error_already_set();
  text = {data, std::size_t(size)};
  return true;
}

}  // namespace

std::optional<int> find_cell(py::handle name) {
  std::string_view text;
  if (!read_text(name, text)) return std::nullopt;
  return find_cell(text);
}

const char* precision_name(Precision precision) { return kPrecisions[int(precision)]; }

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

bool read_precision(py::handle object, Precision& value) {
  std::string_view text;
  if (!read_text(object, text)) return false;
  for (const Precision p : {Precision::full, Precision::bfloat16}) {
    if (text != precision_name(p)) continue;
    value = p;
    return true;
  }
  return false;
}

bool read_lengths(py::handle object, const NetworkSize& s, std::vector<Index>& lengths) {
  if (object.is_none()) return true;
  if (!is_array<Index>(object, {s.batch})) return false;
  const Index* data = array_data<const Index>(object);
  lengths.assign(data, data + s.batch);
  return find_outside(lengths.data(), s.batch, s.seq_len + 1) == nullptr;
}

}  // namespace rnnfast
