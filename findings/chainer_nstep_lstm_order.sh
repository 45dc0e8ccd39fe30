#!/usr/bin/env bash
# Chainer: NStepLSTM and functions.n_step_lstm use their weights in another order than they document.
# The documentation of 7.8.1 has i from W0, f from W1, o from W2 and the candidate a from W3; the code
# takes a from W2 and o from W3. Weights that are written by the documentation give wrong outputs.
# Seen with chainer 7.8.1 and numpy 1.23.5 (which needs Python 3.11 or older):
#   documented order: largest difference 0.48
#   order i, f, a, o: largest difference 3e-08
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==1.23.5 "setuptools<60" wheel
"$folder/venv/bin/pip" install --quiet --no-build-isolation chainer==7.8.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import chainer
import numpy as np

assert "o_t &= \\sigma(W_2 x_t" in chainer.functions.n_step_lstm.__doc__
T, I, H = 5, 3, 4
rng = np.random.default_rng(0)
W = [rng.normal(size=(H, I if k < 4 else H)).astype("f") for k in range(8)]
b = [rng.normal(size=H).astype("f") for _ in range(8)]
x = rng.normal(size=(T, I)).astype("f")
zeros = np.zeros((1, 1, H), "f")
steps = [chainer.Variable(step[None]) for step in x]
_, _, ys = chainer.functions.n_step_lstm(1, 0.0, zeros, zeros, [W], [b], steps)
y = np.concatenate([step.array for step in ys])


def output(order):
    """Return the outputs if the gates i, f, o, a have the weights of these numbers."""
    h = c = np.zeros(H)
    result = []
    for step in x:
        i, f, o, a = (W[k] @ step + W[k + 4] @ h + b[k] + b[k + 4] for k in order)
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        c = f * c + i * np.tanh(a)
        h = o * np.tanh(c)
        result.append(h)
    return np.array(result)


differences = [np.abs(output(order) - y).max() for order in ((0, 1, 2, 3), (0, 1, 3, 2))]
print(f"documented order: largest difference {differences[0]:.2f}")
print(f"order i, f, a, o: largest difference {differences[1]:.0e}")
assert differences[0] > 0.1
assert differences[1] < 1e-5
PYTHON
