"""Builders of DyNet."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from golden_makers.common import B, H, I, T, case, numbers


def cases() -> list[dict[str, Any]]:
    import dynet as dy

    x, result = numbers(T, B, I, seed=0), []
    for kind, layers, number, facts in (
        (
            "VanillaLSTMBuilder",
            "VanillaLSTMBuilder, CompactVanillaLSTMBuilder",
            2,
            {"forget_offset": 1.0},
        ),
        (
            "CompactVanillaLSTMBuilder",
            "VanillaLSTMBuilder, CompactVanillaLSTMBuilder",
            1,
            {"forget_offset": 1.0},
        ),
        ("GRUBuilder", "GRUBuilder", 2, {}),
        ("CoupledLSTMBuilder", "CoupledLSTMBuilder, LSTMBuilder of DyNet 1", 2, {}),
    ):
        model = dy.ParameterCollection()
        builder = getattr(dy, kind)(number, I, H, model)
        for k, parameter in enumerate(model.parameters_list()):
            parameter.set_value(numbers(*parameter.shape(), seed=k + 1))
        ys = []
        for b in range(B):
            dy.renew_cg()
            state = builder.initial_state()
            inputs = [dy.inputVector(step) for step in x[:, b]]
            ys.append([out.npvalue() for out in state.transduce(inputs)])
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model")
            text = Path(f"{folder}/model").read_text()
        y = np.stack(ys, axis=1)
        result.append(case(f"dyNET38 {kind}", "dynet", layers, {}, y, **facts) | {"file": text})
    return result
