"""What layers and models are: parameters with their gradients, modes, states to save."""

from __future__ import annotations

import textwrap
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set, ValuesView
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _backend, _checks
from rnnfast._checks import RealArray
from rnnfast.parameter import Parameter

if TYPE_CHECKING:
    from typing_extensions import Self

Member: TypeAlias = "Module | Parameter"


class Module:
    """Base of the layers and of models made of them.

    A model is a subclass that sets layers as attributes, one by one or in lists, tuples and dicts,
    nested too. Their parameters are then its own, with the way to them before their names:
    `lstm.weight_ih_l0`, `layers.0.weight`, `blocks.enc.weight`. A `Parameter` that is an attribute
    is the model's as well, by the attribute's name. What is there twice counts once, by its first
    name. An array assigned to a parameter is copied into it.

    Attributes:
        training: Whether calls keep what `backward` needs, and apply dropout.
    """

    # Defaults, so that a model works whose __init__ does not call that of its base.
    training: bool = True
    _on: _backend.Backend = _backend.CPU
    _generator: np.random.Generator | None = None

    def __init__(self, device: str | None = None) -> None:
        self._on = _backend.get(device)

    @property
    def device(self) -> str:
        """Where the parameters are: "cpu" or "cuda"."""
        first = next(self.parameters(), None)
        return self._on.name if first is None else _backend.of(first.value).name

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter, a module's own ones before those of its children.

        Raises:
            ValueError: Two parameters have one name, as by keys 1 and "1" of one dict.
        """
        names: set[str] = set()
        for parameter in self._own_parameters():
            if parameter.name in names:
                raise ValueError(f"{parameter.name}: expected one parameter of this name, got two")
            names.add(parameter.name)
            yield parameter

    def _own_parameters(self) -> Iterator[Parameter]:
        seen: set[int] = set()
        for prefix, _, parameters in self._modules():
            for name, parameter in parameters:
                if id(parameter.value) not in seen:
                    seen.add(id(parameter.value))
                    yield parameter.renamed(f"{prefix}{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, or the values of a parameter.

        Raises:
            TypeError: The value holds modules where they have no names, as in a set or in an
                object that is none; or it is a parameter in place of another.
            ValueError: A parameter's array has another shape or is read-only.
        """
        present = vars(self).get(name)
        if not isinstance(present, Parameter):
            _check_tracked(name, value)
            super().__setattr__(name, value)
        elif isinstance(value, Parameter) and value is not present:
            raise TypeError(
                f"{name}: expected an array to copy into the parameter, got another Parameter, "
                f"which cannot take its place; to copy its values assign its `value`"
            )
        elif value is not present:  # it is after `module.weight *= 2`
            present.value = value

    def train(self, mode: bool = True) -> Self:
        """Switch to training (dropout, backward) or, with False, to evaluation. Returns self."""
        self.training = mode
        for _, child in self._children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation: no dropout, nothing kept for backward. Returns self."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for parameter in self.parameters():
            parameter.grad.fill(0)

    def state_dict(self) -> dict[str, RealArray]:
        """Copies of every parameter's value by name: NumPy arrays, wherever the module is."""
        return {p.name: _backend.to_host(p.value) for p in self.parameters()}

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Set every parameter's value.

        Args:
            state_dict: An array for each parameter's name, such as `state_dict()` gives, or
                PyTorch's tensors as NumPy arrays.

        Raises:
            ValueError: A name is missing or unknown, or a shape differs. Nothing is changed then.
            TypeError: Values are no reals. Nothing is changed then.
        """
        parameters = list(self.parameters())
        _checks.same_names("state_dict", state_dict, (p.name for p in parameters))
        arrays = [_checks.values_of(p.name, state_dict[p.name], p.value) for p in parameters]
        for _, module, _ in self._modules():
            module._thaw()
        for p, array in zip(parameters, arrays, strict=True):
            p.value[...] = array

    def generator_state(self) -> dict[str, Any]:
        """State of the generators of dropout by layer, for checkpoints; JSON can hold it."""
        return {name: g.bit_generator.state for name, g in self._generators()}

    def set_generator_state(self, state: Mapping[str, Any]) -> None:
        """Set what `generator_state` gave, so that training goes on with the same bits."""
        generators = dict(self._generators())
        _checks.same_names("state", state, generators)
        for name, generator in generators.items():
            generator.bit_generator.state = state[name]

    def extra_repr(self) -> str:
        """What `repr` shows between the brackets, before the children; for subclasses."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self._children()]
        own = self.extra_repr()
        if children:
            lines = "\n".join([own, *children] if own else children)
            own = "\n" + textwrap.indent(lines, "  ") + "\n"
        return f"{type(self).__name__}({own})"

    def _thaw(self) -> None:
        """Drop what was made of the module's own parameters, which may change from now on."""

    def _members(self) -> Iterator[tuple[str, Member]]:
        return _members(tuple(vars(self).items()))

    def _children(self) -> Iterator[tuple[str, Module]]:
        return ((name, m) for name, m in self._members() if isinstance(m, Module))

    def _modules(
        self, prefix: str = "", seen: set[int] | None = None
    ) -> Iterator[tuple[str, Module, list[tuple[str, Parameter]]]]:
        """This module and all below, each once: what its names start with, itself, parameters."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        members = list(self._members())
        yield prefix, self, [(name, m) for name, m in members if isinstance(m, Parameter)]
        for name, child in members:
            if isinstance(child, Module):
                yield from child._modules(f"{prefix}{name}.", seen)

    def _generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        for prefix, module, _ in self._modules():
            if module._generator is not None:
                yield prefix.removesuffix("."), module._generator

    def _add(self, name: str, value: RealArray) -> Parameter:
        value = self._on.asarray(value)
        parameter = Parameter(name, value, np.zeros_like(value))
        setattr(self, name, parameter)
        return parameter


def _members(items: Iterable[tuple[Any, Any]], prefix: str = "") -> Iterator[tuple[str, Member]]:
    """Modules and parameters among named values, and in lists, tuples and dicts there."""
    for name, value in items:
        if isinstance(value, (Module, Parameter)):
            yield f"{prefix}{name}", value
        elif isinstance(value, dict):
            yield from _members(value.items(), f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield from _members(enumerate(value), f"{prefix}{name}.")


def _check_tracked(name: str, value: Any) -> None:
    """Refuse modules and parameters that `_members` would not find."""
    if isinstance(value, (Module, Parameter)):
        return
    if isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_tracked(name, item)
        return
    if isinstance(value, (Set, deque, ValuesView, Mapping)):
        inside = iter(value.values() if isinstance(value, Mapping) else value)
        cure = "use a list, a tuple or a dict"
    else:
        inside = iter(getattr(value, "__dict__", {}).values())
        cure = "make its class a subclass of rnnfast.Module"
    if any(isinstance(item, (Module, Parameter)) for item in inside):
        raise TypeError(
            f"{name}: expected modules and parameters as attributes or in lists, tuples and dicts, "
            f"where they are found and have names, got some in a {type(value).__name__}; {cure}"
        )


def uniform(
    generator: np.random.Generator, shape: tuple[int, ...], fan: int, dtype: np.dtype[Any]
) -> RealArray:
    """Initial values in +-1/sqrt(fan)."""
    bound = 1 / np.sqrt(fan)
    return generator.uniform(-bound, bound, shape).astype(dtype)
