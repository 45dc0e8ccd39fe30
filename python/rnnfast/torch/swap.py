"""What is done to the recurrent layers of a whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch.nn.utils import parametrize

from rnnfast.torch.layers import GRU, LSTM, RNN, Layer
from rnnfast.torch.prepacked import Prepacked

_FAST: dict[type[torch.nn.Module], type[Layer]] = {
    layer.twin: layer for layer in (LSTM, GRU, RNN) if layer.twin is not None
}
_TWINS = {layer: twin for twin, layer in _FAST.items()}


@dataclass
class Report:
    """What `accelerate` or `restore` did to a model; as text, a line a layer.

    Attributes:
        swapped: The layers that were swapped: path in the model (empty for the model itself), and
            what they are now.
        left: The recurrent layers that stayed as they are: path, and why.
    """

    swapped: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{path or 'the model'}: now {what}" for path, what in self.swapped.items()]
        lines += [f"{path or 'the model'}: left, {why}" for path, why in self.left.items()]
        return "\n".join(lines) or "no recurrent layers"


def accelerate(model: torch.nn.Module) -> Report:
    """Let rnnfast run the recurrent layers inside a model, in place.

    Modules stay the same objects, with the same parameters and hooks, so that optimisers,
    references and checkpoints remain valid; only their classes change, from `torch.nn.LSTM`, `GRU`
    and `RNN` to those of `rnnfast.torch`.

    Args:
        model: Any module.

    Returns:
        What was swapped, and what was not and why.
    """
    report = Report()
    for path, module in model.named_modules():
        reason = _why_not(module)
        if reason is None:
            _set_class(module, _FAST)
            report.swapped[path] = f"rnnfast.torch.{_plain_type(module).__name__}"
        elif reason:
            report.left[path] = reason
    return report


def restore(model: torch.nn.Module) -> Report:
    """Give the recurrent layers inside a model back to PyTorch: the opposite of `accelerate`.

    Layers that were built as `rnnfast.torch`'s LSTM, GRU or RNN become `torch.nn`'s, too.

    Args:
        model: Any module.

    Returns:
        What was swapped, and which layers PyTorch has no class for.
    """
    report = Report()
    for path, module in model.named_modules():
        if _plain_type(module) in _TWINS:
            prepack(module, False)
            _set_class(module, _TWINS)
            report.swapped[path] = f"torch.nn.{_plain_type(module).__name__}"
        elif isinstance(module, Layer):
            report.left[path] = f"torch.nn has no class for {type(module).__name__}"
    return report


def prepack(model: torch.nn.Module, enabled: bool = True) -> None:
    """Let rnnfast's layers inside a model keep their weights packed between calls of inference.

    A call looks at the weights first, and one of eight rows (steps times sequences) or more copies
    them into the form that the kernels read; of short sequences that is a good part. A layer that
    keeps the form needs the memory of its weights again, and makes it anew when PyTorch has counted
    a change of the weights: steps of optimisers, `load_state_dict`, any operation in place, other
    memory. Not counted, and therefore not seen, is what is written through `parameter.data` or a
    NumPy array of the same memory.

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
