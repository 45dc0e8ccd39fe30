"""The faults that mutants.py plants in the CPU engine, besides barriers that are left out."""

from __future__ import annotations

# A file, a text that occurs in it once, and what replaces it in the fault; `@` stands for whether
# the fault is planted.
CHANGES = [
    (
        "cpu/layout.h",
        "before < 0 ? 0 : min_index(rows.count(t), rows.count(before))",
        "before < 0 ? 0 : @ ? rows.count(t) : min_index(rows.count(t), rows.count(before))",
    ),
    ("cpu/layout.h", "t + 1 < rows.steps ? t + 1 : -1", "t + 1 < rows.steps - @ ? t + 1 : -1"),
    ("cpu/layout.h", "if (step < 0) c.row =", "if (step < 0 && !@) c.row ="),
    (
        "cpu/layout.h",
        "if (thread == threads - 1) mine.end = rows.batch;",
        "if (thread == threads - 1 && !@) mine.end = rows.batch;",
    ),
    (
        "cpu/layout.h",
        "int(max_index(0, min_index(W, hidden - vector * W)))",
        "@ ? W : int(max_index(0, min_index(W, hidden - vector * W)))",
    ),
    (
        "cpu/layout.h",
        "from[rows.order[r] * hidden + j]",
        "from[(@ ? r : rows.order[r]) * hidden + j]",
    ),
    (
        "cpu/layout.h",
        "from ? from + rows.order[r] * hidden + unit",
        "from ? from + (@ ? r : rows.order[r]) * hidden + unit",
    ),
    (
        "cpu/forward.h",
        "rows_.steps > 1 || !args_.part.last || args_.initial[0]",
        "rows_.steps > 1 || !args_.part.last || (args_.initial[0] && !@)",
    ),
    (
        "cpu/forward.h",
        "(initial ? 0 : 1 + (t & 1)) * rows_.batch * h_row_",
        "(initial ? 0 : 1 + (t & 1 & !@)) * rows_.batch * h_row_",
    ),
    (
        "cpu/forward.h",
        "return (initial ? 0 : 1 + (t & 1)) * rows_.batch + r;",
        "return (initial ? 0 : 1 + (t & 1 & !@)) * rows_.batch + r;",
    ),
    (
        "cpu/forward.h",
        "range.initial && are_zero(rows, stride, range)",
        "range.initial && (@ || are_zero(rows, stride, range))",
    ),
    (
        "cpu/forward.h",
        "args_.size.reverse ? 0 : length - 1",
        "args_.size.reverse && !@ ? 0 : length - 1",
    ),
    ("cpu/forward.h", "state_row(last, r, length == 0)", "state_row(last, r, length == 0 && !@)"),
    (
        "cpu/forward.h",
        "args_.final[0] + rows_.order[r] * R_",
        "args_.final[0] + (@ ? r : rows_.order[r]) * R_",
    ),
    ("cpu/forward.h", "|| noise_.any()) return 1;", "|| (noise_.any() && !@)) return 1;"),
    (
        "cpu/forward.h",
        "rows_.count(order.previous(t)) == count)",
        "(@ || rows_.count(order.previous(t)) == count))",
    ),
    (
        "cpu/forward.h",
        "args_.recomputing ? nullptr : all.h",
        "args_.recomputing && !@ ? nullptr : all.h",
    ),
    (
        "cpu/forward.h",
        "if (!args_.recomputing) store_final();",
        "if (!args_.recomputing || @) store_final();",
    ),
    ("cpu/gemm.h", "if (args.add) sum =", "if (args.add && !@) sum ="),
    (
        "cpu/gemm.h",
        "const int last = args.columns - (kVectors - 1) * W;",
        "const int last = @ ? W : args.columns - (kVectors - 1) * W;",
    ),
    (
        "cpu/gemm.h",
        "args.bias ? V::load(args.bias + v * W)",
        "args.bias && !@ ? V::load(args.bias + v * W)",
    ),
    (
        "cpu/gradient_product.h",
        ".add = args_.add || depth_ > 0",
        ".add = args_.add || (depth_ > 0 && !@)",
    ),
    ("cpu/pack.h", "value = add ? value + sum : sum", "value = add && !@ ? value + sum : sum"),
    (
        "cpu/pack.h",
        "if (add) rows[j] += Vec<T>::load(row).v;",
        "if (add && !@) rows[j] += Vec<T>::load(row).v;",
    ),
    (
        "cpu/backward.h",
        "has_later ? order_.continued(later) : 0",
        "has_later ? (@ ? count : order_.continued(later)) : 0",
    ),
    (
        "cpu/backward.h",
        "if (has_later) leave(later, continuing);",
        "if (has_later && !@) leave(later, continuing);",
    ),
    (
        "cpu/backward.h",
        "if (rows_.steps) leave(t - step, 0);",
        "if (rows_.steps && !@) leave(t - step, 0);",
    ),
    ("cpu/backward.h", "clear_padding(work_.dh[1]);", "if (!@) clear_padding(work_.dh[1]);"),
    ("cpu/weight_gradient.h", "empty_ = false;", "empty_ = @;"),
    ("cpu/weight_gradient.h", "if (empty_) clear();", "if (empty_ && !@) clear();"),
    (
        "cpu/weight_gradient.h",
        "r + 1 < chunk.rows ? F::load(second) : zero",
        "r + 1 < chunk.rows || @ ? F::load(second) : zero",
    ),
    (
        "cpu/weight_gradient.h",
        "add(work_.h0 + continuing * R_, R_, rows_.count(t) - continuing);",
        "add(work_.h0 + (@ ? 0 : continuing * R_), R_, rows_.count(t) - continuing);",
    ),
    ("cpu/weight_gradient.h", "chunk.rows * l_.block_rows)", "(chunk.rows << @) * l_.block_rows)"),
    (
        "cpu/weight_gradient.h",
        "for_blocks(deep, kGradientDepth / F::kStep,",
        "for_blocks(deep, (kGradientDepth >> (@ && team_.size > 1)) / F::kStep,",
    ),
    ("cpu/input_gradient.h", "if (args_.add_dx) value =", "if (args_.add_dx && !@) value ="),
    ("cpu/drop.h", "skip = (first + i) % kBlock", "skip = @ ? 0 : (first + i) % kBlock"),
    ("cpu/drop.h", "d.words(block + k, four);", "d.words(@ ? block : block + k, four);"),
    ("core/dropout.h", "words[2] = layer;", "words[2] = @ ? 0 : layer;"),
    (
        "core/dropout.h",
        "words[1] = unsigned(block >> 32);",
        "words[1] = @ ? 0 : unsigned(block >> 32);",
    ),
    (
        "core/dropout.h",
        "word < threshold ? T(0) : x * scale",
        "word < threshold ? T(0) : @ ? x : x * scale",
    ),
    ("core/noise.h", "return sequence << 34;", "return sequence << (@ ? 2 : 34);"),
    ("core/noise.h", "cell << 4 | kind", "@ ? kind : cell << 4 | kind"),
    ("cpu/noise.h", "l_.opening_values > 0) {  // redo", "l_.opening_values > @) {  // redo"),
    ("cpu/noise.h", "if (splits) join_gradients(b);", "if (splits && !@) join_gradients(b);"),
    (
        "cpu/noise.h",
        "b.product = nullptr, b.dy = nullptr;",
        "b.product = nullptr; if (!@) b.dy = nullptr;",
    ),
    (
        "rnn/episode_states.cpp",
        "s.has_reset_state ? callers + s.batch * width : nullptr",
        "s.has_reset_state && !@ ? callers + s.batch * width : nullptr",
    ),
    ("rnn/episode_states.cpp", "if (e.final) std::copy_n", "if (e.final || @) std::copy_n"),
    (
        "rnn/episode_states.cpp",
        "std::transform(row, row + width, sum,",
        "std::transform(row, row + width, @ ? row : sum,",
    ),
    ("rnn/packed_batch.cpp", "start == 0 && !discards", "start == 0 && (@ || !discards)"),
    (
        "rnn/packed_batch.cpp",
        "std::fill_n(padded + p * width, width, T(0));",
        "if (!@) std::fill_n(padded + p * width, width, T(0));",
    ),
    (
        "rnn/masks.cpp",
        "noise_cell(layer, 0), kInputDropout",
        "noise_cell(@ ? 0 : layer, 0), kInputDropout",
    ),
    (
        "core/optimiser.h",
        "v = buffers[1] = beta2 * buffers[1]",
        "v = buffers[1] = (@ ? T(1) : beta2) * buffers[1]",
    ),
    (
        "cpu/softmax.h",
        "n ? Vec<T>::load(x + i, n).v : Vec<T>(T(-__builtin_inf())).v",
        "n ? Vec<T>::load(x + i, n).v : Vec<T>(T(@ ? 0 : -__builtin_inf())).v",
    ),
    ("cpu/softmax.h", "m = larger(row.load(i).v, m)", "m = @ ? m : larger(row.load(i).v, m)"),
]

# Faults that nothing notices, by what they do, with the reason why that is correct.
UNNOTICED: dict[str, str] = {
    "cpu/forward.h: return (initial ? 0 : 1 + (t & 1)) * rows_.batch + r; -> return (initial ? 0 : "
    "1 + (t & 1 & !fault)) * rows_.batch + r;": "a step reads a state before the next one takes "
    "its place",
    "cpu/forward.h: args_.recomputing ? nullptr : all.h -> args_.recomputing && !fault ? nullptr : "
    "all.h": "recomputation gives the bits that y already has, so writing them only takes time",
    "cpu/gradient_product.h: .add = args_.add || depth_ > 0 -> .add = args_.add || (depth_ > 0 && "
    "!fault)": "every caller has the product added to a gradient",
    "cpu/weight_gradient.h: chunk.rows * l_.block_rows) -> (chunk.rows << fault) * "
    "l_.block_rows)": ("it halves how many blocks are multiplied at a time, and with it no sum"),
}
