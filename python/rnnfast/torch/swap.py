"""What is done to the recurrent layers of a whole model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch.nn.utils import parametrize

from rnnfast.torch.layer import Layer
from rnnfast.torch.layers import GRU, LSTM, RNN
from rnnfast.torch.prepacked import Prepacked

_FAST: dict[type[torch.nn.Module], type[Layer]] = {
    layer.twin: layer for layer in (LSTM, GRU, RNN) if layer.twin is not None
}
_Model = TypeVar("_Model", bound=torch.nn.Module)
_TWINS = {layer: twin for twin, layer in _FAST.items()}


_ADVICE = (
    "Tools that look for torch.nn's classes come before accelerate: quantise with torch.ao, "
    "validate with Opacus.",
    "Call rnnfast.torch.restore(model) before torch.jit.script, and before a whole model is "
    "pickled for somebody without rnnfast.",
)


@dataclass
class Report:
    """Who runs the recurrent layers of a model; as text, a line a layer.

    Attributes:
        fast: The layers that rnnfast runs: path in the model (empty for the model itself), and what
            they are.
        left: The recurrent layers that PyTorch runs: path, and why.
    """

    fast: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{path or 'the model'}: {what}" for path, what in self.fast.items()]
        lines += [f"{path or 'the model'}: left, {why}" for path, why in self.left.items()]
        advice = _ADVICE if self.fast else ()
        return "\n".join([*lines, *advice]) or "no recurrent layers"


def accelerate(model: _Model) -> _Model:
    """Let rnnfast run the recurrent layers inside a model, in place.

    Modules stay the same objects, with the same parameters and hooks, so that optimisers,
    references and checkpoints remain valid; only their classes change, from `torch.nn.LSTM`, `GRU`
    and `RNN` to those of `rnnfast.torch`. `print(model)` shows which layers these are, and
    `report` says why the others stayed.

    Tools that look for the classes of `torch.nn` come first: initialise, quantise with `torch.ao`,
    validate with Opacus. Call `restore` before you hand on a pickled model or script it.

    Args:
        model: Any module.

    Returns:
        The model itself.

    Warns:
        UserWarning: Nothing was swapped: all layers are rnnfast's already, or had to stay.
    """
    swapped = False
    for module in model.modules():
        if _why_not(module) is None:
            _set_class(module, _FAST)
            swapped = True
    if not swapped:
        warnings.warn(f"accelerate changed nothing: {_nothing(report(model))}", stacklevel=2)
    return model


def restore(model: _Model) -> _Model:
    """Give the recurrent layers inside a model back to PyTorch: the opposite of `accelerate`.

    Layers that were built as `rnnfast.torch`'s LSTM, GRU or RNN become `torch.nn`'s, too. A
    `Recurrent` stays, as PyTorch has no class for it, and so does a layer with `learn_state`, as
    PyTorch's would start from zeros, or with zoneout or dropout inside its steps.

    Args:
        model: Any module.

    Returns:
        The model itself.
    """
    for module in model.modules():
        if _plain_type(module) in _TWINS and not module.has_more:
            prepack(module, False)
            _set_class(module, _TWINS)
    return model


def report(model: torch.nn.Module) -> Report:
    """Say which recurrent layers inside a model rnnfast runs, and why the others are left.

    Args:
        model: Any module, before or after `accelerate`.
    """
    found = Report()
    for path, module in model.named_modules():
        reason = _why_not(module)
        if isinstance(module, Layer):
            found.fast[path] = f"rnnfast.torch.{_plain_type(module).__name__}"
        elif reason is None:
            found.left[path] = "not accelerated yet"
        elif reason:
            found.left[path] = reason
    return found


def _nothing(found: Report) -> str:
    """Why `accelerate` swapped no layer, in a line."""
    layers = [f"{path or 'the model'} is already {what}" for path, what in found.fast.items()]
    layers += [f"{path or 'the model'} is left, {why}" for path, why in found.left.items()]
    return "; ".join(layers) or "the model has no recurrent layers"


def prepack(model: torch.nn.Module, enabled: bool = True) -> None:
    """Let rnnfast's layers inside a model keep their weights packed between calls of inference.

    A call looks at the weights first, and one of eight rows (steps times sequences) or more copies
    them into the form that the kernels read; of short sequences that is a good part. A layer that
    keeps the form needs the memory of its weights again, and makes it anew when PyTorch has counted
    a change of the weights: steps of optimisers, `load_state_dict`, any operation in place, other
    memory. Not counted, and therefore not seen, is what is written through `parameter.data` or a
    NumPy array of the same memory, and what FSDP gathers.

    Calls that are part of training or of compiled code do as before, and so do layers whose
    weights are made for each call (parametrizations, bfloat16).

    Args:
        model: Any module.
        enabled: False for the opposite.
    """
    for module in model.modules():
        if isinstance(module, Layer):
            module._prepacked = Prepacked() if enabled else None


def _why_not(module: torch.nn.Module) -> str | None:
    """Why a recurrent layer cannot be swapped; empty for other modules, None if it can."""
    if isinstance(module, torch.nn.RNNCellBase):
        return f"{type(module).__name__} takes single steps"
    if not isinstance(module, torch.nn.RNNBase) or isinstance(module, Layer):
        return ""
    if _plain_type(module) not in _FAST:
        return f"{_plain_type(module).__name__} is not a class of torch.nn, and may do more"
    if "forward" in vars(module):
        return "it has a forward of its own"
    if module.proj_size:
        return "rnnfast has no projections (proj_size)"
    weight = next(module.parameters())
    if weight.device.type != "cpu":
        return f"its parameters are on {weight.device}"
    if weight.dtype not in (torch.float32, torch.float64, torch.bfloat16):
        return f"rnnfast does not compute in {weight.dtype}"
    return None


def _plain_type(module: torch.nn.Module) -> type[torch.nn.Module]:
    """The class of a module, or that beneath its parametrizations (weight norm and the like)."""
    plain: type[torch.nn.Module] = parametrize.type_before_parametrizations(module)
    return plain


def _set_class(module: torch.nn.Module, classes: Mapping[type, type]) -> None:
    new, old = classes[_plain_type(module)], type(module)
    if parametrize.is_parametrized(module):  # by a class of its own, made for this module
        new = type(old.__name__, (new,), dict(vars(old)))
    module.__class__ = new
