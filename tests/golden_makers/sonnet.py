"""Cores of Sonnet 2."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers


def cases() -> list[dict[str, Any]]:
    import sonnet as snt
    import tensorflow as tf

    x, result = numbers(T, B, I, seed=0), []
    for kind in ("LSTM", "GRU", "VanillaRNN"):
        core = getattr(snt, kind)(H)
        core(tf.constant(x[0]), core.initial_state(B))
        weights = {}
        for k, variable in enumerate(core.trainable_variables):
            value = numbers(*variable.shape, seed=k + 1)
            variable.assign(value)
            weights[variable.name] = value
        state, ys = core.initial_state(B), []
        for step in x:
            y, state = core(tf.constant(step), state)
            ys.append(y)
        facts = {"activation": "tanh"} if kind == "VanillaRNN" else {}
        result.append(
            case(f"dm-sonnet {snt.__version__}", "sonnet", kind, weights, np.stack(ys), **facts)
        )
    return result
