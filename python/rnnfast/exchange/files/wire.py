"""The wire format of protocol buffers, read without their schema."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Message: TypeAlias = "dict[int, list[Any]]"  # values by the number of their field


def parsed(data: memoryview) -> Message:
    """Return the fields of a message: integers, or bytes for anything else.

    Raises:
        ValueError: The message is cut off, or not of this format.
    """
    fields: Message = defaultdict(list)
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(data, place)
            fields[key >> 3].append(value)
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, place = _varint(data, place)
        if size is None or place + size > len(data):
            raise ValueError("the message is cut off, or damaged")
        fields[key >> 3].append(data[place : place + size])
        place += size
    return fields


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("the message is cut off, or damaged")


def message(fields: Message, number: int) -> Message:
    """Return the message in a field; empty if there is none."""
    found = fields.get(number, [])
    return parsed(_bytes(found[-1])) if found else {}


def messages(fields: Message, number: int) -> list[Message]:
    """Return the messages in a repeated field."""
    return [parsed(_bytes(value)) for value in fields.get(number, [])]


def text(fields: Message, number: int) -> str:
    """Return a string; empty if there is none."""
    found = fields.get(number, [])
    return bytes(_bytes(found[-1])).decode(errors="replace") if found else ""


def integer(fields: Message, number: int) -> int:
    """Return an integer, 0 if there is none."""
    found = fields.get(number, [0])
    if not isinstance(found[-1], int):
        raise ValueError("expected an integer, got bytes")
    return found[-1]


def floats(fields: Message, number: int) -> NDArray[np.float32]:
    """Return the numbers of a repeated field, packed or not."""
    parts = [np.frombuffer(_bytes(value), "<f4") for value in fields.get(number, [])]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _bytes(value: Any) -> memoryview:
    if isinstance(value, int):
        raise ValueError("expected bytes, got an integer")
    return memoryview(value)
