"""Recurrent layers of PyTorch on what they get when their package runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray


def recorded(layer: Any, run: Callable[[], Any]) -> tuple[NDArray[Any], Callable[[], Any]]:
    """Return the input of `layer` in `run`, and a function that computes its output again."""
    inputs: list[Any] = []
    hook = layer.register_forward_pre_hook(lambda _layer, given: inputs.append(given))
    run()
    hook.remove()
    given = tuple(x.detach() for x in inputs[0])

    def again() -> NDArray[Any]:
        with torch.inference_mode():
            return layer(*given)[0].numpy()  # type: ignore[no-any-return]

    return given[0].numpy(), again
