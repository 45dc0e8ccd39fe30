#include "bindings/held.h"

namespace rnnfast {
namespace {

constexpr double kShortWork = 1e5;  // multiply-adds or other operations: some microseconds

void pin_owner(py::handle array, std::vector<py::object>& pins) {
  PyObject* reference = PyWeakref_NewRef(owner_of(array).ptr(), nullptr);
  if (!reference) throw py::error_already_set();
  pins.push_back(py::reinterpret_steal<py::object>(reference));
}

}  // namespace

py::handle owner_of(py::handle array) {
  const auto& numpy = py::detail::npy_api::get();
  for (PyObject* base; (base = array_fields(array)->base) && numpy.PyArray_Check_(base);)
    array = base;
  return array;
}

void check_owned(const char* name, py::handle array) {
  const py::handle owner = owner_of(array);
  if (owner.is(array)) return;
  const auto bytes = [](py::handle a) {
    return element_count(a) * py::reinterpret_borrow<py::array>(a).itemsize();
  };
  const char* data = array_fields(array)->data;
  const char* owned = array_fields(owner)->data;
  const py::ssize_t size = bytes(array);
  RNNFAST_CHECK(size == 0 || (data >= owned && data + size <= owned + bytes(owner)), name,
                ": expected an array with memory, got a view of an array that has been resized");
}

void HeldArrays::add(const char* name, py::handle object) {
  auto& member = members_.emplace_back(
      Member{name, py::reinterpret_borrow<py::object>(object), nullptr, nullptr, 0});
  if (object.is_none()) return;
  check_owned(name, object);
  member.data = array_fields(object)->data;
  member.dtype = array_fields(object)->descr;
  member.count = element_count(object);
}

void HeldArrays::check() const {
  for (const Member& m : members_) {
    if (m.object.is_none()) continue;
    const auto* fields = array_fields(m.object);
    RNNFAST_CHECK(
        fields->data == m.data && fields->descr == m.dtype && element_count(m.object) == m.count,
        m.name,
        ": expected the memory of the previous call, but the array has since been resized or given "
        "another dtype or other memory");
    check_owned(m.name, m.object);
  }
}

void HeldArrays::pin(std::vector<py::object>& pins) const {
  for (const Member& m : members_)
    if (!m.object.is_none()) pin_owner(m.object, pins);
}

WithoutGil::WithoutGil(double work, std::initializer_list<py::handle> arrays) {
  for (const py::handle array : arrays)
    if (array) check_owned("arguments", array);
  if (work < kShortWork) return;
  pins_.reserve(arrays.size());
  for (const py::handle array : arrays)
    if (array) pin_owner(array, pins_);
  state_ = PyEval_SaveThread();
}

WithoutGil::WithoutGil(double work, const HeldArrays& arrays, const HeldArrays* more) {
  if (work < kShortWork) return;
  arrays.pin(pins_);
  if (more) more->pin(pins_);
  state_ = PyEval_SaveThread();
}

// When the interpreter exits, it unwinds the stack of a daemon thread that asks for the GIL (newer
// versions let the thread wait forever). Objects could then be released without the GIL, and no
// exception may leave a destructor, so the thread waits here until the process ends.
WithoutGil::~WithoutGil() {
  if (!state_) return;
  try {
    PyEval_RestoreThread(state_);
  } catch (...) {
    for (;;) pause();
  }
}

}  // namespace rnnfast
