#!/usr/bin/env bash
# Thinc: the gradients of its own layer LSTM, on the CPU, are not those of its outputs, although the
# outputs are right.
# - The gradient of the parameters has the parameters themselves added. If the gradient of the
#   outputs is 0, it is not 0 but equal to them (both biases' sum in the place of the first), so that
#   a step of gradient descent shrinks the weights where there is nothing to learn.
# - The first step of a sequence is left out: its input has a gradient of 0.
# - The recurrent weights get the product with the output of the same step, not of the one before.
# The cause: the array of gradients begins as a copy of the parameters instead of zeros, and the loop
# over pairs of steps ends before the first.
# Seen with thinc 9.1.1 and numpy 2.4.6, for one sequence and weights from -1 to 1:
#   gradient of the outputs 0: gradient of the parameters 1.84, exact 0
#   first input: gradient 0, exact 0.97
#   gradient less the parameters: W_x wrong by 0.35, b by 0.54, W_h by 0.13
#   W_h of two steps: 5e-08 from the product with the second output, 0.044 from the exact gradient
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet thinc==9.1.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from thinc.api import LSTM, with_padded

I, H = 3, 5
SHAPES = {"W_x": (4, H, I), "b": (4, H), "W_h": (4, H, H), "b_h": (4, H)}
rng = np.random.default_rng(0)
x = rng.normal(size=(4, I)).astype("f")
dy = rng.normal(size=(4, H)).astype("f")
wrapper = with_padded(LSTM(H, I))
wrapper.initialize(X=[x], Y=[dy])
layer = wrapper.layers[0]
weights = rng.uniform(-1, 1, layer.get_param("LSTM").shape).astype("f")
layer.set_param("LSTM", weights)


def split(flat):
    ends = np.cumsum([np.prod(shape) for shape in SHAPES.values()])
    parts = np.split(flat, ends[:-1])
    return {n: part.reshape(s) for (n, s), part in zip(SHAPES.items(), parts, strict=True)}


def outputs(flat, x):
    """Return the outputs of an LSTM with the gates f, i, o and the candidate a, from zero states."""
    p = split(flat)
    h = c = np.zeros(H)
    result = []
    for step in x:
        f, i, o, a = p["W_x"] @ step + p["b"] + p["W_h"] @ h + p["b_h"]
        f, i, o = (1 / (1 + np.exp(-v)) for v in (f, i, o))
        c = f * c + i * np.tanh(a)
        h = o * np.tanh(c)
        result.append(h)
    return np.array(result)


def derivative(function, at):
    """Return the gradient of function, by central differences in float64."""
    at = at.astype("d")
    steps = 1e-5 * np.eye(at.size).reshape(at.size, *at.shape)
    return np.array([function(at + s) - function(at - s) for s in steps]).reshape(at.shape) / 2e-5


def gradients(x, dy):
    """Return Thinc's gradients of the parameters and of the inputs."""
    layer.set_grad("LSTM", np.zeros_like(weights))
    (y,), backprop = wrapper([x], is_train=True)
    assert np.abs(y - outputs(weights.astype("d"), x)).max() < 1e-5
    (dx,) = backprop([dy])
    return split(layer.get_grad("LSTM").copy()), dx


def largest(array):
    return float(np.abs(array).max())


own = split(weights.copy())
own["b"] += own["b_h"]
own["b_h"][:] = 0
dw, dx = gradients(x, 0 * dy)
seen = max(largest(part) for part in dw.values())
print(f"gradient of the outputs 0: gradient of the parameters {seen:.3g}, exact 0")
assert largest(dx) == 0
assert max(largest(dw[n] - own[n]) for n in SHAPES) < 1e-6 < 0.5 < seen

dw, dx = gradients(x, dy)
exact = derivative(lambda x: (outputs(weights.astype("d"), x) * dy).sum(), x)
print(f"first input: gradient {largest(dx[0]):.3g}, exact {largest(exact[0]):.3g}")
assert largest(dx[1:] - exact[1:]) < 1e-4
assert largest(dx[0]) == 0 < 0.05 < largest(exact[0])
exact = split(derivative(lambda w: (outputs(w, x) * dy).sum(), weights))
errors = {n: largest(dw[n] - own[n] - exact[n]) for n in ("W_x", "b", "W_h")}
print("gradient less the parameters, wrong by", {n: f"{e:.2g}" for n, e in errors.items()})
assert min(errors.values()) > 0.02

x, dy = x[:2], dy[:2]
dw, dx = gradients(x, dy)
second = dw["b"] - own["b"]  # the gradient of the gates of the second step alone
y = outputs(weights.astype("d"), x)
exact = split(derivative(lambda w: (outputs(w, x) * dy).sum(), weights))["W_h"]
assert largest(exact - second[:, :, None] * y[0]) < 1e-4
seen = dw["W_h"] - own["W_h"]
same, error = largest(seen - second[:, :, None] * y[1]), largest(seen - exact)
print(f"W_h of two steps: {same:.1g} from the product with the second output, {error:.2g} from the exact")
assert same < 1e-5
assert error > 0.02
PYTHON
