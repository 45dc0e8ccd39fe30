#include "cuda/network.h"

#include "core/carver.h"
#include "cuda/dense.h"
#include "cuda/gemm.h"
#include "cuda/row_blocks.h"
#include "cuda/runtime.h"

namespace rnnfast::cuda {
namespace {

// The number of values computed inside a step for its later stages.
int inner_values(const CellInfo& info) { return info.values() - info.opening_values(); }

// The arrays that forward leaves for backward, or that only forward uses if nothing is kept.
struct Reserve {
  std::vector<float*> gates, states, openings;  // of each layer and direction
  std::vector<float*> outputs;                  // of each layer but the last, dropped out
  float* x = nullptr;                           // with padding zeroed
  std::size_t bytes;

  Reserve(const NetworkSize& s, const NetworkInput& input, float* base) {
    const CellInfo& info = s.info();
    const Index rows = s.rows() * s.hidden_size, slot = Index(s.batch) * s.hidden_size;
    Carver<float> arena{base};
    for (int i = 0; i < s.cells(); ++i) {
      const bool first = i == 0 || s.training;  // without training, all share the same memory
      gates.push_back(first ? arena.take(rows * info.slots()) : gates[0]);
      states.push_back(first ? arena.take((rows + slot) * info.states) : states[0]);
      openings.push_back(first ? arena.take((rows + slot) * info.opening_values()) : openings[0]);
    }
    for (int layer = 0; layer + 1 < s.layers; ++layer)
      outputs.push_back(layer < 2 || s.training ? arena.take(s.rows() * s.width())
                                                : outputs[layer - 2]);
    if (s.masked && input.x) x = arena.take(s.rows() * s.input_size);
    bytes = std::size_t(arena.used) * sizeof(float);
  }

  const float* input(const NetworkInput& given, int layer) const {
    if (layer > 0) return outputs[layer - 1];
    return x ? x : given.x;
  }
};

struct ForwardScratch {
  unsigned* counters;  // for each layer and direction, one per sequence
  float *values, *sums;
  float* reserve;  // if nothing is kept
  std::size_t bytes;

  ForwardScratch(const NetworkSize& s, const NetworkInput& input, float* base) {
    Carver<float> arena{base};
    counters = reinterpret_cast<unsigned*>(arena.take(Index(s.cells()) * s.batch));
    values = arena.take(inner_values(s.info()) * s.rows() * s.hidden_size);
    sums = arena.take(Index(s.batch) * most(s.info(), &Multiplied::sums) * s.hidden_size);
    reserve = arena.take(s.training ? 0 : Index(Reserve(s, input, nullptr).bytes / sizeof(float)));
    bytes = std::size_t(arena.used) * sizeof(float);
  }
};

struct BackwardScratch {
  unsigned* counters;
  float *values, *dkept, *dwaiting, *sums, *dgates_x, *dgates_h, *dchannel;
  float* doutputs[2];  // of the layers' outputs, which alternate
  void* sorted;        // of scatter_rows, for indices
  std::size_t bytes;

  BackwardScratch(const NetworkSize& s, const NetworkInput& input, float* base) {
    const CellInfo& info = s.info();
    const Index rows = s.rows() * s.hidden_size;
    Carver<float> arena{base};
    counters = reinterpret_cast<unsigned*>(arena.take(Index(s.cells()) * s.batch));
    values = arena.take(inner_values(info) * rows);
    sums = arena.take(Index(s.batch) * most(info, &Multiplied::slabs) * s.hidden_size);
    dkept = arena.take(Index(s.batch) * info.seen() * s.hidden_size);
    dwaiting = arena.take(Index(s.batch) * waiting(info) * s.hidden_size);
    dgates_x = arena.take(rows * info.gates);
    dgates_h = info.split() ? arena.take(rows * info.gates) : dgates_x;
    dchannel = arena.take(rows * info.params);
    for (int k = 0; k < 2; ++k)
      doutputs[k] = arena.take(s.layers > k + 1 ? s.rows() * s.width() : 0);
    sorted =
        arena.take(input.indices ? Index(scatter_workspace(int(s.rows())) / sizeof(float)) : 0);
    bytes = std::size_t(arena.used) * sizeof(float);
  }
};

template <class T>
T* state_of(T* states, const NetworkSize& s, int i) {
  return states ? states + Index(i) * s.batch * s.hidden_size : nullptr;
}

// Applies dropout to a layer's outputs, or to their gradient.
void drop_outputs(const NetworkSize& s, int layer, float* outputs, cudaStream_t stream) {
  if (s.training && s.dropout > 0)
    dropout(outputs, s.rows() * s.width(), Dropout<float>(s.dropout, s.seed, unsigned(layer)),
            outputs, stream);
}

// weight_ih as a table of the rows that indices select.
template <class T>
Table<T> input_table(const NetworkSize& s, const Run& run, T* weight_ih) {
  return {weight_ih + Index(run.block) * s.hidden_size * s.input_size, s.input_size,
          run.count * s.hidden_size, 1, s.input_size};
}

CallSize call_size(const NetworkSize& s, const NetworkInput& input, int direction) {
  return {s.steps, s.batch, s.hidden_size, direction == 1, input.lengths};
}

// Calls f(run) for the gates with rows of weight_ih, and g(gate) for those that read the input
// itself.
template <class F, class G>
void for_each_input(const CellInfo& info, const F& f, const G& g) {
  for_each_run(info.input, 0, info.input_gates(), f);
  for (int gate = info.input_gates(); gate < info.input_parts(); ++gate) g(gate);
}

// Computes the input parts of gates: x weight_ih^T + bias_ih, the columns of weight_ih that indices
// select plus bias_ih, or x itself.
void input_product(const NetworkSize& s, const NetworkInput& input, int layer, int i,
                   const Reserve& reserve, cudaStream_t stream) {
  const CellInfo& info = s.info();
  const Weights<const float>& w = input.weights[i];
  const int H = s.hidden_size, ldc = info.slots() * H, width = s.layer_input(layer);
  const auto product = [&](const Run& run) {
    float* to = reserve.gates[i] + run.gate * H;
    const float* bias = w.bias_ih ? w.bias_ih + run.block * H : nullptr;
    if (layer == 0 && input.indices)
      return gather_rows(input_table(s, run, w.weight_ih), s.products == Products::bfloat16,
                         input.indices, int(s.rows()), bias, to, ldc, stream);
    gemm({.transpose_b = true,
          .m = int(s.rows()),
          .n = run.count * H,
          .k = width,
          .lda = width,
          .ldb = width,
          .ldc = ldc,
          .bfloat16 = s.products == Products::bfloat16},
         reserve.input(input, layer), w.weight_ih + Index(run.block) * H * width, bias, to, stream);
  };
  for_each_input(info, product, [&](int gate) {
    copy_rows(reserve.input(input, layer), width, s.rows(), H, false, reserve.gates[i] + gate * H,
              ldc, stream);
  });
}

struct Gradients {
  const NetworkSize& s;
  const NetworkInput& input;
  const Reserve& reserve;
  const BackwardScratch& scratch;
  cudaStream_t stream;

  // c (m, n) += a (rows, m; lda)^T b (rows, n)
  void add_product(const float* a, int lda, int m, const float* b, int n, float* c) const {
    gemm({.transpose_a = true,
          .m = m,
          .n = n,
          .k = int(s.rows()),
          .lda = lda,
          .ldb = n,
          .ldc = n,
          .beta = 1,
          .bfloat16 = s.products == Products::bfloat16},
         a, b, nullptr, c, stream);
  }
  void add_column_sums(const float* a, int lda, int columns, float* sums, int first) const {
    if (sums) column_sum(a, int(s.rows()), columns, lda, 1, sums + first, stream);
  }

  // The operands of all steps, (T, B, H), by the operand's number.
  const float* rows_of(int operand, int i) const {
    const Index slot = Index(s.batch) * s.hidden_size, before = i % s.directions ? slot : 0;
    const int opening = s.info().opening_values();
    if (operand == 0) return reserve.states[i] + before;
    if (operand <= opening)
      return reserve.openings[i] + (operand - 1) * (s.steps + 1) * slot + before;
    return scratch.values + (operand - 1 - opening) * s.steps * slot;
  }

  void weights(int layer, int i, const Weights<float>& dw) const {
    const CellInfo& info = s.info();
    const int H = s.hidden_size, width = info.gates * H, inputs = s.layer_input(layer);
    for_each_run(info.input, 0, info.input_gates(), [&](const Run& run) {
      const float* dgates = scratch.dgates_x + run.gate * H;
      if (layer == 0 && input.indices)
        scatter_rows(dgates, width, input.indices, int(s.rows()), input_table(s, run, dw.weight_ih),
                     scratch.sorted, stream);
      else
        add_product(dgates, width, run.count * H, reserve.input(input, layer), inputs,
                    dw.weight_ih + Index(run.block) * H * inputs);
      add_column_sums(dgates, width, run.count * H, dw.bias_ih, run.block * H);
    });
    for (int k = info.first(); k < info.size(); ++k)
      for_each_run(info, k, [&](int slab, int, const Run& run) {
        const float* dgates = scratch.dgates_h + run.gate * H;
        add_product(dgates, width, run.count * H, rows_of(Multiplied(info, k).operand[slab], i), H,
                    dw.weight_hh + Index(run.block) * H * H);
        add_column_sums(dgates, width, run.count * H, dw.bias_hh, run.block * H);
      });
    if (info.params)
      add_column_sums(scratch.dchannel, info.params * H, info.params * H, dw.weight_channel, 0);
  }

  void inputs(int layer, int i, float* dx) const {
    const CellInfo& info = s.info();
    const int H = s.hidden_size, n = s.layer_input(layer), width = info.gates * H;
    bool adds = i % s.directions;
    const auto product = [&](const Run& run) {
      gemm({.m = int(s.rows()),
            .n = n,
            .k = run.count * H,
            .lda = width,
            .ldb = n,
            .ldc = n,
            .beta = adds ? 1.f : 0.f,
            .bfloat16 = s.products == Products::bfloat16},
           scratch.dgates_x + run.gate * H, input.weights[i].weight_ih + Index(run.block) * H * n,
           nullptr, dx, stream);
      adds = true;
    };
    for_each_input(info, product, [&](int gate) {
      copy_rows(scratch.dgates_x + gate * H, width, s.rows(), H, true, dx, n, stream);
    });
  }
};

}  // namespace

const CellInfo& NetworkSize::info() const { return device_cell(cell).info(); }

LayerShape NetworkSize::shape(Pass pass) const {
  return {info(), batch, hidden_size, products, pass};
}

Plan NetworkSize::plan(Pass pass, const DeviceProperties& device) const {
  return kernel ? choose(shape(pass), device, {&*kernel, 1}) : choose(shape(pass), device);
}

KernelUnit NetworkSize::unit(Pass pass, const DeviceProperties& device) const {
  return {plan(pass, device).kernel, pass, products == Products::bfloat16x3, device.capability};
}

// The functions of a pass, which must be loaded.
static const Functions& functions_of(const NetworkSize& s, Pass pass,
                                     const DeviceProperties& device) {
  const KernelUnit unit = s.unit(pass, device);
  const Functions* found = device_cell(s.cell).functions(unit);
  RNNFAST_CHECK(found, "cell ", device_cell(s.cell).name(), ": kernel ", kernel_name(unit.kernel),
                " has not been loaded");
  return *found;
}

NetworkBytes forward_bytes(const NetworkSize& s, const NetworkInput& input) {
  return {s.training ? Reserve(s, input, nullptr).bytes : 0,
          ForwardScratch(s, input, nullptr).bytes};
}

NetworkBytes backward_bytes(const NetworkSize& s, const NetworkInput& input) {
  return {Reserve(s, input, nullptr).bytes, BackwardScratch(s, input, nullptr).bytes};
}

void network_forward(const NetworkSize& s, const NetworkInput& input, float* y,
                     const std::vector<float*>& final, void* reserve_memory, void* workspace,
                     const DeviceProperties& device, cudaStream_t stream) {
  const CellInfo& info = s.info();
  const ForwardScratch scratch(s, input, static_cast<float*>(workspace));
  const Reserve reserve(s, input,
                        s.training ? static_cast<float*>(reserve_memory) : scratch.reserve);
  const Plan plan = s.plan(Pass::forward, device);
  const Functions& functions = functions_of(s, Pass::forward, device);
  fill_bytes(scratch.counters, 0, sizeof(unsigned) * s.cells() * s.batch, stream);
  if (reserve.x)
    copy_masked(input.x, input.lengths, s.steps, s.batch, s.input_size, reserve.x, stream);
  for (int layer = 0; layer < s.layers; ++layer) {
    float* output = layer + 1 < s.layers ? reserve.outputs[layer] : y;
    for (int direction = 0; direction < s.directions; ++direction) {
      const int i = layer * s.directions + direction;
      input_product(s, input, layer, i, reserve, stream);
      ForwardArgs args{};
      args.size = call_size(s, input, direction);
      args.weight_hh = input.weights[i].weight_hh;
      args.bias_hh = input.weights[i].bias_hh;
      args.weight_channel = input.weights[i].weight_channel;
      for (int k = 0; k < info.states; ++k) {
        args.initial[k] = state_of(input.initial[k], s, i);
        args.final[k] = state_of(final[k], s, i);
      }
      args.bfloat16 = s.products == Products::bfloat16;
      args.gates = reserve.gates[i];
      args.states = reserve.states[i];
      args.openings = reserve.openings[i];
      args.values = scratch.values;
      args.y = output + direction * s.hidden_size;
      args.y_stride = s.width();
      args.sums = scratch.sums;
      args.counters = scratch.counters + Index(i) * s.batch;
      recurrent_kernel(plan.kernel).forward(functions, info, plan, args, stream);
    }
    if (layer + 1 < s.layers) drop_outputs(s, layer, output, stream);
  }
}

void network_backward(const NetworkSize& s, const NetworkInput& input, const float* dy,
                      const std::vector<const float*>& dfinal, float* dx,
                      const std::vector<float*>& dinitial,
                      const std::vector<Weights<float>>& dweights, void* reserve_memory,
                      void* workspace, const DeviceProperties& device, cudaStream_t stream) {
  const CellInfo& info = s.info();
  const Reserve reserve(s, input, static_cast<float*>(reserve_memory));
  const BackwardScratch scratch(s, input, static_cast<float*>(workspace));
  const Gradients gradients{s, input, reserve, scratch, stream};
  const Plan plan = s.plan(Pass::backward, device);
  const Functions& functions = functions_of(s, Pass::backward, device);
  fill_bytes(scratch.counters, 0, sizeof(unsigned) * s.cells() * s.batch, stream);
  const float* doutput = dy;
  for (int layer = s.layers - 1; layer >= 0; --layer) {
    float* dinput = layer ? scratch.doutputs[(layer - 1) % 2] : dx;
    for (int direction = 0; direction < s.directions; ++direction) {
      const int i = layer * s.directions + direction;
      BackwardArgs args{};
      args.size = call_size(s, input, direction);
      args.weight_hh = input.weights[i].weight_hh;
      args.weight_channel = input.weights[i].weight_channel;
      for (int k = 0; k < info.states; ++k) {
        args.dfinal[k] = state_of(dfinal[k], s, i);
        args.dinitial[k] = state_of(dinitial[k], s, i);
      }
      args.gates = reserve.gates[i];
      args.states = reserve.states[i];
      args.dy = doutput ? doutput + direction * s.hidden_size : nullptr;
      args.y_stride = s.width();
      args.bfloat16 = s.products == Products::bfloat16;
      args.dgates_x = scratch.dgates_x;
      args.dgates_h = scratch.dgates_h;
      args.dchannel = scratch.dchannel;
      args.values = scratch.values;
      args.dkept = scratch.dkept;
      args.dwaiting = scratch.dwaiting;
      args.sums = scratch.sums;
      args.counters = scratch.counters + Index(i) * s.batch;
      recurrent_kernel(plan.kernel).backward(functions, info, plan, args, stream);
      gradients.weights(layer, i, dweights[i]);
      if (dinput) gradients.inputs(layer, i, dinput);
    }
    if (layer) drop_outputs(s, layer - 1, dinput, stream);
    doutput = dinput;
  }
}

}  // namespace rnnfast::cuda
