#pragma once
// Gives C++ objects to Python.

#include <pybind11/pybind11.h>

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace rnnfast {

// A Python object that owns a T.
template <class T>
class Object : public pybind11::object {
 public:
  explicit Object(std::unique_ptr<T> value) : object(made(std::move(value))) {}

 private:
  // pybind11 enters each object in a table, which takes memory. Where there is none left, py::cast
  // destroys a unique pointer's value twice, or leaks what a value owns, and py::init ends the
  // process. This object owns nothing until it is in the table.
  static pybind11::object made(std::unique_ptr<T> value) {
    namespace py = pybind11;
    using Holder = std::unique_ptr<T>;
    static_assert(std::is_same_v<typename py::class_<T>::holder_type, Holder>);
    py::object result = py::cast(value.get(), py::return_value_policy::reference);
    auto* instance = reinterpret_cast<py::detail::instance*>(result.ptr());
    py::detail::value_and_holder place = instance->get_value_and_holder();
    new (&place.holder<Holder>()) Holder(std::move(value));
    place.set_holder_constructed();
    instance->owned = true;
    return result;
  }
};

template <class T, class... Arguments>
Object<T> new_object(Arguments&&... arguments) {
  return Object<T>(std::make_unique<T>(std::forward<Arguments>(arguments)...));
}

}  // namespace rnnfast

// Its name in signatures is that of T.
template <class T>
struct pybind11::detail::handle_type_name<rnnfast::Object<T>> {
  static constexpr auto name = make_caster<T>::name;
};
