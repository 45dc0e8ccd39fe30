#pragma once
// The drivers of the kernels on tensor cores. The blocks of a sub-batch share its hidden units
// (blockIdx.x: slice of units, blockIdx.y: sub-batch), keep their weights on the chip, and pass
// operands to each other through an Exchange, without a grid-wide barrier.

#include "cuda/element.cuh"
#include "cuda/exchange.cuh"
#include "cuda/global_arrays.cuh"
#include "cuda/mma_product.cuh"

namespace rnnfast::cuda {

// A block's share of the work, and its shared memory.
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

  // The weights of the n-th stage that has products.
  RNNFAST_DEVICE uint4* weights(int n) const {
    return reinterpret_cast<uint4*>(memory + sizes.weights_at[n]);
  }
  template <class SlabProduct>
  RNNFAST_DEVICE SlabBuffers slabs(int n) const {
    return {reinterpret_cast<uint32_t*>(memory + sizes.slabs_at[n]), SlabProduct::kSlabs, kParts,
            mma_stride(slice.hidden)};
  }
  RNNFAST_DEVICE uint64_t* barriers(int n) const {
    return reinterpret_cast<uint64_t*>(memory + sizes.barriers_at(n));
  }
  RNNFAST_DEVICE float* partial(int turn) const {
    return reinterpret_cast<float*>(memory + sizes.used + (turn & 1) * sizes.partial / 2);
  }
  RNNFAST_DEVICE static MmaMemory sizes_of(int units, int hidden) {
    MmaMemory sizes;
    for_each_index<Cell::info.size() - Cell::info.first()>([&]<int n>() {
      constexpr int kStage = Cell::info.first() + n;
      sizes.add(n, kMultiplied<Cell, kStage>.sums, kMultiplied<Cell, kStage>.slabs, kBackward,
                units, hidden, kParts);
    });
    return sizes;
  }
  // The units that all slices together send per row.
  RNNFAST_DEVICE int sent_units() const {
    return min(int(gridDim.x) * units, mma_depth(slice.hidden));
  }
};

// The rows of the lane's two sequences, of the 8 that a product computes at once.
RNNFAST_DEVICE int lane_row(int j) { return int(threadIdx.x) % 4 * 2 + j; }

// A stage's product, with its weights and the exchange of its operands.
template <class Layout, class ExchangeType, class Block>
class MmaProduct {
 public:
  using SlabProduct = typename Layout::SlabProduct;
  using Exchange = ExchangeType;

  RNNFAST_DEVICE MmaProduct(const Block& block, int n, const float* weight_hh, int steps)
      : block_(block),
        role_(MmaRole::of<Layout>(block.units, block.slice.hidden)),
        weights_(role_, block.slice, weight_hh, block.weights(n)),
        exchange_(block.template slabs<SlabProduct>(n), block.barriers(n), steps,
                  block.sent_units()) {
    exchange_.buffers.clear();
  }

  // Visits 8 sequences, from row `row` of the sub-batch on, with the sums of a phase, as
  // mma_product does. Phase -1, which nobody sends, has zero sums. `source(slab)` is a slab's
  // address in device memory.
  template <class Source, class Visit>
  RNNFAST_DEVICE void run(int phase, int row, int turn, const Source& source, Index stride,
                          const Visit& visit) {
    const auto rows = [&](int slab) { return source(slab) + (block_.first_row + row) * stride; };
    if (phase >= 0)
      exchange_.receive(phase, turn, role_.idle(), rows, stride, min(kMmaRows, block_.rows - row),
                        block_.slice.hidden);
    const auto slab = [&](int i, int part) { return exchange_.slab(phase, turn, i, part); };
    mma_product(role_, weights_, block_.slice, phase >= 0, slab, exchange_.buffers.stride,
                block_.partial(turn), visit);
  }
  RNNFAST_DEVICE const Exchange& exchange() const { return exchange_; }

 private:
  const Block& block_;
  MmaRole role_;
  MmaWeights<Layout> weights_;
  Exchange exchange_;
};

// The products of all stages from kStage on.
template <class Cell, bool kBackward, bool kSplit, class Exchange, class Block, int kStage>
class StageProducts {
  template <int kOther>
  using SlabProduct = std::conditional_t<kBackward, BackwardSlabProduct<Cell, kOther>,
                                         ForwardSlabProduct<Cell, kOther>>;
  struct None {
    RNNFAST_DEVICE None(const Block&, const float*, int) {}
  };
  static constexpr bool kIsLast = kStage == Cell::info.last();
  template <int kNext>
  using From = StageProducts<Cell, kBackward, kSplit, Exchange, Block, kNext>;

 public:
  RNNFAST_DEVICE StageProducts(const Block& block, const float* weight_hh, int steps)
      : product_(block, kStage - Cell::info.first(), weight_hh, steps),
        later_(block, weight_hh, steps) {}

  template <int kOther>
  RNNFAST_DEVICE auto& of() {
    if constexpr (kOther == kStage)
      return product_;
    else
      return later_.template of<kOther>();
  }

 private:
  MmaProduct<MmaLayout<SlabProduct<kStage>, kSplit>, Exchange, Block> product_;
  std::conditional_t<kIsLast, None, From<kIsLast ? kStage : kStage + 1>> later_;
};

// Calls compute(b, values) for those of the lane's sequences that exist, stores value i at
// target(i, b), and passes both sequences' values to send<i>.
template <int kCount, class Exchange, class Block, class Target, class Compute, class Send>
RNNFAST_DEVICE void pass_on(const Block& block, int unit, int row, const Target& target,
                            const Compute& compute, const Send& send) {
  float sent[at_least_one(kCount)][2] = {};
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    if (unit >= block.slice.end || row + lane_row(j) >= block.rows) continue;
    const int b = block.first_row + row + lane_row(j);
    Scalar values[at_least_one(kCount)];
    compute(b, j, values);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      Exchange::store(target(i, b) + unit, values[i].value);
      sent[i][j] = values[i].value;
    }
  }
  for_each_index<kCount>([&]<int i>() { send.template operator()<i>(sent[i]); });
}

template <class Cell, bool kSplit, class Exchange>
RNNFAST_DEVICE void forward_mma(const ForwardArgs& args, GridShape shape, unsigned char* memory) {
  constexpr CellInfo info = Cell::info;
  constexpr int kFirst = info.first(), kLast = info.last();
  static_assert(always_multiplies(info), "a plan has this kernel for no other cell");
  using Block = MmaBlock<Cell, false, kSplit>;
  using Element = ForwardElement<Cell>;
  const CallSize& size = args.size;
  const Block block(size, shape, memory);
  const Element element{args};
  const ForwardArrays<Cell> arrays{args};
  StageProducts<Cell, false, kSplit, Exchange, Block, kFirst> products(block, args.weight_hh,
                                                                       size.steps);
  __syncthreads();
  Exchange::begin();

  // Operands of phase n come from the states before step n. Step -1, before the first one,
  // multiplies nothing; it shares the loop because the product's code is long.
  int turn = 0;
  for (int step = -1; step < size.steps; ++step) {
    const int t = size.step(max(step, 0));
    // Later stages multiply what a stage passes on; for the last stage, those of the next step.
    const auto publish = [&]<int kStage>(int unit, int row, const auto& compute) {
      constexpr bool is_last = kStage == kLast;
      constexpr int kNumber = kFirstPassedOn<Cell, kStage>;
      const int at = !is_last ? t : step < 0 ? size.before(t) : size.after(t);
      pass_on<kPassedOn<Cell, kStage>, Exchange>(
          block, unit, row,
          [&](int i, int b) { return arrays.operand(kNumber + i, at) + size.row(b); }, compute,
          [&]<int i>(const float (&values)[2]) {
            for_each_index<info.size() - kFirst>([&]<int n>() {
              constexpr int kSlab = kMultiplied<Cell, kFirst + n>.slab_of(kNumber + i);
              if constexpr (kSlab >= 0)
                products.template of<kFirst + n>().exchange().send(is_last ? step + 1 : step, kSlab,
                                                                   unit, values);
            });
          });
    };
    for_each_index<info.size() - kFirst>([&]<int n>() {
      constexpr int kStage = kFirst + n;
      if (n > 0 && step < 0) return;
      const auto source = [&](int i) { return arrays.template slab<kStage>(i, t); };
      for (int row = 0; row < block.rows; row += kMmaRows)
        products.template of<kStage>().run(
            step, row, turn++, source, size.hidden, [&](int unit, auto& sums) {
              const auto begin = [&](int b, int, auto& operands) {
                element.begin(b, unit, operands);
              };
              if constexpr (n == 0 && kStage != kLast)
                if (step < 0) return publish.template operator()<kLast>(unit, row, begin);
              publish.template operator()<kStage>(unit, row, [&](int b, int j, auto& operands) {
                if constexpr (n == 0 && kStage == kLast)
                  if (step < 0) return begin(b, j, operands);
                element.template step<kStage>({t, b, unit}, sums[j], operands);
              });
            });
    });
  }
  __syncthreads();
  const int units = block.slice.end - block.slice.first;
  for (int i = threadIdx.x; i < units * block.rows; i += kThreads)
    element.end(block.first_row + i / units, block.slice.first + i % units);
}

template <class Cell, bool kSplit, class Exchange>
RNNFAST_DEVICE void backward_mma(const BackwardArgs& args, GridShape shape, unsigned char* memory) {
  constexpr CellInfo info = Cell::info;
  constexpr int kFirst = info.first(), kLast = info.last();
  static_assert(always_multiplies(info), "a plan has this kernel for no other cell");
  using Block = MmaBlock<Cell, true, kSplit>;
  using Element = BackwardElement<Cell>;
  const CallSize& size = args.size;
  const Block block(size, shape, memory);
  const Element element{args};
  const BackwardArrays<Cell> arrays{args};
  StageProducts<Cell, true, kSplit, Exchange, Block, kFirst> products(block, args.weight_hh,
                                                                      size.steps);
  __syncthreads();
  Exchange::begin();

  // Computes the gradients of a stage's gates in the step of a phase, the phase-th from the end.
  // `sums` are the gradients of what the stage passed on.
  const auto differentiate = [&]<int kStage>(int phase, int unit, int row, const auto& sums) {
    const int t = size.step(size.steps - 1 - phase);
    const auto& exchange = products.template of<kStage>().exchange();
    pass_on<kMultiplied<Cell, kStage>.sums, Exchange>(
        block, unit, row,
        [&](int g, int b) { return arrays.template gate<kStage>(g, t) + b * arrays.stride(); },
        [&](int b, int j, auto& dh) {
          if (kStage == kLast && phase == 0) element.begin(b, unit);
          element.template step<kStage>({t, b, unit}, sums[j], dh);
        },
        [&]<int i>(const float (&values)[2]) { exchange.send(phase, i, unit, values); });
  };
  int turn = 0;
  for (int phase = 0; phase <= size.steps; ++phase) {
    const int later = size.step(min(size.steps - phase, size.steps - 1));
    for (int row = 0; row < block.rows; row += kMmaRows)
      products.template of<kFirst>().run(
          phase - 1, row, turn++,
          [&](int gate) { return arrays.template gate<kFirst>(gate, later); }, arrays.stride(),
          [&](int unit, auto& sums) {
            if (phase < size.steps)
              return differentiate.template operator()<kLast>(phase, unit, row, sums);
#pragma unroll
            for (int j = 0; j < 2; ++j)
              if (unit < block.slice.end && row + lane_row(j) < block.rows)
                element.end(block.first_row + row + lane_row(j), unit, sums[j]);
          });
    if (phase == size.steps) break;
    const int t = size.step(size.steps - 1 - phase);
    for_each_index<kLast - kFirst>([&]<int n>() {
      constexpr int kStage = kLast - n;  // the previous stage computed its operands
      for (int row = 0; row < block.rows; row += kMmaRows)
        products.template of<kStage>().run(
            phase, row, turn++, [&](int gate) { return arrays.template gate<kStage>(gate, t); },
            arrays.stride(),
            [&](int unit, auto& sums) {
              differentiate.template operator()<kStage - 1>(phase, unit, row, sums);
            });
    });
  }
}

// On devices too old for the exchange, these kernels compile to nothing, and no plan picks them.
// __launch_bounds__(.., 1) lets the compiler use all registers; otherwise it spills to fit more
// blocks.
template <class Cell, bool kSplit, class Exchange>
__global__ void __launch_bounds__(kThreads, 1)
    forward_mma_kernel(ForwardArgs args, GridShape shape) {
  RNNFAST_DYNAMIC_SHARED(memory);
  if constexpr (compiled_for(Exchange::kCapability))
    forward_mma<Cell, kSplit, Exchange>(args, shape, memory);
}
template <class Cell, bool kSplit, class Exchange>
__global__ void __launch_bounds__(kThreads, 1)
    backward_mma_kernel(BackwardArgs args, GridShape shape) {
  RNNFAST_DYNAMIC_SHARED(memory);
  if constexpr (compiled_for(Exchange::kCapability))
    backward_mma<Cell, kSplit, Exchange>(args, shape, memory);
}

}  // namespace rnnfast::cuda
