"""Text files of DyNet, whose matrices are stored column by column."""

from __future__ import annotations

import re
import warnings

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.files.content import Budget, Content

MAGICS = (b"#Parameter# ", b"#LookupParameter# ")
_BUILDERS = {
    "vanilla-lstm-builder": ("x2i", "h2i", "bi"),
    "compact-vanilla-lstm-builder": ("x2i", "h2i", "bi"),
    "lstm-builder": (
        *("x2i", "h2i", "c2i", "bi"),
        *("x2o", "h2o", "c2o", "bo"),
        *("x2c", "h2c", "bc"),
    ),
    "gru-builder": ("x2z", "h2z", "bz", "x2r", "h2r", "br", "x2h", "h2h", "bh"),
}
_NAME = re.compile(r"(?P<prefix>.*?)/_(?P<number>\d+)$")


def read(data: bytes) -> Content:
    """Return the parameters, with those of recurrent builders under the names of their code."""
    budget, arrays = Budget(len(data)), {}
    lines = iter(data.decode().splitlines())
    for header in lines:
        if not header:
            continue
        kind, name, dims, *_ = header.split(" ")
        values = next(lines, "")
        if kind == "#Parameter#":
            arrays[_named(name)] = _array(name, dims, values, budget)
    return Content(arrays)


def _array(name: str, dims: str, values: str, budget: Budget) -> NDArray[np.float32]:
    shape = tuple(int(size) for size in dims.strip("{}").split(","))
    budget.take(name, shape, 4)
    with warnings.catch_warnings():  # text that is no number ends the array too early
        warnings.simplefilter("ignore", DeprecationWarning)
        array = np.fromstring(values, np.float32, sep=" ")
    return array.reshape(shape, order="F")


def _named(name: str) -> str:
    """Return the name of a parameter of a builder by its layer and the name in DyNet's code."""
    match = _NAME.match(name)
    if match is None:
        return name.strip("/").replace("/", ".")
    prefix, number = match["prefix"].strip("/"), int(match["number"])
    builder = re.sub(r"_\d+$", "", prefix.rpartition("/")[2]).strip("-")
    members = _BUILDERS.get(builder)
    if members is None:
        return f"{prefix}/_{number}".replace("/", ".")
    layer, member = divmod(number, len(members))
    return f"{prefix}.{layer}.{members[member]}".replace("/", ".")
