"""Conversion of weights from and to PyTorch; loading them does not import it."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from rnnfast._engine import checks
from rnnfast.exchange.arrays import array_of
from rnnfast.layers.module import Module
from rnnfast.layers.recurrent import Recurrent


def load_torch_state_dict(module: Module, state_dict: Mapping[str, Any], prefix: str = "") -> None:
    """Set the parameters of a layer or a model from those of a PyTorch module.

    Parameters of recurrent layers, embeddings and linear layers have the same names, shapes and
    gate orders in both. A layer of one layer and direction also takes the parameters of a PyTorch
    cell (`LSTMCell`, `GRUCell`, `RNNCell`), whose names lack the `_l0`. Learned initial states
    (`learn_state`) have the names of `rnnfast.torch`; `torch.nn` has no such parameters.

    Args:
        module: A layer, or a model made of them; a model's names are those of its attributes.
        state_dict: Tensors or arrays by name, such as `torch_module.state_dict()`, or what
            `safetensors.numpy.load_file` reads. They may be on any device and of any real type,
            bfloat16 included.
        prefix: The part of the state dict to read, in its words: "decoder.rnn" for the names
            "decoder.rnn.weight_ih_l0" and so on. Other names are then left aside.

    Raises:
        ValueError: A name is missing or unknown, or a shape differs. Nothing is changed then.
        TypeError: `state_dict` is a path or a module instead, or a value is not an array of reals.
    """
    _check_state_dict(state_dict)
    start = f"{prefix}." if prefix else ""
    given = {name: value for name, value in state_dict.items() if name.startswith(start)}
    cell = (
        isinstance(module, Recurrent)
        and (module.num_layers, module.bidirectional) == (1, False)
        and f"{start}weight_hh" in given
    )
    names = {}  # names in rnnfast, by the name in the state dict
    for parameter in module.parameters():
        theirs = parameter.name.removesuffix("_l0") if cell else parameter.name
        names[start + theirs] = parameter.name
    checks.same_names("state_dict", given, names)
    module.load_state_dict({names[name]: array_of(name, value) for name, value in given.items()})


def to_torch_state_dict(module: Module, prefix: str = "") -> dict[str, Any]:
    """Return copies of the parameters of a layer or a model as PyTorch tensors on the CPU.

    Args:
        module: A layer or a model.
        prefix: The prefix of all names, as for `load_torch_state_dict`.

    Returns:
        Tensors by name, for `torch_module.load_state_dict`.

    Raises:
        ImportError: PyTorch is not installed.
    """
    import torch

    start = f"{prefix}." if prefix else ""
    return {start + name: torch.from_numpy(a) for name, a in module.state_dict().items()}


def _check_state_dict(state_dict: Any) -> None:
    """Raise an error for anything but a mapping from names to tensors."""
    if isinstance(state_dict, Mapping):
        return
    if isinstance(state_dict, (str, PathLike)):
        got = (
            f"the path {fspath(state_dict)!r}; rnnfast.load_weights reads files of one layer, or "
            "pass what torch.load(path, weights_only=True) or safetensors.numpy.load_file(path) "
            "returns"
        )
    else:
        got = type(state_dict).__name__
        if hasattr(state_dict, "state_dict"):
            got += "; pass what its state_dict() returns"
    raise TypeError(f"state_dict: expected a dict from names to tensors or arrays, got {got}")
