"""States of recurrent layers in the form that users see: one array, or a tuple of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from rnnfast._engine import backend
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.tensor import Tensor

Lengths = ArrayLike | None  # of sequences, as an argument
State = RealArray | tuple[RealArray, ...]
# A state as an argument: None stands for what a call makes of a state that is not given.
StateLike = RealArray | tuple[RealArray | None, ...]

# How a network gives its state: one array, or a tuple of several.
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    StateOf = TypeVar("StateOf", default=State, covariant=True)
else:
    from typing import TypeVar

    StateOf = TypeVar("StateOf", covariant=True)

LSTMState = tuple[RealArray, RealArray]
# A state as an argument of a call with tensors.
TensorsLike = Tensor | RealArray | tuple[Tensor | RealArray | None, ...] | None


def as_tuple(
    name: str, state: StateLike | None, count: int, cell: str
) -> tuple[RealArray | None, ...] | None:
    """Return a state as a tuple, which must be of `count` arrays, those of a cell.

    Raises:
        TypeError: The structure is not that of the cell's states.
    """
    if state is None:
        return None
    is_tuple = isinstance(state, (tuple, list))
    if is_tuple != (count > 1) or (is_tuple and len(state) != count):
        expected = f"a tuple of {count} arrays" if count > 1 else "one array"
        got = f"a {type(state).__name__}" + (f" of {len(state)}" if is_tuple else "")
        raise TypeError(f"{name}: expected {expected}, the states of cell {cell!r}, got {got}")
    return tuple(state) if is_tuple else (backend.given(name, state),)
