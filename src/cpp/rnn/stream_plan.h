#pragma once
// A model of one step: layers one after the other, and a step of them over some sequences.

#include <memory>
#include <vector>

#include "core/memory.h"
#include "rnn/stream_layers.h"

namespace rnnfast {

// What a model is. A sequence's state is one row of `state_size` numbers: layer by layer, state by
// state, layer by layer.
template <class T>
class StreamPlan {
 public:
  // Throws Error where a layer does not take what the one before makes.
  explicit StreamPlan(std::vector<StreamLayerPointer<T>> layers);

  const std::vector<StreamLayerPointer<T>>& layers() const { return layers_; }
  bool takes_values() const { return takes_values_; }
  bool takes_indices() const { return layers_.front()->takes_indices(); }
  Index input_size() const { return input_size_; }
  // Width of what layer `i` makes.
  Index width(std::size_t i) const { return widths_[i]; }
  Index output_size() const { return widths_.back(); }
  Index state_size() const { return state_size_; }
  double work() const { return work_; }  // of a row

 private:
  std::vector<StreamLayerPointer<T>> layers_;
  std::vector<Index> widths_;
  Index input_size_ = 0, state_size_ = 0;
  bool takes_values_ = true;
  double work_ = 0;
};

// Steps of a plan for so many sequences, with the memory that they need; the plan lives as long.
template <class T>
class StreamStep {
 public:
  StreamStep(const StreamPlan<T>& plan, Index rows, bool indexed);

  Index rows() const { return rows_; }
  bool indexed() const { return indexed_; }
  // Where the input goes: (rows, input_size), or (rows,) where it is indices.
  T* x() const { return memory_.template as<T>(); }
  Index* indices() const { return indices_.template as<Index>(); }
  // What comes out: (rows, output_size).
  const T* y() const { return y_; }

  // Take the states of the sequences numbers[0], numbers[1], ... out of (B, state_size), or put
  // those after the step there; null numbers are 0, 1, ...
  void load(const T* states, const Index* numbers);
  void store(T* states, const Index* numbers) const;
  void run();

 private:
  Index rows_, state_size_;
  bool indexed_;
  Buffer memory_, indices_;
  const T* y_ = nullptr;
  std::vector<std::unique_ptr<LayerStep<T>>> layers_;
  std::vector<StateBlock<T>> blocks_;
};

}  // namespace rnnfast
