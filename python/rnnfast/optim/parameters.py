"""Arguments of optimisers and gradient clipping: modules and parameters, optionally in groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from rnnfast._engine import backends
from rnnfast._engine.backends import Backend
from rnnfast.layers.module import Module
from rnnfast.layers.parameter import Parameter

Parameters: TypeAlias = Iterable[Parameter | Module] | Module
Groups: TypeAlias = Module | Iterable[Any]  # items are of `Parameters`, or dicts of groups


def listed(parameters: Parameters) -> tuple[list[Parameter], Backend]:
    """Return checked parameters, whose arrays share a dtype and a backend, and that backend."""
    result = _flat("parameters", parameters)
    return result, _checked(result)


def grouped(parameters: Groups) -> tuple[list[tuple[list[Parameter], dict[str, Any]]], Backend]:
    """Return the groups of parameters with their own options, and the backend of all of them.

    Modules and parameters without groups form a single group without options.
    """
    single = isinstance(parameters, (Module, Parameter, Mapping))
    if single or not isinstance(parameters, Iterable):
        given, backend = listed(parameters)  # which rejects anything but modules
        return [(given, {})], backend
    items = list(parameters)
    if not any(isinstance(item, Mapping) for item in items):
        given, backend = listed(items)
        return [(given, {})], backend
    groups = []
    for i, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise _unfit(f"parameters[{i}]", item, "a dict of a group, like the other items")
        if "params" not in item:
            raise ValueError(
                f"parameters[{i}]: expected the dict of a group, with the key 'params', got the "
                f"keys {', '.join(map(repr, item)) or 'of an empty dict'}"
            )
        options = {name: value for name, value in item.items() if name != "params"}
        group = item["params"]
        group = [group] if isinstance(group, Parameter) else group
        groups.append((_flat(f"parameters[{i}]['params']", group), options))
    return groups, _checked([p for group, _ in groups for p in group])


def distinct_names(parameters: list[Parameter]) -> list[str]:
    """Return the names of parameters, prefixed with their places if a name is not unique."""
    names = [p.name for p in parameters]
    if len(set(names)) == len(names):
        return names
    return [f"{i}.{name}" for i, name in enumerate(names)]  # several layers listed separately


def _flat(label: str, parameters: Any) -> list[Parameter]:
    """Return the parameters of modules and lists, once each if several modules share them."""
    given = [parameters] if isinstance(parameters, Module) else parameters
    if isinstance(given, (Parameter, Mapping)) or not isinstance(given, Iterable):
        raise _unfit(label, given)
    result: list[Parameter] = []
    of_modules: set[int] = set()
    for i, item in enumerate(given):
        if isinstance(item, Module):
            new = [p for p in item.parameters() if id(p.value) not in of_modules]
            of_modules.update(id(p.value) for p in new)
            result += new
        elif isinstance(item, Parameter):
            result.append(item)
        else:
            raise _unfit(f"{label}[{i}]", item)
    if not result:
        raise ValueError(f"{label}: expected at least one, got none")
    return result


def _checked(result: list[Parameter]) -> Backend:
    """Check that one pass can update all parameters, and return their backend."""
    dtypes = {p.dtype for p in result}
    if len(dtypes) > 1:
        names = " and ".join(sorted(map(str, dtypes)))
        raise TypeError(f"parameters: expected one dtype for all, got {names}")
    places = {backend.name: backend for p in result for backend in (backends.of(p.value),)}
    if len(places) > 1:
        raise ValueError(
            f"parameters: expected one device for all, got {' and '.join(sorted(places))}"
        )
    backend = places.popitem()[1]
    _check_apart(result, backend)
    return backend


def _unfit(label: str, got: Any, expected: str = "") -> TypeError:
    usual = "a module, or a list of modules and parameters, such as `layer.parameters()`"
    return TypeError(f"{label}: expected {expected or usual}, got {type(got).__name__}")


def _check_apart(parameters: list[Parameter], backend: Backend) -> None:
    """Check that no two arrays overlap, by their ends, as all of them are contiguous."""
    spans = sorted(
        (begin, begin + array.nbytes, name)
        for p in parameters
        for name, array in ((p.name, p.value), (f"{p.name}.grad", p.grad))
        for begin in (backend.pointer(array),)
        if array.size
    )
    for one, other in itertools.pairwise(spans):
        if other[0] < one[1]:
            names = f"{one[2]} and {other[2]} in the same memory"
            what = f"{one[2].removesuffix('.grad')} twice" if one == other else names
            raise ValueError(
                "parameters: expected arrays that do not overlap, as each is updated on its own, "
                f"got {what}"
            )
