#pragma once
// The layers that a model of one step can be made of. Each takes rows of values, one row a
// sequence, and makes new ones; recurrent layers take and make the sequences' states as well.

#include <memory>
#include <vector>

#include "cpu/dense_table.h"
#include "rnn/network.h"

namespace rnnfast {

// What a step works on. The arrays stay where they are from step to step; their values change.
template <class T>
struct LayerArrays {
  Index rows;
  Index inputs;             // the width of x
  const T* x;               // (rows, inputs), or null
  const Index* indices;     // (rows,), where x is null
  T* y;                     // (rows, outputs)
  const T* const* earlier;  // what each layer up to this one takes; the first may take no values
};

// Some of the numbers of each sequence's state: (rows, width), before a step and after it.
template <class T>
struct StateBlock {
  T* before;
  const T* after;
  Index width;
};

// A layer with all the memory that its steps over some arrays need.
template <class T>
class LayerStep {
 public:
  virtual ~LayerStep() = default;
  virtual void run() = 0;
  // Appends the blocks of the state, in the order that a sequence's state has.
  virtual void add_blocks(std::vector<StateBlock<T>>&) const {}
};

template <class T>
class StreamLayer {
 public:
  virtual ~StreamLayer() = default;
  // Widths of the rows; 0 where a layer takes any, and makes as many.
  virtual Index inputs() const = 0;
  virtual Index outputs() const = 0;
  virtual bool takes_values() const { return true; }
  virtual bool takes_indices() const { return false; }  // in [0, inputs())
  virtual Index state_size() const { return 0; }        // values a sequence
  virtual Index adds() const { return 0; }  // what the layer so many before took; 0: nothing
  virtual double work() const = 0;          // multiply-adds a row, or as much
  virtual std::unique_ptr<LayerStep<T>> prepare(const LayerArrays<T>& arrays) const = 0;
};

template <class T>
using StreamLayerPointer = std::unique_ptr<const StreamLayer<T>>;

// The weights stay the caller's and must live as long as the layer. Each layer gives the bits of
// the layer's own calls.
template <class T>
StreamLayerPointer<T> stream_embedding(const T* weight, Index count, Index width);
template <class T>
StreamLayerPointer<T> stream_linear(const T* weight, const T* bias, Index inputs, Index outputs);
template <class T>
StreamLayerPointer<T> stream_activation(Activation function);
template <class T>
StreamLayerPointer<T> stream_layer_norm(const T* weight, const T* bias, Index width, double eps);
// A causal convolution of stride 1; weight (outputs, inputs, taps). Its state is the steps of x
// that later ones read.
template <class T>
StreamLayerPointer<T> stream_convolution(const T* weight, const T* bias, Index outputs,
                                         Index inputs, Index taps, Index dilation);
// Adds what the layer `back` before took, as around the layers of a residual block.
template <class T>
StreamLayerPointer<T> stream_add(Index back);
// Layers of one direction, not training. Of `size` all but the sizes of time and batch count.
template <class T>
StreamLayerPointer<T> stream_network(const NetworkSize& size, const PackedWeights<T>& packed);

}  // namespace rnnfast
