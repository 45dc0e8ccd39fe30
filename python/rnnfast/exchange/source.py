"""What weights are read from: a file, or arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from rnnfast.exchange.arrays import flat, is_module
from rnnfast.exchange.files import Content, read_file


def opened(source: Any) -> Content:
    """Return the arrays of a source, and what it says about its layers.

    Args:
        source: A path, a dict of arrays or tensors by name, which may be nested, or a module that
            is a dataclass, as those of Equinox are.

    Raises:
        TypeError: `source` is something else.
        ValueError: The file is damaged, or of no format that is read.
        OSError: The file cannot be read.
    """
    if isinstance(source, Content):
        return source
    if isinstance(source, (str, PathLike)):
        return read_file(source)
    if not isinstance(source, Mapping) and not is_module(source):
        hint = "; pass what its state_dict() returns" if hasattr(source, "state_dict") else ""
        raise TypeError(
            "source: expected a path or a dict from names to arrays or tensors, got "
            f"{type(source).__name__}{hint}"
        )
    return Content(flat({"": source} if is_module(source) else source))
