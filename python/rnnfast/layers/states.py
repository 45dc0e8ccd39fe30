"""The public form of the states of recurrent layers: one array, or a tuple of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from rnnfast._engine import backends
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.tensor import Tensor

Lengths = ArrayLike | None  # the argument `lengths` of calls
Resets = ArrayLike | None  # the argument `reset` of calls
State = RealArray | tuple[RealArray, ...]
# A state as an argument. In a tuple, None stands for the default, zeros or a learned state.
StateLike = RealArray | tuple[RealArray | None, ...]

# The type of the state that a network returns: one array, or a tuple of several.
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    StateOf = TypeVar("StateOf", default=State, covariant=True)
else:
    from typing import TypeVar

    StateOf = TypeVar("StateOf", covariant=True)

LSTMState = tuple[RealArray, RealArray]
# A state as an argument of a call whose x is a `Tensor`.
TensorsLike = Tensor | RealArray | tuple[Tensor | RealArray | None, ...] | None


def as_tuple(
    name: str, state: StateLike | None, count: int, cell: str
) -> tuple[RealArray | None, ...] | None:
    """Return a state as a tuple of the `count` states of a cell, or None if none is given.

    Raises:
        TypeError: The structure does not match the cell's states.
    """
    if state is None:
        return None
    check_structure(name, state, count, cell)
    return tuple(state) if isinstance(state, (tuple, list)) else (backends.given(name, state),)


def check_structure(name: str, state: object, count: int, cell: str) -> None:
    """Check that a state is an array or, for a cell with several states, a tuple of `count`.

    Raises:
        TypeError: It is not.
    """
    size = len(state) if isinstance(state, (tuple, list)) else None
    if (size or 1) != count or (size is None) != (count == 1):
        expected = f"a tuple of {count} arrays" if count > 1 else "one array"
        got = f"a {type(state).__name__}" + ("" if size is None else f" of {size}")
        raise TypeError(f"{name}: expected {expected}, the states of cell {cell!r}, got {got}")
