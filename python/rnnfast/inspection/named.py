"""Mappings that list their names when asked for one that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, TypeVar

Item = TypeVar("Item")


class Named(Mapping[str, Item]):
    """A mapping that does not change, from names to items, in the order given."""

    _of: ClassVar[str]  # what the names are names of, for the error

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = dict(items)

    def __getitem__(self, name: str) -> Item:
        if name not in self._items:
            raise KeyError(f"{self._of}: expected one of {', '.join(self._items)}, got {name!r}")
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
