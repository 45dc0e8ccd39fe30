"""Files that coremltools writes; Core ML runs on Macs alone, so y is by its documentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers, packed


def cases() -> list[dict[str, Any]]:
    import coremltools
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    x, result = numbers(T, B, I, seed=0), []

    def sigmoid(v: Any) -> Any:
        return 1 / (1 + np.exp(-v))

    def hard(v: Any) -> Any:
        return np.clip(0.2 * v + 0.5, 0, 1)

    def saved(add: Any, *, states: int) -> str:
        names = [("x", datatypes.Array(I)), *((f"s{k}", datatypes.Array(H)) for k in range(states))]
        outputs = [
            ("y", datatypes.Array(H)),
            *((f"t{k}", datatypes.Array(H)) for k in range(states)),
        ]
        builder = NeuralNetworkBuilder(names, outputs)
        add(builder, [n for n, _ in names], [n for n, _ in outputs])
        return packed(builder.spec.SerializeToString())

    def weights_of(gates: int) -> tuple[list[Any], list[Any], list[Any]]:
        return tuple(  # type: ignore[return-value]
            [numbers(*shape, seed=10 * part + k) for k in range(gates)]
            for part, shape in enumerate(((H, I), (H, H), (H,)))
        )

    def lstm(
        W: Any, R: Any, b: Any, gate: Any, p: Any = None, clip: float = 500.0, x: Any = x
    ) -> Any:
        h = c = np.zeros((B, H))
        ys = []
        for step in x.astype(np.float64):
            i, f, o, g = (step @ W[k].T + h @ R[k].T + b[k] for k in range(4))
            if p is not None:
                i, f = i + p[0] * c, f + p[1] * c
            c = np.clip(gate(f) * c + gate(i) * np.tanh(g), -clip, clip)
            h = gate(o + (0 if p is None else p[2] * c)) * np.tanh(c)
            ys.append(h)
        return np.stack(ys)

    for gate, name, peep, clip in (
        (sigmoid, "SIGMOID", None, 500.0),
        (hard, "SIGMOID_HARD", None, 500.0),
        (sigmoid, "SIGMOID", [numbers(H, seed=60 + k) for k in range(3)], 0.5),
    ):
        W, R, b = weights_of(4)  # in the order i, f, o, g of add_unilstm
        options = {"inner_activation": name, "peep": peep, "cell_clip_threshold": clip}
        lstm_of = ("lstm", R, W, b, H, I)
        file = saved(
            lambda builder, ins, outs, of=lstm_of, options=options: builder.add_unilstm(
                *of, ins, outs, output_all=True, **options
            ),
            states=2,
        )
        layers = "LSTM with peepholes" if peep else "uniDirectionalLSTM, biDirectionalLSTM"
        facts = {"gate_activation": "hard_sigmoid_keras2" if gate is hard else "sigmoid"}
        y = lstm(W, R, b, gate, peep, clip)
        version = f"coremltools {coremltools.__version__}"
        result.append(case(version, "coreml", layers, {}, y, **facts) | {"packed": file})
    W, R, b = weights_of(8)
    file = saved(
        lambda builder, ins, outs: builder.add_bidirlstm(
            "lstm", R[:4], W[:4], b[:4], R[4:], W[4:], b[4:], H, I, ins, outs, output_all=True
        ),
        states=4,
    )
    back = lstm(W[4:], R[4:], b[4:], sigmoid, x=x[::-1])[::-1]
    y = np.concatenate([lstm(W[:4], R[:4], b[:4], sigmoid), back], axis=2)
    facts = {"gate_activation": "sigmoid"}
    layers = "uniDirectionalLSTM, biDirectionalLSTM"
    result.append(case(version, "coreml", layers, {}, y, **facts) | {"packed": file})
    W, R, b = weights_of(3)  # z, r, o
    file = saved(
        lambda builder, ins, outs: builder.add_gru(
            "gru", R, W, b, H, I, ins, outs, output_all=True, inner_activation="SIGMOID"
        ),
        states=1,
    )
    h, ys = np.zeros((B, H)), []
    for step in x.astype(np.float64):
        z, r = (sigmoid(step @ W[k].T + h @ R[k].T + b[k]) for k in range(2))
        o = np.tanh(step @ W[2].T + (h * r) @ R[2].T + b[2])
        h = (1 - z) * o + z * h
        ys.append(h)
    result.append(
        case(version, "coreml", "gru", {}, np.stack(ys), gate_activation="sigmoid")
        | {"packed": file}
    )
    file = saved(
        lambda builder, ins, outs: builder.add_simple_rnn(
            "rnn", R[0], W[0], b[0], H, I, "TANH", ins, outs, output_all=True
        ),
        states=1,
    )
    h, ys = np.zeros((B, H)), []
    for step in x.astype(np.float64):
        h = np.tanh(step @ W[0].T + h @ R[0].T + b[0])
        ys.append(h)
    facts = {"activation": "tanh"}
    result.append(
        case(version, "coreml", "simpleRecurrent", {}, np.stack(ys), **facts) | {"packed": file}
    )
    return result
