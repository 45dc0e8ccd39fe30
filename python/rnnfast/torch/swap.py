"""Functions that act on all recurrent layers of a model: swap, report, prepack, quantise them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch.nn.utils import parametrize

from rnnfast.torch.cells import GRUCell, LSTMCell, RNNCell, SingleStep
from rnnfast.torch.layer import Layer
from rnnfast.torch.layers import GRU, LSTM, RNN
from rnnfast.torch.prepacked import Prepacked
from rnnfast.torch.steps import KeptWeights

_FAST: dict[type[torch.nn.Module], type[Layer] | type[SingleStep]] = {
    fast.twin: fast
    for fast in (LSTM, GRU, RNN, LSTMCell, GRUCell, RNNCell)
    if fast.twin is not None
}
_Model = TypeVar("_Model", bound=torch.nn.Module)
_TWINS = {layer: twin for twin, layer in _FAST.items()}


_ADVICE = (
    "Apply tools that look for the classes of torch.nn before accelerate: quantisation with "
    "torch.ao, validation with Opacus.",
    "Call rnnfast.torch.restore(model) before torch.jit.script, and before you pickle a whole "
    "model for somebody without rnnfast.",
)


@dataclass
class Report:
    """Lists which recurrent layers of a model rnnfast runs; `str` has one line for each layer.

    Attributes:
        fast: The layers that rnnfast runs: from the path in the model (empty for the model itself)
            to the class.
        left: The recurrent layers that PyTorch runs: from the path to the reason.
    """

    fast: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{path or 'the model'}: {what}" for path, what in self.fast.items()]
        lines += [
            f"{path or 'the model'}: left to PyTorch: {why}" for path, why in self.left.items()
        ]
        advice = _ADVICE if self.fast else ()
        return "\n".join([*lines, *advice]) or "no recurrent layers"


def accelerate(model: _Model) -> _Model:
    """Let rnnfast run the recurrent layers inside a model, in place.

    Modules stay the same objects, with the same parameters and hooks, so optimisers, references and
    checkpoints remain valid. Only their classes change, from `torch.nn.LSTM`, `GRU`, `RNN`,
    `LSTMCell`, `GRUCell` and `RNNCell` to those of `rnnfast.torch`. `print(model)` shows which
    layers rnnfast runs, and `report` says why it does not run the others.

    Apply tools that look for the classes of `torch.nn` first: initialisers, quantisation with
    `torch.ao`, validation with Opacus. Call `restore` before you pass on a pickled model or script
    it.

    Args:
        model: Any module.

    Returns:
        The model itself.

    Raises:
        TypeError: It is not a module, as for the functions below.

    Warns:
        UserWarning: No layer was swapped, as all had been swapped before or cannot be swapped.
    """
    _check_module(model)
    if not _swap(model):
        warnings.warn(f"accelerate changed nothing: {_nothing(report(model))}", stacklevel=2)
    return model


def restore(model: _Model) -> _Model:
    """Let PyTorch run the recurrent layers inside a model again: the opposite of `accelerate`.

    Layers and cells that were created as those of `rnnfast.torch` become those of `torch.nn`, too.
    A `Recurrent` or `RecurrentCell` stays, as PyTorch has no class for it, and so does a layer with
    `learn_state` or with zoneout or dropout inside its steps, which `torch.nn` lacks.

    Args:
        model: Any module.

    Returns:
        The model itself.
    """
    _check_module(model)
    for module in model.modules():
        if _plain_type(module) in _TWINS and not module.has_more:
            for name in ("_prepacked", "_kept", "precision"):
                vars(module).pop(name, None)
            _set_class(module, _TWINS)
    return model


def report(model: torch.nn.Module) -> Report:
    """Return which recurrent layers of a model rnnfast runs, and why it does not run the others.

    Args:
        model: Any module, before or after `accelerate`.
    """
    _check_module(model)
    found = Report()
    for path, module in model.named_modules():
        reason = _why_not(module)
        if isinstance(module, (Layer, SingleStep)):
            found.fast[path] = f"rnnfast.torch.{_plain_type(module).__name__}"
            if module.precision != "full":
                found.fast[path] += f" in {module.precision}"
        elif reason is None:
            found.left[path] = "not accelerated yet"
        elif reason:
            found.left[path] = reason
    return found


def _nothing(found: Report) -> str:
    """Return the reason why `accelerate` swapped no layer, in one line."""
    layers = [f"{path or 'the model'} is already {what}" for path, what in found.fast.items()]
    layers += [
        f"{path or 'the model'} is left to PyTorch: {why}" for path, why in found.left.items()
    ]
    return "; ".join(layers) or "the model has no recurrent layers"


def prepack(model: torch.nn.Module, enabled: bool = True) -> None:
    """Let the rnnfast layers inside a model keep their weights packed between inference calls.

    A call of eight rows (steps times sequences) or more copies the weights into the layout that the
    kernels read, which takes a large part of the time of a short sequence. A layer that keeps the
    copy needs the memory of its weights once more. It makes a new copy if the weights are in other
    memory, or if PyTorch has counted a change of them: a step of an optimiser, `load_state_dict` or
    any other operation in place. PyTorch does not count changes through `parameter.data`, through a
    NumPy array that shares the memory, or by FSDP, so the layer does not notice them.

    Calls in training or in compiled code are not affected, nor are layers whose weights are
    computed for each call (parametrizations, bfloat16).

    Args:
        model: Any module.
        enabled: Whether to keep packed weights; False undoes this.
    """
    _check_module(model)
    for module in model.modules():
        if isinstance(module, Layer):
            module._prepacked = Prepacked() if enabled else None


def quantize(model: _Model, enabled: bool = True) -> _Model:
    """Let the recurrent layers inside a model evaluate by products of 8-bit integers, in place.

    Layers of `torch.nn` are swapped first, as by `accelerate`. Each row of a weight matrix and, in
    every step, each input and each state get a scale of their own, so that the results of a
    sequence do not depend on the rest of its batch; docs/int8.md states the arithmetic and its
    accuracy. Layers keep their weights packed, as by `prepack`. Their parameters do not change, and
    neither do checkpoints.

    Such layers only evaluate: they raise an error in training mode, and if their input or state
    requires a gradient. What `rnnfast.torch` leaves to PyTorch (other devices, graphs of ONNX) is
    computed in full precision.

    Args:
        model: Any module.
        enabled: Whether to quantise; False undoes this, and `prepack`.

    Returns:
        The model itself.

    Raises:
        TypeError: The weights of a layer are not float32. Nothing is changed then.

    Warns:
        UserWarning: The model has no layer that rnnfast runs or can run.
    """
    _check_module(model)
    layers = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, (Layer, SingleStep)) or (enabled and _why_not(module) is None)
    }
    for path, layer in layers.items() if enabled else ():
        dtype = next(layer.parameters()).dtype
        if dtype != torch.float32:
            raise TypeError(
                f"{path or 'model'}: expected weights of torch.float32, which products of 8-bit "
                f"integers round, got {dtype}"
            )
    if not layers:
        warnings.warn(f"quantize changed nothing: {_nothing(report(model))}", stacklevel=2)
    if enabled:
        _swap(model)
    for layer in layers.values():
        layer.precision = "int8" if enabled else "full"
    prepack(model, enabled)
    return model


def _check_module(model: object) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")


def _swap(model: torch.nn.Module) -> bool:
    """Swap all layers that can be swapped; return whether there are any."""
    swapped = [module for module in model.modules() if _why_not(module) is None]
    for module in swapped:
        _set_class(module, _FAST)
        if isinstance(module, SingleStep):
            module._kept = KeptWeights()
    return bool(swapped)


def _why_not(module: torch.nn.Module) -> str | None:
    """Return why a recurrent layer cannot be swapped; "" for other modules, None if it can."""
    recurrent = isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase))
    if not recurrent or isinstance(module, (Layer, SingleStep)):
        return ""
    if _plain_type(module) not in _FAST:
        return (
            f"{_plain_type(module).__name__} is not a class of torch.nn and may behave differently"
        )
    if "forward" in vars(module):
        return "it has its own forward"
    weight = next(module.parameters())
    if weight.device.type != "cpu":
        return f"its parameters are on {weight.device}"
    if weight.dtype not in (torch.float32, torch.float64, torch.bfloat16):
        return f"rnnfast does not support {weight.dtype}"
    return None


def _plain_type(module: torch.nn.Module) -> type[torch.nn.Module]:
    """Return the class of a module, ignoring parametrizations such as weight norm."""
    plain: type[torch.nn.Module] = parametrize.type_before_parametrizations(module)
    return plain


def _set_class(module: torch.nn.Module, classes: Mapping[type, type]) -> None:
    new, old = classes[_plain_type(module)], type(module)
    if parametrize.is_parametrized(module):  # PyTorch made a class just for this module
        new = type(old.__name__, (new,), dict(vars(old)))
    module.__class__ = new
