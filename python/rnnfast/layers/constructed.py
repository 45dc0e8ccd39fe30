"""Modules that can be rebuilt from their constructors' arguments, and saved with them.

Every module notes its constructor's arguments when it is made, and these are written as JSON. Such
a description is only data: reading it runs no code except the constructors of classes that the
program already knows.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from rnnfast._engine import backends, checks, known
from rnnfast._engine.checks import RealArray
from rnnfast._files import AnyPath, CheckpointError
from rnnfast.layers.parameter import Parameter
from rnnfast.reference import Cell

if TYPE_CHECKING:
    from typing_extensions import Self

_classes: WeakValueDictionary[str, type[Constructed]] = WeakValueDictionary()


class Reference:
    """A reference to modules that belong to someone else, such as a call's reference to its layer.

    The search for modules inside a module's attributes does not follow references.
    """

    __slots__ = ()


class Constructed:
    """Base class of modules, which notes a constructor's arguments to describe, save and load them.

    A subclass need not do anything for this if its arguments are numbers, strings, None, booleans,
    dtypes, cells, modules, or lists, tuples and dicts of these.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _classes[_name_of(cls)] = cls

    def __new__(cls, *args: Any, **keywords: Any) -> Self:  # noqa: D102
        made = super().__new__(cls)
        vars(made)["_constructed_with"] = _Arguments(_bound(cls, args, keywords))
        return made

    def get_config(self) -> dict[str, Any]:
        """Describe how the module was made, as a dict for `from_config` that JSON can hold.

        Returns:
            `modules`: class and arguments of each module that is an argument of another, and last
            those of this one; `cells`: the equations of the cells that are not compiled; `tied`:
            for each parameter tied to another by `Linear.tie`, the name of the other.

        Raises:
            TypeError: An argument of a constructor is of a type that cannot be described.
        """
        described = _Description()
        described.add(self)
        tied = {name: first for name, _, _, first in self._tied_names()}
        return {"modules": described.modules, "cells": self._graphs(described.cells), "tied": tied}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], device: str | None = None) -> Self:
        """Make the module that a configuration describes, with fresh initial values.

        Args:
            config: A configuration returned by `get_config()`.
            device: The device for the layers whose class takes a `device`; None for "cpu".

        Raises:
            ValueError: A class is unknown; the last one is neither this class nor a subclass; an
                argument is unknown or out of range; or parameters cannot be tied as described.
            TypeError: A part of the configuration is of the wrong type.
        """
        checks.same_names("config", config, ("modules", "cells", "tied"))
        _register(config["cells"])
        made: list[Constructed] = []
        descriptions = config["modules"]
        for i, description in enumerate(descriptions):
            checks.same_names(f"modules[{i}]", description, ("class", "arguments"))
            base = cls if i == len(descriptions) - 1 else Constructed
            made.append(_make(_class(description["class"], base), description, made, device))
        if not made or not isinstance(made[-1], cls):
            raise ValueError("config: expected the description of a module, got none")
        made[-1]._tie(config["tied"])
        return made[-1]

    def save(self, path: AnyPath) -> None:
        """Write the module to a safetensors file: its parameters, and how it was made.

        The file is written completely or not at all. It does not hold the state of training:
        gradients, the random generators of dropout, and which parameters are frozen.

        Args:
            path: A new file, or a regular file to replace.

        Raises:
            rnnfast.CheckpointError: A `ValueError`: the file cannot be written, or a parameter is
                infinite or not a number.
            TypeError: An argument of a constructor is of a type that a file cannot hold.
        """
        from rnnfast._engine import tensor_files  # loads safetensors, which few programs need

        values = {"model": self.get_config()}
        tensor_files.write(path, _format(), values, self.state_dict())

    @classmethod
    def load(cls, path: AnyPath, device: str | None = None) -> Self:
        """Read a module that `save` wrote, in evaluation mode; call `train()` to train it further.

        The class must be known to the program: for a model of your own, first import the Python
        module that defines it. Nothing in the file is run as code.

        Args:
            path: The file.
            device: The device for the layers whose class takes a `device`; None for "cpu".

        Raises:
            rnnfast.CheckpointError: A `ValueError`: the file cannot be read, is damaged, or holds
                no module of this class that can be built; or parameters are missing, superfluous or
                of other shapes.
            rnnfast.cuda.DeviceError: The device cannot be used here.
        """
        from rnnfast._engine import tensor_files

        backends.get(device)
        (config,), tensors = tensor_files.read(path, _format(), ("model",))
        try:
            module = cls.from_config(config, device)
            module.load_state_dict(tensors)
        except (LookupError, TypeError, ValueError, AttributeError, MemoryError) as error:
            raise CheckpointError(
                f"{path}: contains no model that can be built: {error}"
            ) from error
        return module.eval()

    def _constructor_arguments(self) -> dict[str, Any] | None:
        """Return the arguments that make an equal module, by their names in the constructor.

        Classes whose modules can change after construction override this to return the arguments of
        the current state. Return None if the arguments are unknown.
        """
        noted: _Arguments | None = vars(self).get("_constructed_with")
        return None if noted is None else noted.values

    def _cell_names(self) -> Iterator[str]:
        """Return the names of the module's own cells, without those of its children."""
        return iter(())

    def _share(self, name: str, parameter: Parameter) -> None:  # noqa: ARG002
        """Replace a parameter of this module by one of another module."""
        raise ValueError(
            f"{name}: expected a module whose parameters can be tied, such as a Linear"
        )

    def _graphs(self, names: set[str]) -> dict[str, Any]:
        for _, module, _ in self._modules():
            names.update(module._cell_names())
        graphs = {name: known.graph_of(name) for name in sorted(names)}
        return {name: graph for name, graph in graphs.items() if graph is not None}

    def _tied_names(self) -> Iterator[tuple[str, Constructed, str, str]]:
        """Yield, for each tied parameter, its name, module and attribute, and the other's name."""
        first: dict[int, str] = {}
        for prefix, module, leaves in self._modules():
            for name, leaf in leaves:
                if isinstance(leaf, Parameter):
                    full = f"{prefix}{name}"
                    kept = first.setdefault(id(leaf.value), full)
                    if kept != full:
                        yield full, module, name, kept

    def _tie(self, tied: Mapping[str, str]) -> None:
        """Tie parameters, given as a mapping from each one's name to that of the shared one."""
        places = {
            f"{prefix}{name}": (module, name, leaf)
            for prefix, module, leaves in self._modules()
            for name, leaf in leaves
            if isinstance(leaf, Parameter)
        }
        for alias, first in tied.items():
            for name in (alias, first):
                if name not in places:
                    raise ValueError(f"tied: expected the names of parameters, got {name!r}")
            module, name, own = places[alias]
            other = places[first][2]
            if own.value is not other.value:
                checks.shape(alias, own.value, other.shape, f"of {first}, which it is tied to")
                module._share(name, other)

    if TYPE_CHECKING:  # `Module` implements these

        def _modules(self) -> Iterator[tuple[str, Self, list[tuple[str, Any]]]]: ...
        def state_dict(self) -> dict[str, RealArray]: ...  # noqa: D102
        def load_state_dict(self, state_dict: Mapping[str, Any]) -> None: ...  # noqa: D102
        def eval(self) -> Self: ...  # noqa: D102


class _Arguments(Reference):
    """The arguments of a module's constructor; None if they did not fit its signature."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Any] | None) -> None:
        self.values = values


class _Unknown(NamedTuple):
    """A placeholder for an argument that cannot be described."""

    type_name: str


class _CellName(NamedTuple):
    """A placeholder for a `Cell` argument, which is described by its name."""

    name: str


def _bound(
    cls: type[Constructed], args: tuple[Any, ...], keywords: dict[str, Any]
) -> dict[str, Any] | None:
    """Return a constructor's arguments by name, with lists copied, because they may change."""
    try:
        given = _signature(cls.__init__).bind(None, *args, **keywords).arguments
    except TypeError:
        return None  # the constructor says what is wrong
    return {name: _noted(value) for name, value in list(given.items())[1:]}


@lru_cache(1024)
def _signature(constructor: Callable[..., None]) -> inspect.Signature:
    return inspect.signature(constructor)


def _noted(value: Any) -> Any:
    """Return an argument in the form in which it is kept until the module is described."""
    as_it_is = (bool, int, float, str, Constructed, np.dtype, _CellName, _Unknown)
    if value is None or isinstance(value, as_it_is):
        return value
    if isinstance(value, np.generic):
        return _noted(value.item())
    if type(value) in (list, tuple):
        return type(value)(map(_noted, value))
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {key: _noted(item) for key, item in value.items()}
    if isinstance(value, type) and issubclass(value, (np.generic, float)):
        return np.dtype(value)
    if isinstance(value, Cell):
        try:
            return _CellName(known.name_of(value))
        except ValueError:  # the constructor says what is wrong
            return _Unknown("Cell")
    return _Unknown(type(value).__name__)


class _Description:
    """The JSON descriptions of modules: each once, after the modules that are its arguments."""

    def __init__(self) -> None:
        self.modules: list[dict[str, Any]] = []
        self.cells: set[str] = set()
        self._places: dict[int, int] = {}

    def add(self, module: Constructed) -> int:
        """Describe a module unless that is already done, and return its index in `modules`."""
        if id(module) not in self._places:
            name = type(module).__name__
            given = module._constructor_arguments()
            if given is None:
                raise TypeError(f"{name}: expected a module that was created by its constructor")
            arguments = {
                key: self._encoded(f"{name}: {key}", value)
                for key, value in given.items()
                if key != "device"  # a model may be loaded onto another device
            }
            self._places[id(module)] = len(self.modules)
            self.modules.append({"class": _name_of(type(module)), "arguments": arguments})
        return self._places[id(module)]

    def _encoded(self, label: str, value: Any) -> Any:
        value = _noted(value)
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": repr(float(value))}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, _CellName):
            self.cells.add(value.name)
            return {"cell": value.name}
        if isinstance(value, Constructed):
            return {"module": self.add(value)}
        if isinstance(value, np.dtype):
            return {"dtype": value.name}
        if isinstance(value, list):
            return [self._encoded(f"{label}[{i}]", item) for i, item in enumerate(value)]
        if isinstance(value, tuple) and not isinstance(value, _Unknown):
            return {"tuple": self._encoded(label, list(value))}
        if isinstance(value, dict):
            return {"dict": {k: self._encoded(f"{label}[{k!r}]", v) for k, v in value.items()}}
        got = value.type_name if isinstance(value, _Unknown) else type(value).__name__
        raise TypeError(
            f"{label}: expected an argument that a file can hold (None, booleans, numbers, "
            f"strings, dtypes, cells, modules, and lists, tuples and dicts of these), got {got}; "
            "pass the constructor arguments of these types instead, or save state_dict()"
        )


def _decoded(value: Any, made: list[Constructed]) -> Any:
    """Return the argument that `_Description` has encoded."""
    if isinstance(value, list):
        return [_decoded(item, made) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, held), *others = value.items() or [("", None)]
    decode = _DECODERS.get(kind)
    if decode is None or others:
        raise ValueError(f"arguments: expected one of {', '.join(_DECODERS)}, got {list(value)}")
    return decode(held, made)


def _module_at(place: Any, made: list[Constructed]) -> Constructed:
    if not isinstance(place, int) or not 0 <= place < len(made):
        raise ValueError(f"module: expected the position of an earlier module, got {place!r}")
    return made[place]


_DECODERS: dict[str, Callable[[Any, list[Constructed]], Any]] = {
    "cell": lambda name, _: known.cell_named(name),
    "dict": lambda items, made: {key: _decoded(item, made) for key, item in items.items()},
    "dtype": lambda name, _: np.dtype(name),
    "float": lambda text, _: float(text),
    "module": _module_at,
    "tuple": lambda items, made: tuple(_decoded(items, made)),
}


def _make(
    cls: type[Constructed], description: Mapping[str, Any], made: list[Constructed], device: Any
) -> Constructed:
    """Construct a module with the arguments of a description."""
    given, signature = description["arguments"], _signature(cls.__init__)
    unknown = [name for name in given if name not in list(signature.parameters)[1:]]
    if unknown:
        raise ValueError(f"{cls.__name__}: expected arguments of its constructor, got {unknown[0]}")
    bound = signature.bind_partial(None)
    bound.arguments.update({name: _decoded(value, made) for name, value in given.items()})
    if device is not None and "device" in signature.parameters:
        bound.arguments["device"] = device
    return cls(*bound.args[1:], **bound.kwargs)


def _name_of(cls: type[Constructed]) -> str:
    """Return the name of a class in files.

    The name of a class of this library leaves out its module, so that the class can move.
    """
    package = cls.__module__.partition(".")[0]
    return f"{package if package == 'rnnfast' else cls.__module__}:{cls.__qualname__}"


def _class(name: Any, base: type[Constructed]) -> type[Constructed]:
    """Return the class that a file names, which must be `base` or derived from it.

    A user's class is also found by its name in another module, because the class of a script is in
    `__main__` only while that script runs.
    """
    if not isinstance(name, str):
        raise TypeError(f"class: expected a string, got {type(name).__name__}")
    module, _, own = name.partition(":")
    named = [_classes[name]] if name in _classes else []
    if module != "rnnfast":
        if base.__qualname__ == own and not _name_of(base).startswith("rnnfast:"):
            named = [base]
        same = {c for c in _classes.values() if c.__qualname__ == own}
        named = named or [c for c in same if not _name_of(c).startswith("rnnfast:")]
    if len(named) != 1:
        raise ValueError(
            f"class: expected the name of one known class, got {name!r}; "
            + (
                f"{len(named)} classes have this name"
                if named
                else "import the module that defines it first"
            )
        )
    if not issubclass(named[0], base):
        raise ValueError(f"class: expected {base.__qualname__}, got {named[0].__qualname__}")
    return named[0]


def _register(cells: Mapping[str, Any]) -> None:
    """Register the cells of a file with the engine under the names that the file uses."""
    for name, graph in cells.items():
        own = known.name_of_graph(graph)
        if own != name:
            known.register(known.cell_named(own), name)


def _format() -> Any:
    from rnnfast._engine import tensor_files

    return tensor_files.Format("rnnfast-model", 1, "model file", "rnnfast")
