#pragma once
// Connectionist temporal classification of one sequence: Graves et al. 2006, "Connectionist
// temporal classification: labelling unsegmented sequence data with recurrent neural networks".
//
// Labels 1 ... S are interleaved with blanks 0 ... S; blank k follows label k. The sum over
// alignments is computed from
//   alpha(blank k) = (alpha(blank k) + alpha(label k)) p(blank)
//   alpha(label k) = (alpha(label k) + alpha(blank k-1) + alpha(label k-1)) p(label k)
// from step to step, with the last term only where labels k-1 and k differ. The posterior
// probability of a state also needs the same sums from the end. All of them are `Wide` numbers of
// double, whatever the logits' type.

#include "cpu/dense_table.h"
#include "cpu/softmax.h"
#include "cpu/wide.h"

namespace RNNFAST_ISA_NAMESPACE {

template <class T>
class Ctc {
 public:
  Ctc(const CtcArgs<T>& args, double* workspace)
      : a_(args), pitch_(pitch(args.labels)), place_(workspace) {
    skips_ = take(pitch_);
    posteriors_ = take(pitch_);
    beta_ = take(kEmission * pitch_);
    rows_ = take((a_.steps + 1) * kParts * pitch_);
    sums_ = take(a_.steps);
    classes_ = take(a_.classes);
  }

  // The size in doubles.
  static Index workspace(Index steps, Index labels, Index classes) {
    return pitch(labels) * (2 + kEmission + (steps + 1) * kParts) + steps + classes;
  }

  // Returns the loss and writes all rows of its gradient times the scale.
  double run() {
    set_skips();
    set_start(row(0), 0);
    for (Index t = 0; t < a_.steps; ++t) {
      set_emissions(t);
      forward(t);
    }
    const Wide total =
        load(row(a_.steps), kBlank, a_.labels) + load(row(a_.steps), kLabel, a_.labels);
    const double m = total.m.v[0], e = total.e.v[0];
    constexpr double kLog2 = 0.693147180559945309417;
    double loss = e < kNever / 2 ? __builtin_inf() : 0 - (__builtin_log(m) + e * kLog2);
    const bool spared = a_.zero_infinity && loss == __builtin_inf();
    if (spared) loss = 0;
    if (spared || e < kNever / 2 || e != e) {
      fill(0, a_.steps, T(spared ? 0 : __builtin_nan("")));
    } else {
      set_start(beta_, a_.labels);
      for (Index t = a_.steps - 1; t >= 0; --t) {
        backward(t, 1 / m, e);
        set_gradient(t);
      }
    }
    fill(a_.steps, a_.all_steps, T(0));
    return loss;
  }

 private:
  using V = Vec<double>;
  static constexpr int kWidth = kLanes<double>;
  // The parts of a step's row: the states and the emission probabilities of the labels, each as two
  // arrays, m and e. The blank's probability is stored as that of label 0.
  enum Part { kBlank = 0, kLabel = 2, kEmission = 4, kParts = 6 };

  // Indices -1 ... labels, padded to whole vectors, and one more vector that reads run into.
  static Index pitch(Index labels) { return kWidth + (labels / kWidth + 1) * kWidth + kWidth; }

  double* take(Index count) {
    double* at = place_;
    place_ += count;
    return at;
  }
  double* row(Index t) const { return rows_ + t * kParts * pitch_; }
  double* place(double* row, int part, Index k) const { return row + part * pitch_ + kWidth + k; }
  Wide load(double* row, int part, Index k) const {
    const double* m = place(row, part, k);
    return {V::load(m), V::load(m + pitch_)};
  }
  void store(Wide x, double* row, int part, Index k) const {
    double* m = place(row, part, k);
    x.m.store(m);
    x.e.store(m + pitch_);
  }
  // Sets all entries to zero probability.
  void clear(double* row, int part) const {
    double* m = row + part * pitch_;
    for (Index i = 0; i < pitch_; ++i) {
      m[i] = 1;
      m[pitch_ + i] = kNever;
    }
  }

  // Sets the entry before the first blank or label to zero probability.
  void set_before(double* row, int part) const {
    double* m = place(row, part, -1);
    m[0] = 1;
    m[pitch_] = kNever;
  }

  // Sets the states before the first step or after the last one: blank k with probability 1.
  void set_start(double* row, Index k) const {
    clear(row, kBlank);
    clear(row, kLabel);
    *(place(row, kBlank, k) + pitch_) = 0;
  }

  // Sets the exponents of the factor of the transition from label k-1 to label k: 1, or 0 if the
  // labels are equal.
  void set_skips() const {
    for (Index i = 0; i < pitch_; ++i) skips_[i] = kNever;
    for (Index k = 2; k <= a_.labels; ++k)
      if (a_.targets[k - 1] != a_.targets[k - 2]) skips_[kWidth + k] = 0;
  }

  // Writes the step's softmax, not yet divided by its sum, to the gradient's row, and the
  // probabilities of the labels to the step's row.
  void set_emissions(Index t) const {
    const T* x = a_.logits + t * a_.stride;
    const Row<T> logits{x, a_.classes};
    const T max = maximum(logits);
    sums_[t] = exp_sum<true>(logits, max, a_.dlogits + t * a_.stride);
    const double log_sum = __builtin_log(sums_[t]);
    double* to = row(t + 1);
    double* p = place(to, kEmission, 0);
    for (Index k = 0; k <= a_.labels; ++k) {
      const double log_p = (double(x[label(k)]) - double(max)) - log_sum;
      p[k] = log_p < kNever ? kNever : log_p;  // NaN stays
    }
    for (Index k = a_.labels + 1; k < end(); ++k) p[k] = kNever;
    for (Index k = 0; k < end(); k += kWidth) store(wide_exp(V::load(p + k)), to, kEmission, k);
  }
  Index label(Index k) const { return k ? a_.targets[k - 1] : a_.blank; }
  Index end() const { return (a_.labels / kWidth + 1) * kWidth; }

  Wide blank_emission(double* row) const {
    const double* m = place(row, kEmission, 0);
    return {V(m[0]), V(m[pitch_])};
  }
  Wide skipping(Wide label, Index k) const {
    return {label.m, label.e + V::load(skips_ + kWidth + k)};
  }

  void forward(Index t) const {
    double* from = row(t);
    double* to = row(t + 1);
    const Wide p_blank = blank_emission(to);
    set_before(to, kBlank);
    set_before(to, kLabel);
    for (Index k = 0; k < end(); k += kWidth) {
      const Wide blank = load(from, kBlank, k), label = load(from, kLabel, k);
      const Wide before = load(from, kBlank, k - 1), skipped = load(from, kLabel, k - 1);
      store((blank + label) * p_blank, to, kBlank, k);
      store(sum(label, before, skipping(skipped, k)) * load(to, kEmission, k), to, kLabel, k);
    }
  }

  // Turns beta from the sums from step t+1 on, with their probabilities, into those from step t on.
  // Leaves the posteriors of the labels, by index, and of the blank.
  void backward(Index t, double inverse_m, double e) const {
    double* alpha = row(t + 1);
    const Wide p_blank = blank_emission(alpha);
    const auto posterior = [&](Wide a, Wide b) {
      return a.m * b.m * V(inverse_m) * power_of_two(a.e + b.e - V(e));
    };
    V blanks(0);
    for (Index k = 0; k < end(); k += kWidth) {
      const Wide blank = load(beta_, kBlank, k), label = load(beta_, kLabel, k);
      const Wide next = load(beta_, kLabel, k + 1);
      const Wide of_blank = blank + next;
      const Wide of_label = sum(label, blank, skipping(next, k + 1));
      blanks = blanks + posterior(load(alpha, kBlank, k), of_blank);
      posterior(load(alpha, kLabel, k), of_label).store(posteriors_ + k);
      store(of_blank * p_blank, beta_, kBlank, k);
      store(of_label * load(alpha, kEmission, k), beta_, kLabel, k);
    }
    posteriors_[0] = lane_sum(blanks);
  }

  // Computes softmax - posterior probability of each class, times the scale.
  void set_gradient(Index t) const {
    T* dx = a_.dlogits + t * a_.stride;
    for (Index c = 0; c < a_.classes; ++c) classes_[c] = 0;
    for (Index k = 0; k <= a_.labels; ++k) classes_[label(k)] += posteriors_[k];
    const double factor = a_.scale / sums_[t], scale = a_.scale;
    for (Index c = 0; c < a_.classes; ++c) dx[c] = T(factor * dx[c] - scale * classes_[c]);
  }

  void fill(Index begin, Index end, T value) const {
    for (Index t = begin; t < end; ++t)
      for (Index c = 0; c < a_.classes; ++c) a_.dlogits[t * a_.stride + c] = value;
  }

  const CtcArgs<T> a_;
  const Index pitch_;
  double* place_;
  double *skips_, *posteriors_, *beta_, *rows_, *sums_, *classes_;
};

}  // namespace RNNFAST_ISA_NAMESPACE
