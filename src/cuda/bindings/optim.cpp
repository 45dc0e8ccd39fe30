// Optimisers' steps and clipping, by address.
#include "cuda/optim.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "bindings/object.h"
#include "core/error.h"
#include "cuda/bindings/address.h"
#include "cuda/bindings/module.h"

namespace py = pybind11;

namespace rnnfast::cuda {
namespace {

using Words = py::array_t<std::int64_t>;

// One row per StepPiece, for Python to copy to the device. `lists` are the addresses of gradients,
// values and the step's buffers; an empty list stands for an unused buffer.
Words cut_pieces(const std::vector<std::vector<Address>>& lists, const std::vector<Index>& sizes) {
  RNNFAST_CHECK(lists.size() <= 2 + kStepBuffers, "lists: expected at most ", 2 + kStepBuffers,
                ", got ", lists.size());
  std::vector<StepPiece> pieces;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    for (Index begin = 0; begin < sizes[i]; begin += kStepPiece) {
      StepPiece piece{};
      for (std::size_t k = 0; k < lists.size(); ++k)
        if (!lists[k].empty()) piece.arrays[k] = pointer<float>(lists[k].at(i)) + begin;
      piece.size = std::min(kStepPiece, sizes[i] - begin);
      pieces.push_back(piece);
    }
  constexpr py::ssize_t kWords = sizeof(StepPiece) / sizeof(std::int64_t);
  Words words({py::ssize_t(pieces.size()), kWords});
  std::memcpy(words.mutable_data(), pieces.data(), pieces.size() * sizeof(StepPiece));
  return words;
}

// The arguments that all functions share; a step's own arguments follow them.
struct StepCall {
  StepPieces pieces;
  GradientCare care;
  cudaStream_t stream;
};

using Buffers = std::array<bool, kStepBuffers>;

Object<StepCall> step_call(Address pieces, int count, Buffers buffers, Address sums,
                           std::optional<double> clip_norm, std::optional<double> clip_value,
                           bool zero, Address stream) {
  return new_object<StepCall>(StepCall{{pointer<const StepPiece>(pieces),
                                        count,
                                        {buffers[0], buffers[1], buffers[2]},
                                        pointer<double>(sums)},
                                       {clip_norm, clip_value, zero},
                                       stream_at(stream)});
}

}  // namespace

void bind_optim(py::module_& m) {
  using py::arg;
  m.def("cut_pieces", &cut_pieces, py::kw_only(), arg("lists"), arg("sizes"),
        "Return a table of pieces of parameters, (pieces, 6) int64, to be copied to the device. "
        "`lists` are the addresses of gradients, parameters and buffers; `sizes` are those of the "
        "arrays.");
  py::class_<StepCall>(m, "Step",
                       "The pieces of a step, and what to do to gradients before and after it.");
  m.def("step_call", &step_call, py::kw_only(), arg("pieces"), arg("count"),
        arg("buffers") = Buffers{}, arg("sums"), arg("clip_norm") = py::none(),
        arg("clip_value") = py::none(), arg("zero") = false, arg("stream") = 0,
        "Return a step. `pieces` is the address of the table; `buffers` says which buffers exist. "
        "If gradients are clipped, the first value of `sums` (count + 1,), float64, is their norm "
        "after a call.");
  m.def(
      "gradients", [](const StepCall& c) { care_for_gradients(c.pieces, c.care, c.stream); },
      arg("step"), "Clip or zero the gradients without a step.");
  m.def(
      "sgd",
      [](const StepCall& c, double lr, double momentum, double weight_decay, bool nesterov) {
        take_step(c.pieces, c.care, SgdStep<float>::make(lr, momentum, weight_decay, nesterov),
                  c.stream);
      },
      arg("step"), py::kw_only(), arg("lr"), arg("momentum"), arg("weight_decay"), arg("nesterov"),
      "Take one step; the buffers are velocity.");
  m.def(
      "adagrad",
      [](const StepCall& c, double lr, double eps, double weight_decay) {
        take_step(c.pieces, c.care, AdagradStep<float>::make(lr, eps, weight_decay), c.stream);
      },
      arg("step"), py::kw_only(), arg("lr"), arg("eps"), arg("weight_decay"),
      "Take one step; the buffers are sum.");
  m.def(
      "rmsprop",
      [](const StepCall& c, double lr, double alpha, double eps, double momentum,
         double weight_decay) {
        take_step(c.pieces, c.care,
                  RmspropStep<float>::make(lr, alpha, eps, momentum, weight_decay), c.stream);
      },
      arg("step"), py::kw_only(), arg("lr"), arg("alpha"), arg("eps"), arg("momentum"),
      arg("weight_decay"), "Take one step; the buffers are square, velocity and mean.");
  m.def(
      "adam",
      [](const StepCall& c, double lr, double beta1, double beta2, double eps, double weight_decay,
         bool decoupled, Index number) {
        take_step(c.pieces, c.care,
                  AdamStep<float>::make(lr, beta1, beta2, eps, weight_decay, decoupled, number),
                  c.stream);
      },
      arg("step"), py::kw_only(), arg("lr"), arg("beta1"), arg("beta2"), arg("eps"),
      arg("weight_decay"), arg("decoupled"), arg("number"),
      "Take step number `number`, from 1; the buffers are mean and square.");
}

}  // namespace rnnfast::cuda
