#pragma once
// The layers of models that run one step at a time. Each maps rows of values, one per sequence, to
// new rows; recurrent layers also map the sequences' states to new states.

#include <memory>
#include <vector>

#include "cpu/dense_table.h"
#include "rnn/network.h"

namespace rnnfast {

// The arrays of a step. They stay in place from step to step; only their values change.
template <class T>
struct LayerArrays {
  Index rows;
  Index inputs;             // the width of x
  const T* x;               // (rows, inputs), or null
  const Index* indices;     // (rows,), where x is null
  T* y;                     // (rows, outputs)
  const T* const* earlier;  // the input of each layer up to this one; the first may be null
};

// A part of every sequence's state, (rows, width), before and after a step.
template <class T>
struct StateBlock {
  T* before;
  const T* after;
  Index width;
};

// A layer prepared to run steps on given arrays, with all the memory that this needs.
template <class T>
class LayerStep {
 public:
  virtual ~LayerStep() = default;
  virtual void run() = 0;
  // Appends the blocks of the state, in the order of a sequence's state.
  virtual void add_blocks(std::vector<StateBlock<T>>&) const {}
};

template <class T>
class StreamLayer {
 public:
  virtual ~StreamLayer() = default;
  // Widths of the rows; 0 if a layer takes any width and returns the same.
  virtual Index inputs() const = 0;
  virtual Index outputs() const = 0;
  virtual bool takes_values() const { return true; }
  virtual bool takes_indices() const { return false; }  // in [0, inputs())
  virtual Index state_size() const { return 0; }        // values per sequence
  virtual Index adds() const { return 0; }  // adds the input of this many layers back; 0: nothing
  virtual double work() const = 0;          // multiply-adds per row, or work equal to them
  virtual std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& arrays) const = 0;
};

template <class T>
using StreamLayerPointer = std::unique_ptr<const StreamLayer<T>>;

// The weights belong to the caller and must outlive the layer. Results have the same bits as those
// of the whole-sequence layers.
template <class T>
StreamLayerPointer<T> stream_embedding(const T* weight, Index count, Index width);
template <class T>
StreamLayerPointer<T> stream_linear(const T* weight, const T* bias, Index inputs, Index outputs);
template <class T>
StreamLayerPointer<T> stream_activation(Activation function);
template <class T>
StreamLayerPointer<T> stream_layer_norm(const T* weight, const T* bias, Index width, double eps);
// A causal convolution of stride 1; weight (outputs, inputs, taps). Its state holds the steps of x
// that later steps read.
template <class T>
StreamLayerPointer<T> stream_convolution(const T* weight, const T* bias, Index outputs,
                                         Index inputs, Index taps, Index dilation);
// Adds the input of the layer `back` before, as in a residual block.
template <class T>
StreamLayerPointer<T> stream_add(Index back);
// Layers of one direction, in inference. Ignores the sequence length and batch of `size`. With
// `has_context`, the state of a sequence ends with what its context adds to the gates of each
// layer.
template <class T>
StreamLayerPointer<T> stream_network(const NetworkSize& size, const PackedWeights<T>& packed,
                                     bool has_context);

}  // namespace rnnfast
