"""HDF5 files in the form that Keras writes: groups, attributes and contiguous arrays.

This is a reader of our own, as damaged files make the HDF5 library run for ever or allocate
gigabytes. It reads the first version of the format, which h5py writes unless it is told otherwise,
without compression. Every read is inside the file, and no part of it is visited twice.

Source: The HDF Group, "HDF5 File Format Specification Version 3.0".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.files.content import Budget

MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST = 100_000  # objects and blocks in a file
_SPACE, _TYPE, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUED, _GROUP = 1, 3, 8, 11, 12, 16, 17


class _Type(NamedTuple):
    """A datatype: the dtype of numbers and of strings of one size; None for other strings."""

    dtype: np.dtype[Any] | None
    size: int


class File:
    """A file in memory.

    Attributes:
        budget: What its arrays and attributes may take.

    Raises:
        ValueError: It is damaged, or of a form that is not read, here and in all methods.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._visited = 0
        self.budget = Budget(len(data))
        version, sizes = self._numbers("B", 8)[0], self._numbers("BB", 13)
        if bytes(self._data[:8]) != MAGIC or version > 1 or sizes != (8, 8):
            raise ValueError("expected a file of HDF5 in the form that Keras writes")
        self.root = Object(self, self._numbers("Q", (24, 28)[version] + 40)[0])

    def _numbers(self, form: str, place: int) -> tuple[int, ...]:
        end = place + struct.calcsize(f"<{form}")
        return struct.unpack(f"<{form}", self.bytes(place, end - place))

    def bytes(self, place: int, count: int) -> memoryview:
        """Return bytes of the file."""
        if place < 0 or count < 0 or place + count > len(self._data):
            raise ValueError("a part of the file is outside it")
        return self._data[place : place + count]

    def _visit(self) -> None:
        self._visited += 1
        if self._visited > _MOST:
            raise ValueError(f"expected at most {_MOST} objects")

    def messages(self, place: int) -> Iterator[tuple[int, memoryview]]:
        """Yield the messages of an object's header: their types and contents."""
        if self._numbers("B", place)[0] != 1:
            raise ValueError("expected objects in the first version of the format")
        count, _, size = self._numbers("HII", place + 2)
        blocks = [(place + 16, size)]
        while blocks and count:
            start, size = blocks.pop(0)
            end = start + size
            while start + 8 <= end and count:
                self._visit()
                count -= 1
                kind, length = self._numbers("HH", start)
                content = self.bytes(start + 8, length)
                start += 8 + length
                if kind == _CONTINUED:
                    first, size = struct.unpack_from("<QQ", content)
                    blocks.append((first, size))
                yield kind, content

    def links(self, tree: int, heap: int) -> Iterator[tuple[str, int]]:
        """Yield the names in a group, and where the objects are."""
        if bytes(self.bytes(heap, 4)) != b"HEAP":
            raise ValueError("expected a heap of names")
        size, _, names = self._numbers("QQQ", heap + 8)
        text = bytes(self.bytes(names, size))
        todo = [tree]
        while todo:
            self._visit()
            place = todo.pop()
            kind = bytes(self.bytes(place, 4))
            if kind == b"TREE":
                count = self._numbers("H", place + 6)[0]
                todo += [self._numbers("Q", place + 32 + 16 * k)[0] for k in range(count)][::-1]
            elif kind == b"SNOD":
                for k in range(self._numbers("H", place + 6)[0]):
                    name, header, cached = self._numbers("QQI", place + 8 + 40 * k)
                    if cached != 2:  # a link by a path, which may lead to another file
                        yield _name(text[name : text.find(b"\0", name)]), header
            else:
                raise ValueError("expected a node of a group")

    def heap_object(self, collection: int, index: int) -> memoryview:
        """Return an object of a global heap, such as a string."""
        if bytes(self.bytes(collection, 4)) != b"GCOL":
            raise ValueError("expected a heap of strings")
        end = collection + self._numbers("Q", collection + 8)[0]
        place = collection + 16
        while place + 16 <= end:
            self._visit()
            number, _, _, size = self._numbers("HHIQ", place)
            if number == index:
                return self.bytes(place + 16, size)
            place += 16 + -(-size // 8) * 8
        raise ValueError("a string is not in its heap")


def _name(text: bytes) -> str:
    if not text or b"/" in text:
        raise ValueError(f"expected a name without slashes in a group, got {text!r}")
    return text.decode()


class Object:
    """A group or an array of a file."""

    def __init__(self, file: File, place: int) -> None:
        self._file = file
        self._messages = list(file.messages(place))
        self._links: dict[str, int] | None = None

    def _message(self, kind: int) -> memoryview | None:
        return next((content for found, content in self._messages if found == kind), None)

    @property
    def links(self) -> dict[str, int]:
        """The names of what a group contains, with their places; empty for an array."""
        if self._links is None:
            content = self._message(_GROUP)
            places = struct.unpack_from("<QQ", content) if content is not None else None
            self._links = dict(self._file.links(*places)) if places is not None else {}
        return self._links

    def get(self, path: str) -> Object | None:
        """Return what a path leads to; None if there is nothing."""
        found = self
        for name in filter(None, path.split("/")):
            if name not in found.links:
                return None
            found = Object(self._file, found.links[name])
        return found

    def arrays(self, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Object]]:
        """Yield the arrays in a group and in those in it, by their paths."""
        if depth > 30:
            raise ValueError("expected groups of a depth of at most 30")
        for name, place in self.links.items():
            inner = Object(self._file, place)
            if inner._message(_LAYOUT) is not None:
                yield prefix + name, inner
            else:
                yield from inner.arrays(f"{prefix}{name}/", depth + 1)

    def attribute(self, name: str) -> list[str] | None:
        """Return the strings of an attribute; None if there is none of this name."""
        for kind, content in self._messages:
            if kind == _ATTRIBUTE:
                version, _, *sizes = struct.unpack_from("<BBHHH", content)
                step = 8 if version == 1 else 1
                start = 9 if version == 3 else 8
                bounds = [start]
                for size in sizes:
                    bounds.append(bounds[-1] + -(-size // step) * step)
                parts = [content[a:b] for a, b in zip(bounds, [*bounds[1:], None], strict=True)]
                if bytes(parts[0][: sizes[0]]).rstrip(b"\0").decode() == name:
                    return self._strings(_type(parts[1]), _shape(parts[2]), parts[3])
        return None

    def _strings(self, kind: _Type, shape: tuple[int, ...], data: memoryview) -> list[str]:
        count = math.prod(shape)
        if count * kind.size > len(data):
            raise ValueError("an attribute is cut off")
        values = [data[k * kind.size : (k + 1) * kind.size] for k in range(count)]
        if kind.dtype is None:
            places = [struct.unpack_from("<IQI", value) for value in values]
            found = [self._file.heap_object(*place)[:size] for size, *place in places]
            self._file.budget.take("strings", (sum(map(len, found)),))
            return [bytes(value).decode() for value in found]
        return [bytes(value).rstrip(b"\0").decode() for value in values]

    def array(self, name: str) -> NDArray[Any]:
        """Return the numbers of an array, whose name is for messages."""
        space, kind, layout = (self._message(k) for k in (_SPACE, _TYPE, _LAYOUT))
        if space is None or kind is None or layout is None or self._message(_FILTERS) is not None:
            raise ValueError(f"{name}: expected an array that is not compressed")
        shape, dtype = _shape(space), _type(kind).dtype
        if dtype is None or dtype.kind not in "fiu":
            raise ValueError(f"{name}: expected real numbers")
        version, form = struct.unpack_from("<BB", layout)
        count = math.prod(shape) * dtype.itemsize
        if version != 3 or form > 1:
            raise ValueError(f"{name}: expected an array that is stored in one piece")
        self._file.budget.take(name, shape, dtype.itemsize)
        if form == 1:
            data = self._file.bytes(struct.unpack_from("<Q", layout, 2)[0] if count else 0, count)
        else:
            data = layout[4 : 4 + count]
        return np.frombuffer(data, dtype).reshape(shape)


def _shape(content: memoryview) -> tuple[int, ...]:
    """Return the shape in a message of a dataspace."""
    version, rank = struct.unpack_from("<BB", content)
    return struct.unpack_from(f"<{rank}Q", content, 8 if version == 1 else 4)


def _type(content: memoryview) -> _Type:
    """Return the type in a message of a datatype."""
    kind, bits, size = struct.unpack_from("<BBxxI", content)
    order = ">" if bits & 1 else "<"
    if kind & 15 == 0:
        letter = "i" if bits & 8 else "u"
    elif kind & 15 == 1:
        letter = "f"
    elif kind & 15 == 3:
        return _Type(np.dtype(f"S{size}") if size else None, size)
    elif kind & 15 == 9:
        return _Type(None, 16)
    else:
        raise ValueError("expected numbers or strings")
    if size not in (1, 2, 4, 8) or (letter == "f" and size == 1):
        raise ValueError(f"expected numbers of 8 to 64 bits, got {8 * size}")
    return _Type(np.dtype(f"{order}{letter}{size}"), size)
