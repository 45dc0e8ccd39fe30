"""`Module`, the base of layers and models: parameters, training mode and state dicts."""

from __future__ import annotations

import math
import textwrap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MappingView, Sequence, Set
from functools import lru_cache, partial
from types import (
    BuiltinFunctionType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MemberDescriptorType,
)
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import RealArray
from rnnfast._files import AnyPath
from rnnfast.layers.constructed import Constructed
from rnnfast.layers.constructed import Reference as Reference
from rnnfast.layers.parameter import Parameter

if TYPE_CHECKING:
    from typing_extensions import Self

    from rnnfast.layers.stream_layers import StreamLayer

Named: TypeAlias = Iterator[tuple[str, Any]]

# Types whose values cannot hold modules, so that a list of them need not be searched.
_PLAIN: frozenset[type] = frozenset(
    {bool, int, float, complex, str, bytes, bytearray, range, type(None)}
    | {kind for kind in np.sctypeDict.values() if kind is not np.object_}
)
# Iterators can be read only once, so that a search for modules would use up their items.
_ONCE: tuple[type, ...] = (
    GeneratorType,
    *(map, filter, zip, enumerate, reversed),
    *(type(iter([])), type(iter(())), type(reversed([]))),
    *(type(iter({}.values())), type(iter({}.items()))),
)


class Module(Constructed):
    """Base class of layers and of models made of them.

    A model is a subclass that sets layers as attributes, one by one or in lists, tuples and dicts,
    which may be nested. The parameters of the layers then belong to the model, and their names
    begin with the path to the layer: `lstm.weight_ih_l0`, `layers.0.weight`, `blocks.enc.weight`.
    An attribute that is a `Parameter` belongs to the model as well, under the attribute's name. A
    parameter that is reached by several paths counts once, under its first name. Assigning an
    array to a parameter copies the array into it.

    Attributes:
        training: Whether calls apply dropout and keep the values that `backward` needs.
    """

    # These defaults let a model work even if its __init__ does not call that of its base.
    training: bool = True
    _backend: backends.Backend
    _generator: np.random.Generator | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in _leaves(vars(cls).items()):
            if isinstance(value, (Module, Parameter)):
                raise TypeError(
                    f"{cls.__name__}.{name}: expected modules and parameters to be set in "
                    "`__init__`, by `self.NAME = ...`, got one as an attribute of the class, which "
                    "all of its objects would share"
                )

    def __init__(self, device: str | None = None) -> None:
        self._backend = backends.get(device)

    @property
    def device(self) -> str:
        """The device of the parameters, "cpu" or "cuda"."""
        first = next(self.parameters(), None)
        return (
            vars(self).get("_backend", backends.CPU).name
            if first is None
            else backends.of(first.value).name
        )

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter, those of a module before those of its children.

        Raises:
            ValueError: Two parameters have the same name, as for the keys 1 and "1" of a dict.
            TypeError: A module or parameter is in a place where it has no name, such as a set.
        """
        names: set[str] = set()
        for parameter in self._own_parameters():
            if parameter.name in names:
                raise ValueError(f"{parameter.name}: expected one parameter of this name, got two")
            names.add(parameter.name)
            yield parameter

    def _own_parameters(self) -> Iterator[Parameter]:
        seen: set[int] = set()
        modules = list(self._modules())
        for prefix, _, leaves in modules:
            for name, leaf in leaves:
                if isinstance(leaf, Parameter) and id(leaf.value) not in seen:
                    seen.add(id(leaf.value))
                    yield leaf.renamed(f"{prefix}{name}")
        for prefix, _, leaves in modules:
            self._check_tracked(((f"{prefix}{name}", leaf) for name, leaf in leaves))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; if it is a parameter, copy the values into it.

        Raises:
            TypeError: The value holds modules where they have no names, such as in a set or in an
                object that is not a module; or it is a parameter that would replace another.
            ValueError: The array has another shape than the parameter, or the parameter is
                read-only; or the value holds this module itself; or the name is that of a method.
        """
        present = vars(self).get(name)
        if not isinstance(present, Parameter):
            if type(value) not in _PLAIN:
                leaves = list(_leaves([(name, value)]))
                self._check_apart(leaves)
                self._check_tracked(leaves)
            if not name.startswith("__") and callable(getattr(Module, name, None)):
                raise ValueError(
                    f"{name}: expected another name for the attribute, as this one would hide a "
                    "method of rnnfast.Module"
                )
            super().__setattr__(name, value)
        elif isinstance(value, Parameter) and value is not present:
            raise TypeError(
                f"{name}: expected an array to copy into the parameter, got another Parameter, "
                "which cannot replace it; to copy its values, assign its `value`"
            )
        elif value is not present:  # `module.weight *= 2` assigns the parameter itself
            present.value = value

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse the call, because a model must define its own `__call__`."""
        cure = (
            "; rename its `forward`, or add `__call__ = forward`"
            if hasattr(self, "forward")
            else ""
        )
        raise TypeError(
            f"{type(self).__name__}: expected a method `__call__`, which runs when the model is "
            f"called, got none{cure}"
        )

    def train(self, mode: bool = True) -> Self:
        """Switch to training, with dropout and gradients, or to evaluation. Return self."""
        self.training = mode
        for _, child in self._children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation: apply no dropout, keep no values for gradients. Return self."""
        return self.train(False)

    def freeze(self) -> Self:
        """Freeze every parameter by setting its `requires_grad` to False. Return self.

        Gradients still pass through the module to the layers before it.
        """
        return self._set_requires_grad(False)

    def unfreeze(self) -> Self:
        """Make every parameter trainable again. Return self."""
        return self._set_requires_grad(True)

    def _set_requires_grad(self, trained: bool) -> Self:
        for parameter in self.parameters():
            parameter.requires_grad = trained
        return self

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for parameter in self.parameters():
            parameter.grad.fill(0)

    def state_dict(self) -> dict[str, RealArray]:
        """Return a copy of every parameter's value by name, as NumPy arrays for any device."""
        return {p.name: backends.to_host(p.value) for p in self.parameters()}

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Set every parameter's value.

        Args:
            state_dict: An array for each parameter's name, as `state_dict()` returns them; tensors
                of PyTorch must first be converted to NumPy arrays.

        Raises:
            ValueError: A name is missing or unknown, or a shape differs. Nothing is changed then.
            TypeError: Values are not real numbers. Nothing is changed then.
        """
        parameters = list(self.parameters())
        checks.same_names("state_dict", state_dict, (p.name for p in parameters))
        arrays = [checks.values_of(p.name, state_dict[p.name], p.value) for p in parameters]
        self._thaw_all()
        for p, array in zip(parameters, arrays, strict=True):
            p.value[...] = array

    def generator_state(self) -> dict[str, Any]:
        """Return the state of each layer's dropout generator, which JSON can hold."""
        return {name: g.bit_generator.state for name, g in self._generators()}

    def set_generator_state(self, state: Mapping[str, Any]) -> None:
        """Restore a result of `generator_state`, so that training continues bit for bit."""
        generators = dict(self._generators())
        checks.same_names("state", state, generators)
        for name, generator in generators.items():
            generator.bit_generator.state = state[name]

    def extra_repr(self) -> str:
        """Return the text that `repr` shows in brackets before the children; override it freely."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self._children()]
        own = self.extra_repr()
        if children:
            lines = "\n".join([own, *children] if own else children)
            own = "\n" + textwrap.indent(lines, "  ") + "\n"
        return f"{type(self).__name__}({own})"

    def _stream_layers(self) -> list[StreamLayer]:
        """Return the stream layers that compute one step of this layer.

        Raises:
            ValueError: The layer needs whole sequences.
        """
        raise ValueError(
            f"stream: expected layers that can run step by step, got {type(self).__name__}, which "
            "cannot"
        )

    def _thaw(self) -> None:
        """Drop any packed copies of the module's own parameters, which are about to change."""

    def _thaw_all(self) -> None:
        """Call `_thaw` on this module and on all modules below it."""
        for _, module, _ in self._modules():
            module._thaw()

    def _leaves(self) -> Named:
        return _leaves(tuple(vars(self).items()))

    def _children(self) -> list[tuple[str, Module]]:
        children = [(name, leaf) for name, leaf in self._leaves() if isinstance(leaf, Module)]
        self._check_apart(children)
        return children

    def _modules(
        self, prefix: str = "", seen: set[int] | None = None
    ) -> Iterator[tuple[str, Module, list[tuple[str, Any]]]]:
        """Yield this module and all below it once, each as (prefix, module, attributes)."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        leaves = list(self._leaves())
        yield prefix, self, leaves
        for name, child in leaves:
            if isinstance(child, Module):
                yield from child._modules(f"{prefix}{name}.", seen)

    def _check_tracked(self, leaves: Iterable[tuple[str, Any]]) -> None:
        """Refuse modules and parameters that a search of the attributes would not find."""
        for name, leaf in leaves:
            if isinstance(leaf, (Module, Parameter)):
                continue
            if isinstance(leaf, _ONCE):
                raise TypeError(
                    f"{name}: expected values that can be read more than once, as they may contain "
                    f"modules, got a {type(leaf).__name__}; use a list"
                )
            held = [i for i in _held_by(leaf.__class__)(leaf) if isinstance(i, (Module, Parameter))]
            if held and not self._tracks(held):
                _refuse(name, leaf)

    def _tracks(self, members: list[Module | Parameter]) -> bool:
        modules = list(self._modules())
        known = {id(module) for _, module, _ in modules}
        known |= {
            id(leaf.value) for *_, s in modules for _, leaf in s if isinstance(leaf, Parameter)
        }
        return all(id(m.value if isinstance(m, Parameter) else m) in known for m in members)

    def _check_apart(self, leaves: Iterable[tuple[str, Any]]) -> None:
        """Refuse modules that hold this one, because `train` and `repr` would never return."""
        for name, leaf in leaves:
            if isinstance(leaf, Module) and any(m is self for _, m, _ in leaf._modules()):
                raise ValueError(
                    f"{name}: expected a module that does not contain the module whose attribute "
                    f"it is, got a {type(leaf).__name__} that does"
                )

    def _generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        for prefix, module, _ in self._modules():
            if module._generator is not None:
                yield prefix.removesuffix("."), module._generator

    def _add(self, name: str, value: RealArray) -> Parameter:
        value = self._backend.asarray(value)
        parameter = Parameter(name, value, np.zeros_like(value))
        setattr(self, name, parameter)
        return parameter


def load(path: AnyPath, device: str | None = None) -> Module:
    """Read a module of any class that `Module.save` wrote; see `Module.load`."""
    return Module.load(path, device)


def _leaves(
    items: Iterable[tuple[Any, Any]], prefix: str = "", inside: tuple[Any, ...] = ()
) -> Named:
    """Yield named values, and those in nested lists, tuples and dicts, except plain values."""
    for name, value in items:
        if type(value) in _PLAIN or (type(value) is np.ndarray and not value.dtype.hasobject):
            continue
        if not isinstance(value, (list, tuple, dict)):
            yield f"{prefix}{name}", value
            continue
        if any(value is outer for outer in inside):
            raise ValueError(
                f"{prefix}{name}: expected a {type(value).__name__} that does not contain itself"
            )
        if isinstance(value, dict):
            if any(issubclass(kind, (Module, Parameter)) for kind in set(map(type, value))):
                raise TypeError(
                    f"{prefix}{name}: expected modules and parameters as values of a dict, named "
                    "by their keys, got one as a key"
                )
            values, inner = iter(value.values()), iter(value.items())
        else:
            values, inner = iter(value), enumerate(value)
        if not _all_plain(values):
            yield from _leaves(inner, f"{prefix}{name}.", (*inside, value))


def _all_plain(values: Iterable[Any]) -> bool:
    return _PLAIN.issuperset(map(type, values))  # much faster than a loop in Python


@lru_cache(1024)
def _held_by(kind: type) -> Callable[[Any], Iterable[Any]]:
    """Return a function that lists the items or attributes of an object that is not searched."""
    if issubclass(kind, np.ndarray):
        return lambda array: array.flat if array.dtype.hasobject else ()
    if issubclass(kind, (Reference, type, FunctionType, BuiltinFunctionType)):
        return lambda _: ()
    if issubclass(kind, partial):
        return lambda call: (call.func, *call.args, *call.keywords.values())
    if issubclass(kind, MappingProxyType):
        return lambda mapping: mapping.values()
    if issubclass(kind, (Set, deque, MappingView)):
        return lambda items: () if _all_plain(items) else items
    deep = issubclass(kind, (Mapping, Sequence))  # search attributes: reading items may be slow
    slots = [
        name
        for base in kind.__mro__
        for name, what in vars(base).items()
        if isinstance(what, MemberDescriptorType)
    ]

    def attributes(thing: Any) -> Iterable[Any]:
        named = [*getattr(thing, "__dict__", {}).items()]
        named += [(name, getattr(thing, name, None)) for name in slots]
        return [value for _, value in (_leaves(named) if deep else named)]

    return attributes


def _refuse(name: str, leaf: Any) -> None:
    of_items = isinstance(leaf, (Set, deque, MappingView, Mapping, Sequence, np.ndarray))
    of_own = "make its class a subclass of rnnfast.Module, or set the module as an attribute first"
    raise TypeError(
        f"{name}: expected modules and parameters as attributes or in lists, tuples and values of "
        f"dicts, where they can be found, got some in a {type(leaf).__name__}; "
        f"{'use a list, a tuple or a dict' if of_items else of_own}"
    )


def uniform(
    generator: np.random.Generator, shape: tuple[int, ...], fan: int, dtype: np.dtype[Any]
) -> RealArray:
    """Draw initial values uniformly from +-1/sqrt(fan)."""
    checks.memory(math.prod(shape), dtype)
    bound = 1 / math.sqrt(fan)
    return generator.uniform(-bound, bound, shape).astype(dtype)
