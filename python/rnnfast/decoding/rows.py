"""The sequences that a decoder is writing: a step function, and their states."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import IntArray
from rnnfast.layers.stream import Stream

Step: TypeAlias = "Stream[Any] | Callable[[IntArray, Any], tuple[Any, Any]]"
"""A stream, or a function from tokens and a state to logits and the state after the tokens."""
Axes: TypeAlias = "int | tuple[Axes, ...] | list[Axes] | dict[Any, Axes] | None"
"""The axis that counts the sequences in a state: for all arrays, or in the state's structure."""


class OpenRows:
    """N sequences that are written side by side.

    Args:
        step: A step function, or a stream, of which a copy is used.
        start: (B,), the first token of each sequence.
        state: The state of the B sequences; None for a stream.
        axes: The axis that counts the sequences, as `beam_search` documents it.

    Attributes:
        start: The first tokens as an array.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `start` and the state have different numbers of sequences.
    """

    def __init__(self, step: Step, start: ArrayLike, state: Any, axes: Axes) -> None:
        if not callable(step):
            raise TypeError(f"step: expected a function or a stream, got {type(step).__name__}")
        given = backends.given("start", start)
        if given.ndim != 1:
            raise ValueError(f"start: expected shape (batch,), got {given.shape}")
        if isinstance(step, Stream):
            if state is not None:
                got = type(state).__name__
                raise TypeError(f"state: expected None, as a stream holds its own, got {got}")
            checks.shape("start", given, (step.batch,), "(batch,)")
            step, state = _step_of_stream, step
        self.start = checks.integer_array("start", given)
        if not self.start.size:
            raise ValueError("start: expected at least one sequence, got none")
        self._step, self._state, self._axes = step, state, axes
        self._count = len(self.start)
        self.keep(np.arange(self._count))  # a copy: the caller's state stays as it is

    def logits(self, tokens: IntArray) -> NDArray[np.float64]:
        """Take a step.

        Args:
            tokens: (N,), the last token of each sequence.

        Returns:
            Logits (N, V) on the host, shifted so that the largest of each row is 0. The caller may
            overwrite them.

        Raises:
            TypeError: The step does not return a pair.
            ValueError: The logits have another shape, or a row whose largest one is not finite.
        """
        result = self._step(tokens, self._state)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError(f"step: expected (logits, state), got {type(result).__name__}")
        logits, self._state = _on_host(result[0]), result[1]
        if logits.ndim != 2 or len(logits) != self._count or not logits.size:
            raise ValueError(
                f"step: expected logits of shape ({self._count}, vocabulary), got {logits.shape}"
            )
        largest = np.maximum.reduce(logits, axis=1, keepdims=True)
        finite = np.isfinite(largest)
        if np.count_nonzero(finite) != self._count:  # faster than all()
            raise ValueError(
                "step: the model's logits are not finite: the largest of a row is "
                f"{largest[~finite][0]}"
            )
        logits -= broadcastable(largest)
        return logits

    def keep(self, rows: IntArray) -> None:
        """Continue with the sequences that `rows` (M,) names, in its order; a name may repeat."""
        self._state = gathered(self._state, self._axes, rows, self._count)
        self._count = len(rows)


def broadcastable(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a number for each row, (N, 1), in the shape that NumPy broadcasts fastest."""
    return column.reshape(()) if len(column) == 1 else column


def gathered(state: Any, axes: Axes, rows: IntArray, count: int, name: str = "state") -> Any:
    """Return the states of some of `count` sequences.

    Args:
        state: Arrays, tensors or streams, in nested tuples, lists and dicts; or None.
        axes: The axis that counts the sequences, for all arrays or in the structure of the state.
        rows: (M,), the numbers of the sequences.
        count: The number of sequences of the state.
        name: What messages call the state.

    Raises:
        TypeError: Something in the state has no axes.
        ValueError: A part of the state has another number of sequences, or another structure than
            `axes`.
    """
    if state is None or axes is None:
        return state
    if isinstance(state, Stream):
        if state.batch != count:
            raise ValueError(f"{name}: expected {count} sequences, got {state}")
        return state.copy(rows)
    if isinstance(state, (tuple, list, dict)):
        keys = list(state) if isinstance(state, dict) else list(range(len(state)))
        parts = [
            gathered(state[key], part, rows, count, f"{name}[{key!r}]")
            for key, part in zip(keys, _axes_of(axes, keys, name), strict=True)
        ]
        if isinstance(state, dict):
            return dict(zip(keys, parts, strict=True))
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    axis = checks.count("axes", axes)  # type: ignore[arg-type]  # refuses all but integers
    shape = getattr(state, "shape", None)
    if shape is None:
        raise TypeError(f"{name}: expected an array, a tensor or a stream, got {type(state)}")
    if axis >= len(shape) or shape[axis] != count:
        raise ValueError(
            f"{name}: expected {count} sequences on axis {axis}, got shape {tuple(shape)}"
        )
    index = rows if _is_of_torch(state) else backends.of(state).asarray(rows)
    return state[(slice(None),) * axis + (index,)]


def _axes_of(axes: Axes, keys: list[Any], name: str) -> list[Axes]:
    """Return the axes of the parts of a tuple, list or dict with these keys."""
    if isinstance(axes, dict) and axes.keys() == set(keys):
        return [axes[key] for key in keys]
    if isinstance(axes, (tuple, list)) and list(range(len(axes))) == keys:
        return list(axes)
    if isinstance(axes, (dict, tuple, list)):
        raise ValueError(f"axes: expected an axis for each of {keys} of {name}, got {axes}")
    return [axes] * len(keys)


def _step_of_stream(tokens: IntArray, stream: Stream[Any]) -> tuple[Any, Stream[Any]]:
    return stream(tokens), stream


def _is_of_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _on_host(logits: Any) -> NDArray[np.float64]:
    """Return a copy in float64."""
    if type(logits) is np.ndarray:  # a shortcut that matters to small models
        return logits.astype(np.float64)
    if _is_of_torch(logits):
        logits = logits.detach().double().cpu().numpy()
    return backends.to_host(backends.given("step", logits)).astype(np.float64, copy=False)
