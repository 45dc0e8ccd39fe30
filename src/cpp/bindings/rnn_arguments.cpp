#include "bindings/rnn_arguments.h"

namespace rnnfast {
bool read_seed(py::handle object, std::uint64_t& value) {
  if (!PyLong_CheckExact(object.ptr())) return false;
  value = PyLong_AsUnsignedLongLong(object.ptr());
  if (!PyErr_Occurred()) return true;
  PyErr_Clear();
  return false;
}

bool read_spans(py::handle lengths, py::handle reset, const NetworkSize& s, Spans& spans) {
  if (!lengths.is_none()) {
    if (!is_array<Index>(lengths, std::span(&s.batch, 1))) return false;
    const Index* data = array_data<const Index>(lengths);
    spans.lengths.assign(data, data + s.batch);
    if (find_outside(spans.lengths.data(), s.batch, s.seq_len + 1)) return false;
  }
  if (!reset.is_none()) {
    const Index shape[] = {s.seq_len, s.batch};
    if (!is_array<bool>(reset, shape)) return false;
    const auto* data = array_data<const unsigned char>(reset);
    spans.reset.assign(data, data + s.seq_len * s.batch);
  }
  return true;
}

}  // namespace rnnfast
