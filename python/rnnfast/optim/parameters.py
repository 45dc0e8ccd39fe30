"""What optimisers and gradient clipping take: modules and parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from rnnfast._engine import backend
from rnnfast.layers.module import Module
from rnnfast.layers.parameter import Parameter

Parameters: TypeAlias = Iterable[Parameter | Module] | Module


def listed(parameters: Parameters) -> tuple[list[Parameter], backend.Backend]:
    """The parameters, which have arrays of their own, of one dtype in one place, and that place."""
    given = [parameters] if isinstance(parameters, Module) else parameters
    if isinstance(given, (Parameter, Mapping)) or not isinstance(given, Iterable):
        raise _unfit("", given)
    result: list[Parameter] = []
    for i, item in enumerate(given):
        if isinstance(item, Module):
            result += item.parameters()
        elif isinstance(item, Parameter):
            result.append(item)
        else:
            raise _unfit(f"[{i}]", item)
    if not result:
        raise ValueError("parameters: expected at least one, got none")
    dtypes = {p.dtype for p in result}
    if len(dtypes) > 1:
        names = " and ".join(sorted(map(str, dtypes)))
        raise TypeError(f"parameters: expected one dtype for all, got {names}")
    places = {on.name: on for p in result for on in (backend.of(p.value),)}
    if len(places) > 1:
        raise ValueError(
            f"parameters: expected one device for all, got {' and '.join(sorted(places))}"
        )
    on = places.popitem()[1]
    _check_apart(result, on)
    return result, on


def _unfit(place: str, got: Any) -> TypeError:
    return TypeError(
        f"parameters{place}: expected a module, or a list of modules and parameters, as "
        f"of `layer.parameters()`, got {type(got).__name__}"
    )


def _check_apart(parameters: list[Parameter], on: backend.Backend) -> None:
    """Check that no two arrays overlap; they are in C order, so that their ends tell."""
    spans = sorted(
        (begin, begin + array.nbytes, name)
        for p in parameters
        for name, array in ((p.name, p.value), (f"{p.name}.grad", p.grad))
        for begin in (on.pointer(array),)
        if array.size
    )
    for one, other in itertools.pairwise(spans):
        if other[0] < one[1]:
            names = f"{one[2]} and {other[2]} in the same memory"
            what = f"{one[2].removesuffix('.grad')} twice" if one == other else names
            raise ValueError(
                f"parameters: expected arrays that do not overlap, as each is updated by itself; "
                f"got {what}"
            )
