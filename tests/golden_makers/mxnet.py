"""Layers of MXNet's Gluon."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers


def cases() -> list[dict[str, Any]]:
    np.bool = bool  # which old versions expect
    import mxnet as mx

    version, x, result = f"mxnet {mx.__version__}", numbers(T, B, I, seed=0), []
    for kind, options in (
        ("LSTM", {}),
        ("LSTM", {"num_layers": 2, "bidirectional": True}),
        ("GRU", {}),
        ("RNN", {"activation": "tanh"}),
    ):
        network = getattr(mx.gluon.rnn, kind)(H, input_size=I, **options)
        network.initialize()
        network(mx.nd.array(x))
        weights = {}
        for k, (name, parameter) in enumerate(network.collect_params().items()):
            value = numbers(*parameter.shape, seed=k + 1)
            parameter.set_data(mx.nd.array(value))
            weights[name.removeprefix(network.prefix)] = value
        y = network(mx.nd.array(x)).asnumpy()
        facts = {"activation": "tanh"} if kind == "RNN" else {}
        result.append(case(version, "mxnet", f"gluon.rnn.{kind}, {kind}Cell", weights, y, **facts))
    return result
