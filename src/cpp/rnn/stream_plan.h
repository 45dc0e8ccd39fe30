#pragma once
// A model that runs one step at a time: a chain of layers, and a step of it for some sequences.

#include <memory>
#include <vector>

#include "core/memory.h"
#include "rnn/stream_layers.h"

namespace rnnfast {

// A chain of layers. A sequence's state is one row of `state_size` numbers, ordered by stream
// layer, then by state, then by layer within a recurrent one.
template <class T>
class StreamPlan {
 public:
  // Throws Error if a layer does not accept the output of the one before it.
  explicit StreamPlan(std::vector<StreamLayerPointer<T>> layers);

  const std::vector<StreamLayerPointer<T>>& layers() const { return layers_; }
  bool takes_values() const { return takes_values_; }
  bool takes_indices() const { return layers_.front()->takes_indices(); }
  Index input_size() const { return input_size_; }
  // The width of layer i's output.
  Index width(std::size_t i) const { return widths_[i]; }
  Index output_size() const { return widths_.back(); }
  Index state_size() const { return state_size_; }
  double work() const { return work_; }  // per row

 private:
  std::vector<StreamLayerPointer<T>> layers_;
  std::vector<Index> widths_;
  Index input_size_ = 0, state_size_ = 0;
  bool takes_values_ = true;
  double work_ = 0;
};

// Steps of a plan for a number of sequences, with their memory. The plan must outlive them.
template <class T>
class StreamStep {
 public:
  StreamStep(const StreamPlan<T>& plan, Index rows, bool indexed);

  Index rows() const { return rows_; }
  bool indexed() const { return indexed_; }
  // The input to fill in: (rows, input_size), or (rows,) if it is indices.
  T* x() const { return memory_.template as<T>(); }
  Index* indices() const { return indices_.template as<Index>(); }
  // The output, (rows, output_size).
  const T* y() const { return y_; }

  // Copy the states of sequences numbers[0], numbers[1], ... from (B, state_size), or those after
  // the step to it; null stands for 0, 1, ...
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
