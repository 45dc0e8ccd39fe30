"""The pickle inside a file of `torch.save`, read without running what a pickle can run.

A pickle is a program. This reader knows the instructions that build dicts, lists, tuples and
numbers, and four functions by name: that of an OrderedDict, those of a tensor and a parameter, and
storages. Anything else is refused, so a file of a whole module does not load, but a state dict and
a checkpoint of them do.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfast.exchange.files import elements
from rnnfast.exchange.files.content import Budget

_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
_MOST = 100_000  # names in a file
_MARK = object()


class Storage(NamedTuple):
    """The memory of tensors."""

    dtype: str
    key: str


class Tensor(NamedTuple):
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Name(NamedTuple):
    """What a pickle calls by its name."""

    module: str
    name: str


def array(tensor: Tensor, data: bytes, budget: Budget) -> NDArray[Any]:
    """Return the elements of a tensor, which may be a view of its storage."""
    values = elements.array(tensor.storage.dtype, data, (-1,))
    shape, strides = tensor.shape, tensor.strides
    last = tensor.offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    empty = 0 in shape
    if min((*shape, *strides, tensor.offset), default=0) < 0 or (last >= values.size and not empty):
        raise ValueError(f"a tensor of shape {shape} does not fit into its storage")
    if math.prod(shape) > values.size:  # a small storage that is repeated
        budget.take("a tensor", shape, values.itemsize)
    steps = [values.itemsize * s for s in strides]
    if empty:
        return np.empty(shape, values.dtype)
    view = np.lib.stride_tricks.as_strided(values[tensor.offset :], shape, steps, writeable=False)
    return np.ascontiguousarray(view).reshape(shape)


def flat(value: Any) -> dict[str, Tensor]:
    """Return the tensors in nested dicts, lists and tuples by joined names."""
    result: dict[str, Tensor] = {}
    todo = [("", value)]
    for _ in range(_MOST):
        if not todo:
            return result
        prefix, one = todo.pop()
        if isinstance(one, Tensor):
            result[prefix] = one
        elif isinstance(one, (Mapping, list, tuple)) and not isinstance(one, (Storage, _Name)):
            items = one.items() if isinstance(one, Mapping) else enumerate(one)
            start = f"{prefix}." if prefix else ""
            todo += [(f"{start}{key}", inner) for key, inner in items][::-1]
            if len(todo) > _MOST:
                break
    raise ValueError(f"expected at most {_MOST} names")


def _refused(what: str) -> ValueError:
    return ValueError(
        f"a pickle that {what} is not read, as it could run any code; save module.state_dict() "
        "instead of the module"
    )


def unpickled(program: BinaryIO) -> tuple[Any, dict[str, str]]:
    """Return what a pickle builds, and the types of the storages it refers to, by their keys.

    What follows the pickle is left in the stream.
    """
    machine = _Machine()
    return machine.run(program), machine.storages


class _Machine:
    """The instructions of a pickle that build data."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.storages: dict[str, str] = {}

    def run(self, program: BinaryIO) -> Any:
        """Return the value that a pickle builds."""
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name == "STOP":
                return self._stack.pop()
            action = _ACTIONS.get(opcode.name)
            if action is None:
                raise _refused(f"has the instruction {opcode.name}")
            action(self, argument)
        raise ValueError("the pickle does not end")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self, _: Any) -> None:
        self.push(_MARK)

    def put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, place: int) -> None:
        self.push(self._memo[place])

    def collect(self, count: int | None) -> list[Any]:
        """Return the last values of the stack: `count` of them, or those above the mark."""
        marks = 0
        if count is None:
            above = (k for k, v in enumerate(reversed(self._stack)) if v is _MARK)
            count, marks = next(above, None), 1
            if count is None:
                raise ValueError("the pickle takes the values above a mark, but there is no mark")
        elif count > len(self._stack):
            raise ValueError("the pickle takes more values than there are")
        below = len(self._stack) - count
        values = self._stack[below:]
        del self._stack[below - marks :]
        return values

    def set_items(self, count: int | None) -> None:
        values = self.collect(count)
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("a pickle that sets items of something else than a dict is not read")
        target.update(zip(values[::2], values[1::2], strict=True))

    def append(self, count: int | None) -> None:
        values = self.collect(count)
        if not isinstance(self._stack[-1], list):
            raise ValueError("a pickle that appends to something else than a list is not read")
        self._stack[-1].extend(values)

    def name(self, argument: str) -> None:
        self.push(_Name(*argument.split(" ", 1)))

    def stack_name(self, _: Any) -> None:
        module, name = self.collect(2)
        self.push(_Name(str(module), str(name)))

    def load(self, _: Any) -> None:
        """Return the storage to which a file refers."""
        (reference,) = self.collect(1)
        kind, storage, key, *rest = reference
        if kind != "storage" or not isinstance(storage, _Name):
            raise ValueError(f"a pickle that refers to {kind!r} is not read")
        if storage.name not in _STORAGES:
            raise ValueError(f"expected a storage of real numbers, got {storage.name}")
        if len(rest) > 2 and rest[2] is not None:
            raise ValueError("a storage that is a part of another one is not read")
        self.storages[str(key)] = _STORAGES[storage.name]
        self.push(Storage(_STORAGES[storage.name], str(key)))

    def call(self, _: Any) -> None:
        function, arguments = self.collect(2)
        if function == ("collections", "OrderedDict") and not arguments:
            self.push({})
        elif function == ("torch._utils", "_rebuild_tensor_v2"):
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, Storage) or len(shape) != len(strides):
                raise ValueError("a tensor without a storage, or with strides for other axes")
            numbers = [int(n) for n in (offset, *shape, *strides)]
            axes = len(shape)
            shape, strides = tuple(numbers[1 : 1 + axes]), tuple(numbers[1 + axes :])
            self.push(Tensor(storage, numbers[0], shape, strides))
        elif function == ("torch._utils", "_rebuild_parameter"):
            self.push(arguments[0])
        else:
            named = ".".join(map(str, function)) if isinstance(function, _Name) else "a value"
            raise _refused(f"calls {named}")

    def build(self, _: Any) -> None:
        """Leave out the attributes of an object, such as the versions in a state dict."""
        self.collect(1)


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda _machine, _argument: None),
    **dict.fromkeys(
        (
            *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT"),
            *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        ),
        _Machine.push,
    ),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": _Machine.mark,
    "MEMOIZE": _Machine.memoize,
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.collect(None))),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.collect(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.collect(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.collect(3))),
    "SETITEM": lambda machine, _: machine.set_items(2),
    "SETITEMS": lambda machine, _: machine.set_items(None),
    "APPEND": lambda machine, _: machine.append(1),
    "APPENDS": lambda machine, _: machine.append(None),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "BINPERSID": _Machine.load,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
