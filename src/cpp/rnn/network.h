#pragma once
// Stacked layers and directions over the kernels of one cell: the order of calls. A whole forward
// or backward pass is one parallel region.

#include "rnn/reserve.h"

namespace rnnfast {

// Multiply-adds of a forward pass with all sequences at full length.
double network_work(const NetworkSize& size);

// Of `size` the cell, layers, directions, input and hidden size and the precision count.
template <class T>
PackedWeights<T> network_pack(const NetworkSize& size,
                              const std::vector<CellWeights<const T>>& weights);

// A forward pass made ready for any number of runs over the same arrays, whose values alone change.
// The arrays, `input` and `final` must live as long as it does.
template <class T>
class PreparedForward {
 public:
  PreparedForward(const NetworkSize& size, PackedBatch packed, const NetworkInput<T>& input, T* y,
                  const std::vector<T*>& final);
  // Writes y (T, B, D * H) and the final states, and fills the reserve.
  void run() const;

  Reserve<T> reserve;

 private:
  const NetworkInput<T>& input_;
  T* y_;
  const std::vector<T*>& final_;
  int threads_;
  Buffer workspace_;
};

// Writes y (T, B, D * H) and the final states. Returns what backward needs.
template <class T>
Reserve<T> network_forward(const NetworkSize& size, PackedBatch packed,
                           const NetworkInput<T>& input, T* y, const std::vector<T*>& final);

// Takes dy (null for zeros) and the gradients of the final states (null for zeros); writes dx (null
// if not wanted), those of the initial states, and of the weights, or adds the latter to what is
// there. `input` and y are forward's.
template <class T>
void network_backward(const Reserve<T>& reserve, const NetworkInput<T>& input, const T* dy,
                      const std::vector<const T*>& dfinal, T* dx, const std::vector<T*>& dinitial,
                      const std::vector<CellWeights<T>>& dweights, bool add_dweights);

// Copies state s of layer and direction i, which is beyond h, after every step of each sequence to
// (T, B, H), zeros after a sequence's end. The reserve is one of training without `recompute`.
template <class T>
void network_states(const Reserve<T>& reserve, Index i, int s, T* to);

}  // namespace rnnfast
