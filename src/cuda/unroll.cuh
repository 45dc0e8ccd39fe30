#pragma once
// A loop whose index is a constant in its body: for_each_index<3>([&]<int i>() { ... }).

#include "cuda/device.cuh"

namespace rnnfast::cuda {

template <int kCount, class Body>
RNNFAST_DEVICE void for_each_index(const Body& body) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (body.template operator()<i>(), ...);
  }(std::make_integer_sequence<int, kCount>{});
}

}  // namespace rnnfast::cuda
