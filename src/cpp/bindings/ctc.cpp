// CTC on NumPy arrays: threads take one sequence after another. Python checks arguments and
// explains errors in full; the checks here keep a wrong call from touching memory outside its
// arrays.
#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "bindings/array.h"
#include "bindings/held.h"
#include "bindings/module.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/threads.h"
#include "cpu/dispatch.h"

namespace py = pybind11;

namespace rnnfast {
namespace {

// Copies the lengths of `batch` sequences and checks that each is in [0, most].
Buffer checked_lengths(const char* name, const Array<Index>& lengths, Index batch, Index most) {
  check_size(name, lengths.size(), "batch", batch);
  Buffer copy = copied(lengths.data(), batch);
  if (const Index* found = find_outside(copy.as<Index>(), batch, most + 1))
    throw_error(name, ": expected values in [0, ", most, "], got ", *found);
  return copy;
}

template <class T>
std::pair<Array<double>, Array<T>> ctc(const Array<T>& logits, const Array<Index>& targets,
                                       const Array<Index>& input_lengths,
                                       const Array<Index>& target_lengths, Index blank,
                                       const Array<double>& scales, bool zero_infinity) {
  RNNFAST_CHECK(logits.ndim() == 3, "logits: expected rank 3, got rank ", logits.ndim());
  const Index steps = logits.shape(0), batch = logits.shape(1), classes = logits.shape(2);
  RNNFAST_CHECK(blank >= 0 && blank < classes, "blank: expected a class in [0, ", classes,
                "), got ", blank);
  check_size("scales", scales.size(), "batch", batch);
  const Buffer input_copy = checked_lengths("input_lengths", input_lengths, batch, steps);
  const Buffer target_copy =
      checked_lengths("target_lengths", target_lengths, batch, targets.size());
  const Buffer labels = checked_indices("targets: expected values in [0, classes)", targets.data(),
                                        targets.size(), classes);
  const Index* inputs = input_copy.as<const Index>();
  const Index* lengths = target_copy.as<const Index>();
  std::vector<const Index*> firsts(batch);
  Index label_count = 0, longest = 0, most = 0, work = 0;
  for (Index n = 0; n < batch; ++n) {
    firsts[n] = labels.as<const Index>() + label_count;
    label_count += lengths[n];
    longest = std::max(longest, inputs[n]);
    most = std::max(most, lengths[n]);
    work += inputs[n] * (8 * classes + 32 * (lengths[n] + 1));
  }
  check_size("targets.size", targets.size(), "the sum of target_lengths", label_count);

  Array<double> losses = new_array<double>({batch});
  Array<T> dlogits = new_array<T>({steps, batch, classes});
  double* loss = losses.mutable_data();
  T* dx = dlogits.mutable_data();
  const T* x = logits.data();
  const double* scale = scales.data();
  const WithoutGil released(double(work), {logits, scales});
  constexpr Index kThreadWork = 1 << 16;  // below this a second thread does not pay
  const int threads = int(std::min<Index>({batch, 1 + work / kThreadWork, num_threads()}));
  const DenseKernels<T>& kernels = dense<T>();
  const Index size = kernels.ctc_workspace(longest, most, classes);
  const Buffer workspace = Buffer::allocate(sizeof(double) * std::size_t(size * threads));
  std::atomic<Index> next{0};
  parallel(threads, [&](const Team&, int thread) {
    for (Index n; (n = next++) < batch;)
      loss[n] = kernels.ctc({x + n * classes, batch * classes, inputs[n], steps, classes, firsts[n],
                             lengths[n], blank, scale[n], zero_infinity, dx + n * classes},
                            workspace.as<double>() + thread * size);
  });
  return {std::move(losses), std::move(dlogits)};
}

template <class T>
void bind_real_ctc(py::module_& m) {
  using py::arg;
  const auto exact = [](const char* name) { return arg(name).noconvert(); };
  m.def("ctc", &ctc<T>, py::kw_only(), exact("logits"), exact("targets"), exact("input_lengths"),
        exact("target_lengths"), arg("blank"), exact("scales"), arg("zero_infinity"),
        "Return the loss of each sequence, and the gradient of their sum, weighted by `scales`, "
        "with respect to the logits.");
}

}  // namespace

void bind_ctc(py::module_& m) {
  bind_real_ctc<float>(m);
  bind_real_ctc<double>(m);
}

}  // namespace rnnfast
