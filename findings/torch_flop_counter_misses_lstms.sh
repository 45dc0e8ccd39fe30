#!/usr/bin/env bash
# PyTorch: FlopCounterMode counts nothing for an nn.LSTM of float32 on the CPU, neither forward
# nor backward, and says nothing of it. The same LSTM is counted in float64, with packed
# sequences of different lengths, or with oneDNN switched off; GRU and RNN always are. A total thus
# depends on the dtype and on the lengths in a batch, and an LSTM seems to be cheaper than a GRU.
# The cause: such LSTMs run as one operator, aten.mkldnn_rnn_layer, for which it has no formula.
# Seen with torch 2.13.0, for sequences of 10 and 6 steps, 8 inputs and 16 units:
#   LSTM: padded 0, in float64 61440, without oneDNN 61440 (exact 61440);
#         packed 49152 (exact 49152), packed with equal lengths 0 (exact 61440)
#   GRU: 46080 (exact 46080), packed 36864 (exact 36864)
#   forward and backward: LSTM 0, without oneDNN 159744; GRU 119808 in both cases
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

LENGTHS, INPUTS, HIDDEN = (10, 6), 8, 16
GATES = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
x = torch.randn(LENGTHS[0], len(LENGTHS), INPUTS)
packed = pack_padded_sequence(x, torch.tensor(LENGTHS))
equal = pack_padded_sequence(x, torch.tensor(LENGTHS[:1] * 2))
assert torch.backends.mkldnn.is_available()


def count(layer, x, backward=False):
    with FlopCounterMode(display=False) as counter:
        y, _ = layer(x)
        if backward:
            y.sum().backward()
    return counter.get_total_flops()


for layer_class, gates in GATES.items():
    layer = layer_class(INPUTS, HIDDEN)
    of_a_step = 2 * gates * HIDDEN * (INPUTS + HIDDEN)  # a product and a sum for each weight
    padded_steps, packed_steps = LENGTHS[0] * len(LENGTHS), sum(LENGTHS)
    seen = {"float32": count(layer, x), "equal lengths": count(layer, equal)}
    both = count(layer, x, backward=True)
    with torch.backends.mkldnn.flags(enabled=False):
        seen["without oneDNN"] = count(layer, x)
        both_without = count(layer, x, backward=True)
    in_packed = count(layer, packed)
    seen["float64"] = count(layer.double(), x.double())
    print(layer_class.__name__, seen, "exact", of_a_step * padded_steps)
    print("  packed", in_packed, "exact", of_a_step * packed_steps)
    print("  forward and backward", both, "without oneDNN", both_without)
    missed = {case for case, flops in seen.items() if flops == 0}
    expected = {"float32", "equal lengths"} if layer_class is nn.LSTM else set()
    assert missed == expected
    assert all(seen[case] == of_a_step * padded_steps for case in seen if case not in missed)
    assert in_packed == of_a_step * packed_steps
    assert both == (0 if missed else both_without)
    assert both_without > 2 * of_a_step * padded_steps
PYTHON
