#pragma once
// The drivers of the kernels on tensor cores: blocks share the hidden units of a tile of the batch
// (blockIdx.x: slice of units, blockIdx.y: tile), keep their weights on the chip, and an Exchange
// hands on what others multiply, without a barrier of the grid.

#include "cuda/element.cuh"
#include "cuda/global_arrays.cuh"
#include "cuda/mma_product.cuh"

namespace rnnfast::cuda {

// A block's part, and its shared memory.
template <class Cell, bool kBackward, bool kSplit>
struct MmaBlock {
  static constexpr int kParts = kSplit ? 2 : 1;

  MmaSlice slice;
  int units, first_row, rows;
  MmaMemory sizes;
  unsigned char* memory;

  RNNFAST_DEVICE MmaBlock(const CallSize& size, GridShape shape, unsigned char* shared)
      : slice{size.hidden, int(blockIdx.x) * shape.units,
              min(size.hidden, int(blockIdx.x + 1) * shape.units)},
        units(shape.units),
        first_row(int(blockIdx.y) * shape.rows),
        rows(min(shape.rows, size.batch - first_row)),
        sizes(sizes_of(shape.units, size.hidden)),
        memory(shared) {}

  RNNFAST_DEVICE uint4* weights(int product) const {
    return reinterpret_cast<uint4*>(memory + (product ? sizes.weights[0] : 0));
  }
  template <class Pass>
  RNNFAST_DEVICE SlabBuffers slabs() const {
    const long at = sizes.weights[0] + sizes.weights[1] + (Pass::kIsFirst ? 0 : sizes.slabs[0]);
    return {reinterpret_cast<uint32_t*>(memory + at), Pass::kSlabs, kParts,
            mma_stride(slice.hidden)};
  }
  RNNFAST_DEVICE float* partial(int turn) const {
    const long at = sizes.weights[0] + sizes.weights[1] + sizes.slabs[0] + sizes.slabs[1];
    return reinterpret_cast<float*>(memory + at + (turn & 1) * sizes.partial / 2);
  }
  RNNFAST_DEVICE uint64_t* barriers(int product) const {
    return reinterpret_cast<uint64_t*>(memory + sizes.total() - sizes.barriers) + 2 * product;
  }
  RNNFAST_DEVICE static MmaMemory sizes_of(int units, int hidden) {
    constexpr CellInfo info = Cell::info;
    return MmaMemory(info, kBackward, units, hidden, kParts);
  }
  // Units that all slices together send a row.
  RNNFAST_DEVICE int sent_units() const {
    return min(int(gridDim.x) * units, mma_depth(slice.hidden));
  }
};

// The lane's two sequences of a tile of 8.
RNNFAST_DEVICE int lane_row(int j) { return int(threadIdx.x) % 4 * 2 + j; }

// A product with its weights and the exchange of what it multiplies.
template <class Tile, class ExchangeType, class Block>
class MmaProduct {
 public:
  using Pass = typename Tile::Pass;
  using Exchange = ExchangeType;

  RNNFAST_DEVICE MmaProduct(const Block& block, const float* weight_hh, int steps)
      : block_(block),
        role_(MmaRole::of<Tile>(block.units, block.slice.hidden)),
        weights_(role_, block.slice, weight_hh, block.weights(!Pass::kIsFirst)),
        exchange_(block.template slabs<Pass>(), block.barriers(!Pass::kIsFirst), steps,
                  block.sent_units()) {
    exchange_.buffers.clear();
  }

  // Visits, as mma_pass does, the 8 sequences from `row` of the tile on with the sums of a phase;
  // of phase -1, which nobody sends, with zeros. `source(slab)` is the slabs' place in device
  // memory.
  template <class Source, class Visit>
  RNNFAST_DEVICE void run(int phase, int row, int turn, const Source& source, long stride,
                          const Visit& visit) {
    const auto rows = [&](int slab) { return source(slab) + (block_.first_row + row) * stride; };
    if (phase >= 0)
      exchange_.receive(phase, turn, role_.idle(), rows, stride, min(kMmaRows, block_.rows - row),
                        block_.slice.hidden);
    const auto slab = [&](int i, int part) { return exchange_.slab(phase, turn, i, part); };
    mma_pass(role_, weights_, block_.slice, phase >= 0, slab, exchange_.buffers.stride,
             block_.partial(turn), visit);
  }
  RNNFAST_DEVICE const Exchange& exchange() const { return exchange_; }

 private:
  const Block& block_;
  MmaRole role_;
  MmaWeights<Tile> weights_;
  Exchange exchange_;
};

// Of a cell without a second product.
struct NoProduct {
  template <class Block>
  RNNFAST_DEVICE NoProduct(const Block&, const float*, int) {}
};
template <class Pass, bool kSplit, class Exchange, class Block, bool kExists>
struct ProductOf {
  using Type = MmaProduct<MmaTile<Pass, kSplit>, Exchange, Block>;
};
template <class Pass, bool kSplit, class Exchange, class Block>
struct ProductOf<Pass, kSplit, Exchange, Block, false> {
  using Type = NoProduct;
};

// Calls compute(b, values) for the lane's sequences of a unit that exist, stores each value where
// target(i, b) says and sends all as phase n of an exchange.
template <int kCount, class Exchange, class Block, class Target, class Compute>
RNNFAST_DEVICE void hand_on(const Block& block, const Exchange& exchange, int phase, int unit,
                            int row, const Target& target, const Compute& compute) {
  float sent[kCount][2] = {};
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    if (unit >= block.slice.end || row + lane_row(j) >= block.rows) continue;
    const int b = block.first_row + row + lane_row(j);
    Scalar values[kCount];
    compute(b, j, values);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      Exchange::store(target(i, b) + unit, values[i].value);
      sent[i][j] = values[i].value;
    }
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) exchange.send(phase, i, unit, sent[i]);
}

template <class Cell, bool kSplit, class Exchange>
RNNFAST_DEVICE void forward_mma(const ForwardArgs& args, GridShape shape, unsigned char* memory) {
  constexpr CellInfo info = Cell::info;
  constexpr bool kTwo = Cell::info.second_gates > 0;
  using Block = MmaBlock<Cell, false, kSplit>;
  using Element = ForwardElement<Cell>;
  using Operands = typename Element::Operands;
  const CallSize& size = args.size;
  const Block block(size, shape, memory);
  const Element element{args};
  const ForwardArrays<Cell> arrays{args};
  typename ProductOf<ForwardFirst<Cell>, kSplit, Exchange, Block, true>::Type first(
      block, args.weight_hh, size.steps);
  typename ProductOf<ForwardSecond<Cell>, kSplit, Exchange, Block, kTwo>::Type second(
      block, args.weight_hh, size.steps);
  __syncthreads();
  Exchange::begin();

  // Operands of phase n come from the states before step n. Before the first step, which is step -1
  // here, nothing is multiplied; one loop has both, as the product's code is long.
  int turn = 0;
  for (int step = -1; step < size.steps; ++step) {
    const int t = size.step(max(step, 0));
    const auto operand = [&](int o) { return arrays.operand(o, size.before(t)); };
    const auto publish = [&](int unit, int row, const auto& compute) {
      const int slot = step < 0 ? size.before(t) : size.after(t);
      hand_on<info.operands>(
          block, first.exchange(), step + 1, unit, row,
          [&](int o, int b) { return arrays.operand(o, slot) + size.row(b); }, compute);
    };
    for (int row = 0; row < block.rows; row += kMmaRows)
      first.run(step, row, turn++, operand, size.hidden, [&](int unit, auto& sums) {
        if constexpr (kTwo) {
          if (step < 0)
            return publish(unit, row, [&](int b, int, Operands& operands) {
              element.begin(b, unit, operands);
            });
          hand_on<1>(
              block, second.exchange(), step, unit, row,
              [&](int, int b) { return arrays.second(t) + size.row(b); },
              [&](int b, int j, auto& q) { element.first({t, b, unit}, sums[j], q[0]); });
        } else {
          publish(unit, row, [&](int b, int j, Operands& operands) {
            if (step < 0)
              element.begin(b, unit, operands);
            else
              element.step({t, b, unit}, sums[j], operands);
          });
        }
      });
    if constexpr (kTwo) {
      if (step < 0) continue;
      for (int row = 0; row < block.rows; row += kMmaRows)
        second.run(
            step, row, turn++, [&](int) { return arrays.second(t); }, size.hidden,
            [&](int unit, auto& sums) {
              publish(unit, row, [&](int b, int j, Operands& operands) {
                element.second({t, b, unit}, sums[j], operands);
              });
            });
    }
  }
  __syncthreads();
  const int units = block.slice.end - block.slice.first;
  for (int i = threadIdx.x; i < units * block.rows; i += kThreads)
    element.end(block.first_row + i / units, block.slice.first + i % units);
}

template <class Cell, bool kSplit, class Exchange>
RNNFAST_DEVICE void backward_mma(const BackwardArgs& args, GridShape shape, unsigned char* memory) {
  constexpr CellInfo info = Cell::info;
  constexpr bool kTwo = Cell::info.second_gates > 0;
  using Block = MmaBlock<Cell, true, kSplit>;
  using Element = BackwardElement<Cell>;
  const CallSize& size = args.size;
  const Block block(size, shape, memory);
  const Element element{args};
  const BackwardArrays<Cell> arrays{args};
  typename ProductOf<BackwardFirst<Cell>, kSplit, Exchange, Block, true>::Type first(
      block, args.weight_hh, size.steps);
  typename ProductOf<BackwardSecond<Cell>, kSplit, Exchange, Block, kTwo>::Type second(
      block, args.weight_hh, size.steps);
  __syncthreads();
  Exchange::begin();

  // The gradients of gates [kFirst, kFirst + kCount) in step t.
  const auto publish = [&]<int kFirst, int kCount>(const auto& exchange, int phase, int t, int unit,
                                                   int row, const auto& compute) {
    hand_on<kCount>(
        block, exchange, phase, unit, row,
        [&](int g, int b) { return arrays.gate(kFirst + g, t) + b * arrays.stride(); },
        [&](int b, int j, auto& values) {
          typename Element::Gates dh;
          compute(b, j, dh);
#pragma unroll
          for (int g = 0; g < kCount; ++g) values[g] = dh[kFirst + g];
        });
  };
  // Phase n is that of the n-th step from the end.
  const auto differentiate = [&](int phase, int unit, int row, const auto& sums) {
    const int t = size.step(size.steps - 1 - phase);
    const auto compute = [&](int b, int j, auto& dh) {
      if (phase == 0) element.begin(b, unit);
      element.step({t, b, unit}, sums[j], dh);
    };
    if constexpr (kTwo)
      publish.template operator()<info.h_gates(), info.second_gates>(second.exchange(), phase, t,
                                                                     unit, row, compute);
    else
      publish.template operator()<0, info.gates>(first.exchange(), phase, t, unit, row, compute);
  };
  int turn = 0;
  for (int phase = 0; phase <= size.steps; ++phase) {
    const int later = size.step(min(size.steps - phase, size.steps - 1));
    for (int row = 0; row < block.rows; row += kMmaRows)
      first.run(
          phase - 1, row, turn++, [&](int gate) { return arrays.gate(gate, later); },
          arrays.stride(),
          [&](int unit, auto& sums) {
            if (phase < size.steps) return differentiate(phase, unit, row, sums);
#pragma unroll
            for (int j = 0; j < 2; ++j)
              if (unit < block.slice.end && row + lane_row(j) < block.rows)
                element.end(block.first_row + row + lane_row(j), unit, sums[j]);
          });
    if constexpr (kTwo) {
      if (phase == size.steps) break;
      const int t = size.step(size.steps - 1 - phase);
      for (int row = 0; row < block.rows; row += kMmaRows)
        second.run(
            phase, row, turn++, [&](int gate) { return arrays.gate(info.h_gates() + gate, t); },
            arrays.stride(),
            [&](int unit, auto& sums) {
              publish.template operator()<0, info.h_gates()>(
                  first.exchange(), phase, t, unit, row,
                  [&](int b, int j, auto& dh) { element.second({t, b, unit}, sums[j][0], dh); });
            });
    }
  }
}

}  // namespace rnnfast::cuda
