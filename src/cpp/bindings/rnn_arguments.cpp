#include "bindings/rnn_arguments.h"

namespace rnnfast {
bool read_seed(py::handle object, std::uint64_t& value) {
  if (!PyLong_CheckExact(object.ptr())) return false;
  value = PyLong_AsUnsignedLongLong(object.ptr());
  if (!PyErr_Occurred()) return true;
  PyErr_Clear();
  return false;
}

bool read_lengths(py::handle object, const NetworkSize& s, std::vector<Index>& lengths) {
  if (object.is_none()) return true;
  if (!is_array<Index>(object, std::span(&s.batch, 1))) return false;
  const Index* data = array_data<const Index>(object);
  lengths.assign(data, data + s.batch);
  return find_outside(lengths.data(), s.batch, s.seq_len + 1) == nullptr;
}

}  // namespace rnnfast
