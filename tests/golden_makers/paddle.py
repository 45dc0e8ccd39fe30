"""Layers of PaddlePaddle, and operators of its first versions."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers


def dynamic_lstm(version: str, *, use_peepholes: bool) -> dict[str, Any]:
    """The operator of a function of PaddlePaddle 1, which only a program of that time can have."""
    import paddle as pp

    length = (7 if use_peepholes else 4) * H
    weights = {"fc.w_0": numbers(I, 4 * H, seed=1), "fc.b_0": numbers(4 * H, seed=2)}
    weights |= {"lstm.w_0": numbers(H, 4 * H, seed=3), "lstm.b_0": numbers(1, length, seed=4)}
    x = numbers(T, B, I, seed=0)
    projected = (x @ weights["fc.w_0"] + weights["fc.b_0"]).swapaxes(0, 1).reshape(B * T, 4 * H)
    pp.enable_static()
    with pp.pir_utils.OldIrGuard():
        program = pp.static.Program()
        with pp.static.program_guard(program):
            given = {"Input": projected, "Weight": weights["lstm.w_0"], "Bias": weights["lstm.b_0"]}
            inputs = {n: pp.static.data(n, a.shape, "float32") for n, a in given.items()}
            names = ("Hidden", "Cell", "BatchGate", "BatchCellPreAct")
            block = program.global_block()
            outputs = {n: block.create_var(name=n, dtype="float32") for n in names}
            attrs = {"use_peepholes": use_peepholes}
            block.append_op(type="lstm", inputs=inputs, outputs=outputs, attrs=attrs)
        feed = {}
        for name, value in given.items():
            feed[name] = pp.base.core.DenseTensor()
            feed[name].set(value, pp.CPUPlace())
        feed["Input"].set_recursive_sequence_lengths([B * [T]])  # sequences one after the other
        (y,) = pp.static.Executor().run(program, feed, [names[0]], return_numpy=False)
    pp.disable_static()
    y = np.array(y).reshape(B, T, H).swapaxes(0, 1)
    layers = "fc, dynamic_lstm" + ("" if use_peepholes else "(use_peepholes=False)")
    return case(version, "paddle-fluid", layers, weights, y)


def cases() -> list[dict[str, Any]]:
    import paddle as pp

    version, x, result = f"paddlepaddle {pp.__version__}", numbers(T, B, I, seed=0), []
    for kind, layers, options in (
        ("LSTM", "nn.LSTM, LSTMCell", {}),
        ("LSTM", "nn.LSTM, LSTMCell", {"num_layers": 2, "direction": "bidirect"}),
        ("GRU", "nn.GRU, GRUCell", {}),
        ("SimpleRNN", "nn.SimpleRNN", {}),
    ):
        network = getattr(pp.nn, kind)(I, H, time_major=True, **options)
        weights = {}
        for k, (name, parameter) in enumerate(network.named_parameters()):
            value = numbers(*parameter.shape, seed=k + 1)
            parameter.set_value(value)
            weights[name] = value
        facts = {"activation": "tanh"} if kind == "SimpleRNN" else {}
        y = network(pp.to_tensor(x))[0].numpy()
        result.append(case(version, "paddle", layers, weights, y, **facts))
    given = {"fc.w_0": numbers(I, 3 * H, seed=1), "gru.w_0": numbers(H, 3 * H, seed=2),
             "gru.b_0": numbers(1, 3 * H, seed=3)}  # fmt: skip
    w, r, b = (pp.to_tensor(a) for a in given.values())
    sigmoid, tanh = 1, 2  # the numbers of the functions
    for origin_mode in (False, True):
        h, ys = pp.zeros([B, H]), []
        for step in x:
            h = pp._C_ops.gru_unit(pp.to_tensor(step) @ w, h, r, b, tanh, sigmoid, origin_mode)
            ys.append(h.numpy())
        z = "keeps" if origin_mode else "replaces"
        layers = "fc, dynamic_gru; gru_unit"
        result.append(case(version, "paddle-fluid", layers, given, np.stack(ys), update_gate=z))
    return [*result, *(dynamic_lstm(version, use_peepholes=flag) for flag in (False, True))]
