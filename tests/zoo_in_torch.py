"""The zoo's cells again, in PyTorch operations, from their papers and their authors' code.

Each is `step(x, s, W, R, p)`. x (B, I) is the input, s holds the states, W and R hold a linear
layer for each row block of weight_ih and weight_hh, and p holds the rows of weight_channel. The
function returns the new states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import sigmoid, tanh
from torch.nn import functional as F  # noqa: N812

Step = Callable[..., tuple[Any, ...]]


def rnn(function: Callable[[Any], Any]) -> Step:
    return lambda x, s, W, R, p: (function(W[0](x) + R[0](s[0])),)


def lstm(gate: Callable[[Any], Any] = sigmoid) -> Step:
    def step(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
        i, f, g, o = (w(x) + r(s[0]) for w, r in zip(W, R, strict=True))
        c = gate(f) * s[1] + gate(i) * tanh(g)
        return gate(o) * tanh(c), c

    return step


def gru(gate: Callable[[Any], Any] = sigmoid, *, after: bool) -> Step:
    def step(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
        (h,) = s
        r, z = gate(W[0](x) + R[0](h)), gate(W[1](x) + R[1](h))
        n = tanh(W[2](x) + (r * R[2](h) if after else R[2](r * h)))
        return ((1 - z) * n + z * h,)

    return step


def odyssey(
    blocks: str = "ifgo",
    peepholes: str = "ifo",
    g_function: Callable[[Any], Any] = tanh,
    h_function: Callable[[Any], Any] = tanh,
    *,
    coupled: bool = False,
) -> Step:
    """Greff et al., with gates that have no row block set to 1."""

    def step(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
        y, c = s

        def sees(name: str, cell: Any) -> Any:
            if name not in blocks:
                return torch.ones_like(c)
            k = blocks.index(name)
            peephole = p[peepholes.index(name)] * cell if name in peepholes else 0.0
            total = W[k](x) + R[k](y) + peephole
            return total if name == "g" else sigmoid(total)

        i = sees("i", c)
        f = 1 - i if coupled else sees("f", c)
        c = g_function(sees("g", c)) * i + c * f
        return h_function(c) * sees("o", c), c

    return step


def full_gate_recurrence(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    y, c, *gates = s
    back = [sum(R[4 + 3 * k + to](gates[k]) for k in range(3)) for to in range(3)]
    i = sigmoid(W[0](x) + R[0](y) + p[0] * c + back[0])
    f = sigmoid(W[1](x) + R[1](y) + p[1] * c + back[1])
    c = tanh(W[2](x) + R[2](y)) * i + c * f
    o = sigmoid(W[3](x) + R[3](y) + p[2] * c + back[2])
    return tanh(c) * o, c, i, f, o


def nas(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    h, c = s
    inputs, products = [w(x) for w in W], [r(h) for r in R]
    l0, l2, l5, l7 = (sigmoid(inputs[k] + products[k]) for k in (0, 2, 5, 7))
    l1, l3 = F.relu(inputs[1] + products[1]), F.relu(inputs[3] * products[3])
    l4, l6 = tanh(inputs[4] + products[4]), tanh(inputs[6] + products[6])
    c = tanh(tanh(l0 * l1) + c) * tanh(l2 + l3)
    return tanh(c * tanh(tanh(l4 * l5) + sigmoid(l6 + l7))), c


def mut1(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    (h,) = s
    z, r = sigmoid(W[0](x)), sigmoid(W[1](x) + R[0](h))
    return (tanh(R[1](r * h) + tanh(W[2](x) if len(W) == 3 else x)) * z + h * (1 - z),)


def mut2(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    (h,) = s
    z = sigmoid(W[0](x) + R[0](h))
    r = sigmoid((W[1](x) if len(W) == 3 else x) + R[1](h))
    return (tanh(R[2](r * h) + W[-1](x)) * z + h * (1 - z),)


def mut3(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    (h,) = s
    z, r = sigmoid(W[1](x) + R[1](tanh(h))), sigmoid(W[0](x) + R[0](h))
    return (tanh(R[2](r * h) + W[2](x)) * z + h * (1 - z),)


def highway(depth: int, *, coupled: bool) -> Step:
    def step(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
        (s,) = s
        for layer in range(depth):
            own = R[layer * len(W) :]
            sums = [own[k](s) + (W[k](x) if layer == 0 else 0) for k in range(len(W))]
            t = sigmoid(sums[1])
            s = tanh(sums[0]) * t + s * (1 - t if coupled else sigmoid(sums[2]))
        return (s,)

    return step


def minimal_gated(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    f = sigmoid(W[0](x) + R[0](s[0]))
    return (torch.lerp(s[0], tanh(W[1](x) + R[1](f * s[0])), f),)


def light_gru(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    return (torch.lerp(F.relu(W[1](x) + R[1](s[0])), s[0], sigmoid(W[0](x) + R[0](s[0]))),)


def janet(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    a = W[0](x) + R[0](s[0])
    return (sigmoid(a) * s[0] + sigmoid(1 - a) * tanh(W[1](x) + R[1](s[0])),)


def intersection(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    y, h, g_y, g_h = (w(x) + r(s[1]) for w, r in zip(W, R, strict=True))
    return torch.lerp(F.relu(y), x, sigmoid(g_y)), torch.lerp(tanh(h), s[1], sigmoid(g_h))


def twin_gated(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    a, b = W[0](x), R[0](s[0])
    return (sigmoid(a + b) * a + sigmoid(a - b) * s[0],)


def additive(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    c = sigmoid(W[1](x) + R[0](s[0])) * W[0](x) + sigmoid(W[2](x) + R[1](s[0])) * s[1]
    return tanh(c), c


def slow_context(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    slow = torch.lerp(W[0](x), s[1], 0.95)
    return sigmoid(R[1](slow) + W[1](x) + R[0](s[0])), slow


def minimal(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    z = tanh(W[0](x))
    return (torch.lerp(z, s[0], sigmoid(R[0](s[0]) + R[1](z))),)


def bistable(see: Callable[[Any, Any, Any], Any]) -> Step:
    def step(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
        to_c, to_a = see(s[0], R, p)
        a = tanh(W[1](x) + to_a) + 1
        return (torch.lerp(tanh(W[2](x) + a * s[0]), s[0], sigmoid(W[0](x) + to_c)),)

    return step


def typed(kind: str) -> Step:
    def step(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
        before = s[-1]
        z, f, o = (w(x) + r(before) for w, r in zip(W, R, strict=True))
        if kind == "gru":
            return sigmoid(f) * s[0] + z * tanh(o), x
        c = torch.lerp(z, s[1], sigmoid(f))
        return c * tanh(o), c, x

    return step


def min_lstm(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    gates = torch.stack([sigmoid(W[0](x)), sigmoid(W[1](x))])
    f, i = gates / gates.sum(0)
    return (f * s[0] + i * W[2](x),)


def oscillators(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    y, z = s
    z = z + 0.042 * (tanh(W[0](x) + R[0](y) + R[1](z)) - 2.7 * y - 4.7 * z)
    return y + 0.042 * z, z


def undamped(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    y, z = s
    z = z - 0.1 * sigmoid(p[1]) * (tanh(p[0] * y + W[0](x)) + y)
    return y + 0.1 * sigmoid(p[1]) * z, z


def long_expressive(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    y, z = s
    z = torch.lerp(z, tanh(W[2](x) + R[2](y)), sigmoid(W[0](x) + R[0](y)))
    return torch.lerp(y, tanh(W[3](x) + R[3](z)), sigmoid(W[1](x) + R[1](y))), z


def closed_form(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    if len(W) == 1:
        v = 1.7159 * tanh(0.666 * (W[0](x) + R[0](s[0])))
        f, g, a, b = (r(v) for r in R[1:])
    else:
        f, g, a, b = (w(x) + r(s[0]) for w, r in zip(W, R, strict=True))
    return (torch.lerp(tanh(f), tanh(g), sigmoid(a + b)),)


def fast_grnn(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    both = W[0](x) + R[0](s[0])
    z, new = sigmoid(both + p[0]), tanh(both + p[1])
    return (z * s[0] + (sigmoid(p[2]) * (1 - z) + sigmoid(p[3])) * new,)


def original_lstm(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    i, g, o = (w(x) + r(s[0]) for w, r in zip(W, R, strict=True))
    c = s[1] + sigmoid(i) * 2 * tanh(g / 2)
    return sigmoid(o) * tanh(c / 2), c


def multiplicative(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    return lstm()(x, (W[4](x) * R[4](s[0]), s[1]), W[:4], R[:4], p)


def residual(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    i, f, g, o = (w(x) + r(s[0]) for w, r in zip(W[:4], R[:4], strict=True))
    c = sigmoid(f + p[1] * s[1]) * s[1] + sigmoid(i + p[0] * s[1]) * tanh(g)
    return sigmoid(o + p[2] * c) * (R[4](tanh(c)) + W[4](x)), c


def scalar_xlstm(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    h, c, n, m = s
    i, f, z, o = (w(x) + r(h) for w, r in zip(W, R, strict=True))
    kept = F.logsigmoid(f) + m
    m = torch.where(n == 0, i, torch.max(i, kept))
    c = torch.exp(kept - m) * c + torch.exp(i - m) * tanh(z)
    n = torch.exp(kept - m) * n + torch.exp(i - m)
    return sigmoid(o) * c / n, c, n, m


def layer_norm(v: Any, gain: Any, shift: Any = None) -> Any:
    return F.layer_norm(v, gain.shape, gain, shift)


def layer_norm_lstm(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    i, f, g, o = (
        layer_norm(W[k](x), p[k]) + layer_norm(R[k](s[0]), p[4 + k], p[8 + k]) for k in range(4)
    )
    c = sigmoid(f) * s[1] + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(layer_norm(c, p[12], p[13])), c


def layer_norm_gru(x: Any, s: Any, W: Any, R: Any, p: Any) -> tuple[Any, ...]:
    u = [layer_norm(W[k](x), p[k], p[6 + k]) for k in range(3)]
    v = [layer_norm(R[k](s[0]), p[3 + k]) for k in range(3)]
    r, z = sigmoid(u[0] + v[0]), sigmoid(u[1] + v[1])
    return (torch.lerp(s[0], tanh(u[2] + r * (v[2] + p[9])), z),)


def keras2(v: Any) -> Any:
    return torch.clamp(0.2 * v + 0.5, 0, 1)


def keras3(v: Any) -> Any:
    return F.relu6(v + 3) / 6  # not keras3, which rounds to float32 even in float64


STEPS: dict[str, Step] = {
    "rnn_tanh": rnn(tanh),
    "rnn_relu": rnn(F.relu),
    "lstm": lstm(),
    "peephole_lstm": odyssey(),
    "gru": gru(after=True),
    "gru_reset_before": gru(after=False),
    "mut3": mut3,
    "nas": nas,
    "mgu": minimal_gated,
    "li_gru": light_gru,
    "janet": janet,
    "light_ru": lambda x, s, W, R, p: (
        torch.lerp(s[0], tanh(W[0](x)), sigmoid(W[1](x) + R[0](s[0]))),
    ),
    "ugrnn": lambda x, s, W, R, p: (
        torch.lerp(tanh(W[0](x) + R[0](s[0])), s[0], sigmoid(W[1](x) + R[1](s[0]))),
    ),
    "intersection_rnn": intersection,
    "cfn": lambda x, s, W, R, p: (
        sigmoid(W[0](x) + R[0](s[0])) * tanh(s[0]) + sigmoid(W[1](x) + R[1](s[0])) * tanh(W[2](x)),
    ),
    "atr": twin_gated,
    "ran": additive,
    "scrn": slow_context,
    "minimal_rnn": minimal,
    "star": lambda x, s, W, R, p: (
        tanh(torch.lerp(s[0], tanh(W[0](x)), sigmoid(W[1](x) + R[0](s[0])))),
    ),
    "indrnn": lambda x, s, W, R, p: (F.relu(W[0](x) + p[0] * s[0]),),
    "brc": bistable(lambda h, R, p: (p[0] * h, p[1] * h)),
    "nbrc": bistable(lambda h, R, p: (R[0](h), R[1](h))),
    "t_rnn": lambda x, s, W, R, p: (torch.lerp(W[0](x), s[0], sigmoid(W[1](x))),),
    "t_gru": typed("gru"),
    "t_lstm": typed("lstm"),
    "min_gru": lambda x, s, W, R, p: (torch.lerp(s[0], W[1](x), sigmoid(W[0](x))),),
    "min_lstm": min_lstm,
    "cornn": oscillators,
    "unicornn": undamped,
    "lem": long_expressive,
    "cfc": closed_form,
    "cfc_backbone": closed_form,
    "fast_rnn": lambda x, s, W, R, p: (
        sigmoid(p[0]) * tanh(W[0](x) + R[0](s[0])) + sigmoid(p[1]) * s[0],
    ),
    "fast_grnn": fast_grnn,
    "mut1": mut1,
    "mut1_projected": mut1,
    "mut2": mut2,
    "mut2_projected": mut2,
    **{
        f"recurrent_highway_{depth}{suffix}": highway(depth, coupled=not suffix)
        for depth in range(1, 11)
        for suffix in ("", "_uncoupled")
    },
    "highway_layer": lambda x, s, W, R, p: (torch.lerp(x, F.relu(W[0](x)), sigmoid(W[1](x))),),
    "lstm_1997": original_lstm,
    "lstm_nig": odyssey("fgo", "fo"),
    "lstm_nfg": odyssey("igo", "io"),
    "lstm_nog": odyssey("ifg", "if"),
    "lstm_niaf": odyssey(g_function=torch.clone),
    "lstm_noaf": odyssey(h_function=torch.clone),
    "lstm_np": odyssey(peepholes=""),
    "lstm_cifg": odyssey("igo", "io", coupled=True),
    "lstm_fgr": full_gate_recurrence,
    "multiplicative_lstm": multiplicative,
    "residual_lstm": residual,
    "slstm": scalar_xlstm,
    "layer_norm_lstm": layer_norm_lstm,
    "layer_norm_gru": layer_norm_gru,
    "lstm_hard_keras2": lstm(keras2),
    "gru_hard_keras2": gru(keras2, after=True),
    "gru_reset_before_hard_keras2": gru(keras2, after=False),
    "lstm_hard_keras3": lstm(keras3),
    "gru_hard_keras3": gru(keras3, after=True),
    "gru_reset_before_hard_keras3": gru(keras3, after=False),
}
