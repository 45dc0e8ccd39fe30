#include "rnn/stream_plan.h"

#include <algorithm>
#include <utility>

#include "core/carver.h"
#include "core/error.h"

namespace rnnfast {

template <class T>
StreamPlan<T>::StreamPlan(std::vector<StreamLayerPointer<T>> layers) : layers_(std::move(layers)) {
  RNNFAST_CHECK(!layers_.empty(), "stream: expected at least one layer, got none");
  const auto sized = std::find_if(layers_.begin(), layers_.end(),
                                  [](const auto& layer) { return layer->inputs() > 0; });
  RNNFAST_CHECK(sized != layers_.end(),
                "stream: expected a layer that has a size, got only activations");
  input_size_ = (*sized)->inputs();
  Index width = input_size_;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const StreamLayer<T>& layer = *layers_[i];
    RNNFAST_CHECK(i == 0 || layer.takes_values(), "stream: expected the embedding to be the first ",
                  "layer, as it takes integers, got it as layer ", i);
    RNNFAST_CHECK(layer.inputs() == 0 || layer.inputs() == width, "stream: expected layer ", i,
                  " to take the ", width, " outputs of the previous layer, got one that takes ",
                  layer.inputs());
    if (const std::size_t back = std::size_t(layer.adds())) {
      RNNFAST_CHECK(back <= i, "stream: expected at least ", back, " layers before layer ", i);
      const Index added = back == i ? input_size_ : widths_[i - back - 1];
      RNNFAST_CHECK(added == width,
                    "stream: expected a residual layer with as many outputs as inputs, ", added,
                    ", got ", width);
    }
    if (layer.outputs()) width = layer.outputs();
    widths_.push_back(width);
    state_size_ += layer.state_size();
    work_ += layer.work();
  }
  takes_values_ = layers_.front()->takes_values();
}

template <class T>
StreamStep<T>::StreamStep(const StreamPlan<T>& plan, Index rows, bool indexed)
    : rows_(rows), state_size_(plan.state_size()), indexed_(indexed) {
  const std::size_t count = plan.layers().size();
  const auto lay_out = [&](T* base, std::vector<T*>& outputs) {
    Carver<T> arena{base};
    arena.take(indexed ? 0 : rows * plan.input_size());
    for (std::size_t i = 0; i < count; ++i) outputs[i] = arena.take(rows * plan.width(i));
    return std::size_t(arena.used) * sizeof(T);
  };
  std::vector<T*> outputs(count);
  memory_ = Buffer::allocate(lay_out(nullptr, outputs));
  lay_out(x(), outputs);
  if (indexed) indices_ = Buffer::allocate(std::size_t(rows) * sizeof(Index));
  std::vector<const T*> taken{indexed ? nullptr : x()};
  taken.insert(taken.end(), outputs.begin(), outputs.end());
  for (std::size_t i = 0; i < count; ++i) {
    layers_.push_back(
        plan.layers()[i]->prepare({.rows = rows,
                                   .inputs = i ? plan.width(i - 1) : plan.input_size(),
                                   .x = taken[i],
                                   .indices = taken[i] ? nullptr : indices(),
                                   .y = outputs[i],
                                   .earlier = &taken[i]}));
    layers_.back()->add_blocks(blocks_);
  }
  y_ = outputs.back();
}

template <class T>
void StreamStep<T>::load(const T* states, const Index* numbers) {
  for (Index row = 0; row < rows_; ++row) {
    const T* from = states + (numbers ? numbers[row] : row) * state_size_;
    for (const StateBlock<T>& block : blocks_) {
      std::copy_n(from, block.width, block.before + row * block.width);
      from += block.width;
    }
  }
}

template <class T>
void StreamStep<T>::store(T* states, const Index* numbers) const {
  for (Index row = 0; row < rows_; ++row) {
    T* to = states + (numbers ? numbers[row] : row) * state_size_;
    for (const StateBlock<T>& block : blocks_)
      to = std::copy_n(block.after + row * block.width, block.width, to);
  }
}

template <class T>
void StreamStep<T>::run() {
  for (const auto& layer : layers_) layer->run();
}

template class StreamPlan<float>;
template class StreamPlan<double>;
template class StreamStep<float>;
template class StreamStep<double>;

}  // namespace rnnfast
