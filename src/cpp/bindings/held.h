#pragma once
// Protects the memory of the caller's arrays while Python code may run during a call or between two
// calls. `x.resize(n, refcheck=False)` frees an array's memory even while a call reads it. But
// NumPy refuses to resize an array that has weak references, so a call that releases the GIL holds
// one to each of its arrays until it is done. A reserve, which outlives the call, compares instead:
// backward refuses arrays whose memory moved since forward.

#include <pybind11/numpy.h>

#include <cstddef>
#include <initializer_list>
#include <vector>

#include "core/error.h"
#include "core/index.h"

namespace rnnfast {

namespace py = pybind11;

inline const py::detail::PyArray_Proxy* array_fields(py::handle array) {
  return py::detail::array_proxy(array.ptr());
}

inline py::ssize_t element_count(py::handle array) {
  const auto* fields = array_fields(array);
  py::ssize_t count = 1;
  for (int i = 0; i < fields->nd; ++i) count *= fields->dimensions[i];
  return count;
}

// The array that owns an array's memory: the array itself, or the one that it is a view of.
py::handle owner_of(py::handle array);

// Throws Error if an array is a view of memory that its owner has given up.
void check_owned(const char* name, py::handle array);

// The arrays of a call, kept alive. None counts as a member.
class HeldArrays {
 public:
  HeldArrays() { members_.reserve(8); }  // one layer has no more, so short calls allocate once
  void add(const char* name, py::handle object);
  py::handle operator[](std::size_t i) const { return members_[i].object; }
  std::size_t size() const { return members_.size(); }
  void drop_from(std::size_t i) { members_.erase(members_.begin() + Index(i), members_.end()); }

  // Throws Error if an array's memory has changed since the array was added.
  void check() const;
  // Appends weak references to the owners of the arrays' memory.
  void pin(std::vector<py::object>& pins) const;

 private:
  struct Member {
    const char* name;
    py::object object;
    const void* data;
    const void* dtype;
    py::ssize_t count;
  };
  std::vector<Member> members_;
};

// Releases the GIL during its lifetime and keeps the arrays from being resized. A short call keeps
// the GIL: releasing it would take as long as the work, and nothing else can touch the arrays
// meanwhile.
class WithoutGil {
 public:
  // Null stands for no array. Throws Error if an array is a view of memory that its owner has given
  // up.
  WithoutGil(double work, std::initializer_list<py::handle> arrays);
  WithoutGil(double work, const HeldArrays& arrays, const HeldArrays* more = nullptr);
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  std::vector<py::object> pins_;
  PyThreadState* state_ = nullptr;
};

}  // namespace rnnfast
