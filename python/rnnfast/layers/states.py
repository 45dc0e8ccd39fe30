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
    is_tuple = isinstance(state, (tuple, list))
    if is_tuple != (count > 1) or (is_tuple and len(state) != count):
        expected = f"a tuple of {count} arrays" if count > 1 else "one array"
        got = f"a {type(state).__name__}" + (f" of {len(state)}" if is_tuple else "")
        raise TypeError(f"{name}: expected {expected}, the states of cell {cell!r}, got {got}")
    return tuple(state) if is_tuple else (backends.given(name, state),)
