#include "rnn/groups.h"

#include <algorithm>

#include "core/threads.h"
#include "rnn/wave.h"

namespace rnnfast {
namespace {

// Use one thread per kFlopsPerThread operations, or per kBytesPerThread of weights, because more
// cores have more bandwidth and cache. If threads meet at every step, each thread also needs
// kFlopsPerMeeting operations per step.
constexpr double kFlopsPerThread = 3e6;
constexpr double kBytesPerThread = 1 << 20;
constexpr double kFlopsPerMeeting = 25e3;

// Up to this many operations per step, threads work in groups, which meet less often than the whole
// team would, or never, and keep the weights of one layer and direction in their caches. With more,
// meetings hardly cost time, and a scratch for each group costs memory.
constexpr double kFlopsInGroups = 1e6;

int at_most_all(double threads) { return int(std::clamp(threads, 1., double(num_threads()))); }

// The number of values in the weight matrices.
double weight_count(const NetworkSize& s) {
  double weights = 0;
  for (Index i = 0; i < s.cells(); ++i) {
    const WeightShapes shapes = s.weight_shapes(i);
    for (const WeightShape& shape : {shapes.weight_ih, shapes.weight_hh, shapes.weight_hr})
      weights += double(shape.count());
  }
  return weights;
}

// Operations of the recurrent products in a step of some sequences.
double step_flops(const NetworkSize& s, Index sequences) {
  const WeightShapes shapes = s.weight_shapes(0);
  return 2. * double(sequences) * double(shapes.weight_hh.count() + shapes.weight_hr.count());
}

// Divides at most `most` threads among the layers of a wave, if it is faster than all threads on
// one layer after the other: a layer by itself is worth no more than `worth` threads.
Groups divide(Index layers, int most, double worth) {
  const int whole = int(std::clamp(worth, 1., double(most)));
  const Index rounds = (layers + most - 1) / most, count = (layers + rounds - 1) / rounds;
  const int each = int(std::min(std::max(1., worth), double(most / count)));
  if (rounds * whole >= layers * each) return {whole, 1};
  return {int(each * count), int(count)};
}

}  // namespace

double network_work(const NetworkSize& size) {
  return weight_count(size) * double(size.seq_len) * double(size.batch);
}

int packing_threads(std::size_t bytes) { return at_most_all(double(bytes) / kBytesPerThread); }

template <class T>
Groups network_groups(const NetworkSize& s, Index rows, Index sequences, double passes) {
  const double weights = weight_count(s);
  const double bytes = s.precision == Precision::int8 ? 1 : sizeof(T);  // of a weight
  const double work = std::max(2. * double(rows) * passes * weights / kFlopsPerThread,
                               passes * weights * bytes / kBytesPerThread);
  const double step = step_flops(s, sequences);
  // Without recurrent products threads never meet.
  const double worth = step ? std::max(1., step / kFlopsPerMeeting) : work;
  if (step > kFlopsInGroups) return {at_most_all(std::min(work, worth)), 1};
  if (s.num_directions == 1)
    return divide(wave_layers(s, rows, sequences), at_most_all(work), worth);
  const int half = at_most_all(std::min(work, 2 * worth)) / 2;
  return half ? Groups{2 * half, 2} : Groups{1, 1};
}

template Groups network_groups<float>(const NetworkSize&, Index, Index, double);
template Groups network_groups<double>(const NetworkSize&, Index, Index, double);

}  // namespace rnnfast
