#include "rnn/stream_layers.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/threads.h"
#include "cpu/dispatch.h"
#include "cpu/traced_cells.h"

namespace rnnfast {
namespace {

// A step that needs no memory of its own: a call of `function`.
template <class T, class Function>
class CallStep final : public LayerStep<T> {
 public:
  explicit CallStep(Function function) : function_(std::move(function)) {}
  void run() override { function_(); }

 private:
  Function function_;
};

template <class T, class Function>
std::unique_ptr<LayerStep<T>> call_step(Function function) {
  return std::make_unique<CallStep<T, Function>>(std::move(function));
}

template <class T>
class StreamEmbedding final : public StreamLayer<T> {
 public:
  StreamEmbedding(const T* weight, Index count, Index width)
      : weight_(weight), count_(count), width_(width) {}

  Index inputs() const override { return count_; }
  Index outputs() const override { return width_; }
  bool takes_values() const override { return false; }
  bool takes_indices() const override { return true; }
  double work() const override { return double(width_); }
  std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& a) const override {
    return call_step<T>(
        [a, this] { dense<T>().gather(weight_, a.indices, width_, a.y, 0, a.rows); });
  }

 private:
  const T* weight_;
  Index count_, width_;
};

template <class T>
class LinearStep final : public LayerStep<T> {
 public:
  LinearStep(const LayerArrays<T>& a, const T* weight, const T* bias, Index inputs, Index outputs)
      : args_{a.x, weight, bias, a.y, a.rows, outputs, inputs, false},
        threads_(product_threads(a.rows * inputs * outputs)),
        workspace_(Buffer::allocate(sizeof(T) * dense<T>().product_workspace(ProductForm::nt,
                                                                             a.rows, outputs,
                                                                             inputs, threads_))) {}
  void run() override {
    parallel(threads_, [&](const Team& team, int thread) {
      dense<T>().product(ProductForm::nt, args_, team, thread, workspace_.template as<T>());
    });
  }

 private:
  ProductArgs<T> args_;
  int threads_;
  Buffer workspace_;
};

template <class T>
class StreamLinear final : public StreamLayer<T> {
 public:
  StreamLinear(const T* weight, const T* bias, Index inputs, Index outputs)
      : weight_(weight), bias_(bias), inputs_(inputs), outputs_(outputs) {}

  Index inputs() const override { return inputs_; }
  Index outputs() const override { return outputs_; }
  double work() const override { return double(inputs_) * double(outputs_); }
  std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& a) const override {
    return std::make_unique<LinearStep<T>>(a, weight_, bias_, inputs_, outputs_);
  }

 private:
  const T *weight_, *bias_;
  Index inputs_, outputs_;
};

// ---- recurrent layers

template <class T>
class NetworkStep final : public LayerStep<T> {
 public:
  NetworkStep(NetworkSize size, const PackedWeights<T>& packed, bool has_context,
              const LayerArrays<T>& a)
      : size_(at_step(std::move(size), a.rows)),
        context_width_(has_context ? context_width(size_) : 0),
        memory_(Buffer::allocate(
            sizeof(T) *
            std::size_t(a.rows * (2 * row_size(size_) + size_.num_layers * context_width_)))),
        input_{a.x, a.indices, {}, &packed, {}, {}},
        final_(lay_out()),
        forward_(size_, PackedBatch(1, a.rows, {}), input_, a.y, final_) {}

  static Index row_size(const NetworkSize& s) {
    return s.num_layers * s.states_size(known_cell(s.cell).states);
  }

  // What a context adds to the gates of a layer.
  static Index context_width(const NetworkSize& s) {
    return known_cell(s.cell).input_gates() * s.hidden_size;
  }

  void run() override { forward_.run(); }

  void add_blocks(std::vector<StateBlock<T>>& blocks) const override {
    for (std::size_t s = 0; s < final_.size(); ++s)
      for (Index layer = 0; layer < size_.num_layers; ++layer)
        blocks.push_back(
            {const_cast<T*>(state_of(input_.initial[s], int(s), size_, size_.batch, layer)),
             state_of(final_[s], int(s), size_, size_.batch, layer), size_.state_size(int(s))});
    for (const T* gates : input_.context.gates)  // a step leaves them as they are
      blocks.push_back({const_cast<T*>(gates), gates, context_width_});
  }

 private:
  static NetworkSize at_step(NetworkSize size, Index rows) {
    size.seq_len = 1;
    size.batch = rows;
    return size;
  }

  // Lays out the states before the step, those after it, (L, rows, width) each, and the context.
  std::vector<T*> lay_out() {
    const int states = known_cell(size_.cell).states;
    std::vector<T*> final;
    T* next = memory_.template as<T>();
    const auto take = [&](int s) {
      return std::exchange(next, next + size_.num_layers * size_.batch * size_.state_size(s));
    };
    for (int s = 0; s < states; ++s) input_.initial.push_back(take(s));
    for (int s = 0; s < states; ++s) final.push_back(take(s));
    for (Index layer = 0; context_width_ && layer < size_.num_layers; ++layer)
      input_.context.gates.push_back(std::exchange(next, next + size_.batch * context_width_));
    return final;
  }

  // In order of initialisation, as each needs those before it.
  const NetworkSize size_;
  const Index context_width_;  // 0 without a context
  const Buffer memory_;
  NetworkInput<T> input_;
  const std::vector<T*> final_;
  const PreparedForward<T> forward_;
};

template <class T>
class StreamNetwork final : public StreamLayer<T> {
 public:
  StreamNetwork(const NetworkSize& size, const PackedWeights<T>& packed, bool has_context)
      : size_(size), packed_(packed), has_context_(has_context) {
    RNNFAST_CHECK(!size.training && size.num_directions == 1,
                  "stream: expected recurrent layers with one direction, in evaluation mode");
    size_.seq_len = size_.batch = 1;
    work_ = network_work(size_);
  }

  Index inputs() const override { return size_.input_size; }
  Index outputs() const override { return size_.y_size(); }
  bool takes_indices() const override { return true; }
  Index state_size() const override {
    const Index context = has_context_ ? NetworkStep<T>::context_width(size_) : 0;
    return NetworkStep<T>::row_size(size_) + size_.num_layers * context;
  }
  double work() const override { return work_; }
  std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& a) const override {
    return std::make_unique<NetworkStep<T>>(size_, packed_, has_context_, a);
  }

 private:
  NetworkSize size_;
  const PackedWeights<T>& packed_;
  bool has_context_;
  double work_;
};

// ---- around recurrent layers

template <class T>
class StreamActivation final : public StreamLayer<T> {
 public:
  explicit StreamActivation(Activation function) : function_(function) {}

  Index inputs() const override { return 0; }
  Index outputs() const override { return 0; }
  double work() const override { return 0; }
  std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& a) const override {
    const auto function = dense<T>().activation[int(function_)];
    return call_step<T>([a, function] { function(a.x, a.y, a.rows * a.inputs); });
  }

 private:
  Activation function_;
};

template <class T>
class StreamLayerNorm final : public StreamLayer<T> {
 public:
  StreamLayerNorm(const T* weight, const T* bias, Index width, double eps)
      : weight_(weight), bias_(bias), width_(width), eps_(eps) {}

  Index inputs() const override { return width_; }
  Index outputs() const override { return width_; }
  double work() const override { return 4 * double(width_); }
  std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& a) const override {
    const LayerNormArgs<T> args{a.x, weight_, bias_, a.rows, width_, eps_};
    return call_step<T>([args, y = a.y] { dense<T>().layer_norm(args, y, nullptr, 0, args.rows); });
  }

 private:
  const T *weight_, *bias_;
  Index width_;
  double eps_;
};

template <class T>
class StreamAdd final : public StreamLayer<T> {
 public:
  explicit StreamAdd(Index back) : back_(back) {}

  Index inputs() const override { return 0; }
  Index outputs() const override { return 0; }
  Index adds() const override { return back_; }
  double work() const override { return 0; }
  std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& a) const override {
    const T* added = *(a.earlier - back_);
    RNNFAST_CHECK(added, "x: expected real numbers, as a residual layer adds them to its output");
    return call_step<T>([a, added] {
      for (Index i = 0; i < a.rows * a.inputs; ++i) a.y[i] = added[i] + a.x[i];
    });
  }

 private:
  Index back_;
};

// A step keeps the window of x that it reads: earlier steps, which are the state, then x.
template <class T>
class ConvolutionStep final : public LayerStep<T> {
 public:
  ConvolutionStep(const LayerArrays<T>& a, const T* weight, const T* bias,
                  const ConvolutionShape& shape)
      : arrays_(a),
        weight_(weight),
        bias_(bias),
        shape_(shape),
        window_(Buffer::allocate(sizeof(T) * std::size_t(shape.steps * step_size()))),
        threads_(product_threads(a.rows * shape.inputs * shape.taps * shape.outputs)),
        workspace_(Buffer::allocate(
            sizeof(T) * std::size_t(dense<T>().convolution_workspace(shape, threads_)))) {}

  void run() override {
    std::copy_n(arrays_.x, step_size(), step(shape_.steps - 1));
    parallel(threads_, [&](const Team& team, int thread) {
      dense<T>().convolution(shape_, step(0), weight_, bias_, arrays_.y, team, thread,
                             workspace_.template as<T>());
    });
  }

  // The window of the next step starts one step later.
  void add_blocks(std::vector<StateBlock<T>>& blocks) const override {
    for (Index t = 0; t + 1 < shape_.steps; ++t)
      blocks.push_back({step(t), step(t + 1), shape_.inputs});
  }

 private:
  Index step_size() const { return shape_.batch * shape_.inputs; }
  T* step(Index t) const { return window_.template as<T>() + t * step_size(); }

  const LayerArrays<T> arrays_;
  const T *weight_, *bias_;
  const ConvolutionShape shape_;
  Buffer window_;
  int threads_;
  Buffer workspace_;
};

template <class T>
class StreamConvolution final : public StreamLayer<T> {
 public:
  StreamConvolution(const T* weight, const T* bias, const ConvolutionShape& shape)
      : weight_(weight), bias_(bias), shape_(shape) {}

  Index inputs() const override { return shape_.inputs; }
  Index outputs() const override { return shape_.outputs; }
  Index state_size() const override { return (shape_.steps - 1) * shape_.inputs; }
  double work() const override {
    return double(shape_.inputs) * double(shape_.taps) * double(shape_.outputs);
  }
  std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& a) const override {
    ConvolutionShape shape = shape_;
    shape.batch = a.rows;
    return std::make_unique<ConvolutionStep<T>>(a, weight_, bias_, shape);
  }

 private:
  const T *weight_, *bias_;
  ConvolutionShape shape_;
};

}  // namespace

template <class T>
StreamLayerPointer<T> stream_embedding(const T* weight, Index count, Index width) {
  return std::make_unique<StreamEmbedding<T>>(weight, count, width);
}

template <class T>
StreamLayerPointer<T> stream_linear(const T* weight, const T* bias, Index inputs, Index outputs) {
  return std::make_unique<StreamLinear<T>>(weight, bias, inputs, outputs);
}

template <class T>
StreamLayerPointer<T> stream_activation(Activation function) {
  return std::make_unique<StreamActivation<T>>(function);
}

template <class T>
StreamLayerPointer<T> stream_layer_norm(const T* weight, const T* bias, Index width, double eps) {
  return std::make_unique<StreamLayerNorm<T>>(weight, bias, width, eps);
}

template <class T>
StreamLayerPointer<T> stream_add(Index back) {
  return std::make_unique<StreamAdd<T>>(back);
}

template <class T>
StreamLayerPointer<T> stream_convolution(const T* weight, const T* bias, Index outputs,
                                         Index inputs, Index taps, Index dilation) {
  const ConvolutionShape shape{.steps = (taps - 1) * dilation + 1,
                               .out_steps = 1,
                               .batch = 1,
                               .inputs = inputs,
                               .outputs = outputs,
                               .taps = taps,
                               .stride = 1,
                               .dilation = dilation,
                               .padding = 0};
  return std::make_unique<StreamConvolution<T>>(weight, bias, shape);
}

template <class T>
StreamLayerPointer<T> stream_network(const NetworkSize& size, const PackedWeights<T>& packed,
                                     bool has_context) {
  return std::make_unique<StreamNetwork<T>>(size, packed, has_context);
}

#define INSTANTIATE(T)                                                                       \
  template StreamLayerPointer<T> stream_embedding(const T*, Index, Index);                   \
  template StreamLayerPointer<T> stream_linear(const T*, const T*, Index, Index);            \
  template StreamLayerPointer<T> stream_activation<T>(Activation);                           \
  template StreamLayerPointer<T> stream_layer_norm(const T*, const T*, Index, double);       \
  template StreamLayerPointer<T> stream_add<T>(Index);                                       \
  template StreamLayerPointer<T> stream_convolution(const T*, const T*, Index, Index, Index, \
                                                    Index);                                  \
  template StreamLayerPointer<T> stream_network(const NetworkSize&, const PackedWeights<T>&, bool);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace rnnfast
