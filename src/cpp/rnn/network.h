#pragma once
// Runs stacked layers and directions with the kernels of one cell. A whole forward or backward pass
// is one parallel region.

#include "rnn/groups.h"

namespace rnnfast {

// Packs the weights. Reads only the cell, layers, directions, the sizes of layers and the precision
// from `size`.
template <class T>
PackedWeights<T> network_pack(const NetworkSize& size,
                              const std::vector<CellWeights<const T>>& weights);

// A forward pass prepared for any number of runs on the same arrays, whose values may change in
// between. The arrays, `input` and `final` must outlive it, and so must `memory`, for the reserve.
template <class T>
class PreparedForward {
 public:
  PreparedForward(const NetworkSize& size, PackedBatch packed, const NetworkInput<T>& input, T* y,
                  const std::vector<T*>& final,
                  std::optional<std::span<std::byte>> memory = std::nullopt);
  // Writes y (T, B, D * H) and the final states, and fills the reserve.
  void run() const;

  const Groups groups;
  Reserve<T> reserve;

 private:
  // Takes the states of the episodes.
  void run(const std::vector<const T*>& initial, const std::vector<T*>& final) const;
  void pack_input(const Team& team, int thread) const;
  void drop_input(Index layer, const Team& team, int thread) const;

  const NetworkInput<T>& input_;
  T* y_;
  const std::vector<T*>& final_;
  Index group_workspace_ = 0;  // values of a group's workspace
  Buffer workspace_;
  T* masks_;  // of inputs, behind the workspaces
};

// Writes y (T, B, D * H) and the final states. Returns what backward needs.
template <class T>
Reserve<T> network_forward(const NetworkSize& size, PackedBatch packed,
                           const NetworkInput<T>& input, T* y, const std::vector<T*>& final);

// Takes dy and the gradients of the final states (null for zeros). Writes dx (null if not wanted)
// and the gradients of the initial states and of the weights; the last are added if `add_dweights`,
// and the gradients of the context always. `input` and y must be those of forward.
template <class T>
void network_backward(const Reserve<T>& reserve, const NetworkInput<T>& input, const T* dy,
                      const std::vector<const T*>& dfinal, T* dx, const std::vector<T*>& dinitial,
                      const std::vector<CellWeights<T>>& dweights, bool add_dweights,
                      const NetworkContext<T>& dcontext);

}  // namespace rnnfast
