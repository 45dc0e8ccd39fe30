"""Lists and dicts of modules that are modules themselves, like those of PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, overload

from rnnfast.layers.module import Module, Named


class ModuleList(Module, MutableSequence[Module]):
    """A list of modules, whose parameters have PyTorch's names: `0.weight`, `1.weight`, ...

    A model may as well use a plain list as an attribute. Unlike that, a `ModuleList` is itself a
    module, which you can train, save and print on its own. It has the methods of a list.

    Args:
        modules: The modules, in order.

    Raises:
        TypeError: An item is not a module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self._held = [_module(f"modules[{i}]", module) for i, module in enumerate(modules)]

    def _constructor_arguments(self) -> dict[str, Any]:
        return {"modules": self._held}

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        """Return a module, or a `ModuleList` of the modules in a slice."""
        return ModuleList(self._held[index]) if isinstance(index, slice) else self._held[index]

    @overload
    def __setitem__(self, index: int, value: Module) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[Module]) -> None: ...
    def __setitem__(self, index: int | slice, value: Module | Iterable[Module]) -> None:
        """Replace a module, or the modules in a slice."""
        held = list(self._held)
        if isinstance(index, slice):
            given = value if isinstance(value, Iterable) else ()
            held[index] = [_module("value", module) for module in given]
        else:
            held[index] = _module("value", value)
        self._held = held

    def __delitem__(self, index: int | slice) -> None:
        """Remove a module, or the modules in a slice."""
        held = list(self._held)
        del held[index]
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def insert(self, index: int, value: Module) -> None:
        """Insert a module before an index."""
        self._held = [*self._held[:index], _module("value", value), *self._held[index:]]

    def _leaves(self) -> Named:
        return _unheld(super()._leaves())


class ModuleDict(Module, MutableMapping[str, Module]):
    """A dict of modules under names of your own, as in `encoder.weight`, in insertion order.

    A model may as well use a plain dict as an attribute. Unlike that, a `ModuleDict` is itself a
    module, which you can train, save and print on its own. It has the methods of a dict.

    Args:
        modules: The modules by name.

    Raises:
        TypeError: A value is not a module, or a name is not a string.
        ValueError: A name is empty or contains a dot, which separates the parts of a path.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self._held: dict[str, Module] = {}
        self.update(modules)

    def _constructor_arguments(self) -> dict[str, Any]:
        return {"modules": self._held}

    # Mappings are compared by their items, but a module is equal only to itself.
    __hash__ = Module.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __getitem__(self, name: str) -> Module:
        return self._held[name]

    def __setitem__(self, name: str, value: Module) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name: expected a string, got {type(name).__name__}")
        if not name or "." in name:
            raise ValueError(f"name: expected a string without a dot, got {name!r}")
        self._held = self._held | {name: _module(f"modules[{name!r}]", value)}

    def __delitem__(self, name: str) -> None:
        held = dict(self._held)
        del held[name]
        self._held = held

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def _leaves(self) -> Named:
        return _unheld(super()._leaves())


def _unheld(leaves: Named) -> Named:
    """Remove the attribute that holds the modules from their names."""
    for name, leaf in leaves:
        yield name.removeprefix("_held."), leaf


def _module(name: str, value: object) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{name}: expected a module, got {type(value).__name__}")
    return value
