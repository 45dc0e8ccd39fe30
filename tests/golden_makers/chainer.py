"""Links of Chainer."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers


def cases() -> list[dict[str, Any]]:
    import chainer as ch

    version, x, result = f"chainer {ch.__version__}", numbers(T, B, I, seed=0), []

    def filled(link: Any) -> dict[str, Any]:
        weights = {}
        for k, (name, parameter) in enumerate(sorted(link.namedparams())):
            value = numbers(*parameter.shape, seed=k + 1)
            parameter.array[...] = value
            weights[name] = value
        return weights

    lstm = ch.links.LSTM(I, H)
    weights = filled(lstm)
    y = np.stack([lstm(step).array for step in x])
    result.append(case(version, "chainer", "links.LSTM, StatelessLSTM", weights, y))
    gru = ch.links.StatelessGRU(I, H)
    weights = filled(gru)
    h, ys = np.zeros((B, H), np.float32), []
    for step in x:
        h = gru(h, step)
        ys.append(h.array)
    result.append(
        case(
            version,
            "chainer",
            "links.StatelessGRU, StatefulGRU",
            weights,
            np.stack(ys),
            initial_state="zeros",
        )
    )
    for kind, layers, number, facts in (
        ("NStepLSTM", "links.NStepLSTM, NStepBiLSTM", 1, {}),
        ("NStepBiLSTM", "links.NStepLSTM, NStepBiLSTM", 2, {}),
        ("NStepGRU", "links.NStepGRU, NStepBiGRU", 2, {}),
        ("NStepRNNTanh", "links.NStepRNNTanh, NStepRNNReLU", 1, {"activation": "tanh"}),
    ):
        link = getattr(ch.links, kind)(number, I, H, 0.0)
        weights = filled(link)
        states = (None,) * (2 if "LSTM" in kind else 1)
        ys = link(*states, [x[:, b] for b in range(B)])[-1]
        y = np.stack([one.array for one in ys], axis=1)
        result.append(case(version, "chainer-nstep", layers, weights, y, **facts))
    return result
