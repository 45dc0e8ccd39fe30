"""Networks as functions of JAX arrays, and their parameters.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast._engine.network import MOST, check_sizes, info_of
from rnnfast.jax import primitives
from rnnfast.jax.call import Call
from rnnfast.layers.states import check_structure
from rnnfast.reference import Cell

Params: TypeAlias = Mapping[str, jax.Array]
"""Parameters by PyTorch's names: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, ...,
for the reverse direction with the suffix `_reverse`; the fields of `rnnfast.functional.Weights`."""

State: TypeAlias = "jax.Array | tuple[jax.Array, ...]"
"""The states of a network, (L*D, B, H) each: an array, or a tuple for a cell with several."""


@dataclass(frozen=True)
class Network:
    """A recurrent network of any cell: its sizes and options, without parameters.

    Args:
        cell: The name of a cell in `rnnfast.cells.ZOO` or of a registered one, or a `rnnfast.Cell`.
        input_size: I.
        hidden_size: H.
        num_layers: L.
        bias: Whether the products have biases.
        batch_first: Whether x and y are (B, T, ...) instead of (T, B, ...).
        bidirectional: Whether D is 2.
        proj_size: Width P of a projected h, for cells that have projections; 0 for none.
        precision: "full" or, for float32 parameters, "bfloat16"; see `rnnfast.functional.forward`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A number is out of range, or the cell or the precision is unknown.
    """

    cell: str | Cell
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    bidirectional: bool = False
    proj_size: int = 0
    precision: str = "full"

    def __post_init__(self) -> None:
        info = info_of(self.cell)
        for name in ("input_size", "hidden_size", "num_layers"):
            checks.integer(name, getattr(self, name), 1, MOST)
        checks.integer("proj_size", self.proj_size, 0, MOST)
        for name in ("bias", "batch_first", "bidirectional"):
            checks.boolean(name, getattr(self, name))
        checks.choice("precision", self.precision, checks.TRAINED_PRECISIONS)
        if self.proj_size and not info.projects:
            raise ValueError(
                f"proj_size: expected 0, as the cell {info.name!r} has no projection, got "
                f"{self.proj_size}"
            )
        sizes = self.input_size, self.hidden_size, self.num_layers, self.bidirectional
        check_sizes(info, *sizes)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters by name."""
        info, found = info_of(self.cell), {}
        directions = ("", "_reverse") if self.bidirectional else ("",)
        for layer in range(self.num_layers):
            outputs = (self.proj_size or self.hidden_size) * len(directions)
            inputs = outputs if layer else self.input_size
            for direction in directions:
                for name, shape in info.shapes(inputs, self.hidden_size, self.proj_size).items():
                    if self.bias or not name.startswith("bias"):
                        found[f"{name}_l{layer}{direction}"] = tuple(shape)
        return found

    def init(self, key: jax.Array, dtype: DTypeLike = jnp.float32) -> dict[str, jax.Array]:
        """Return new parameters, drawn uniformly from +-1/sqrt(H) as in PyTorch.

        Args:
            key: A key of `jax.random`.
            dtype: float32 or, with `jax_enable_x64`, float64.
        """
        shapes, bound = self.shapes(), self.hidden_size**-0.5
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.uniform(k, shape, dtype, -bound, bound)
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def apply(
        self,
        params: Params,
        x: ArrayLike,
        state: State | None = None,
        *,
        lengths: ArrayLike | None = None,
    ) -> tuple[jax.Array, State]:
        """Run the network over whole sequences.

        The computation uses the dtype of the parameters, float32 or float64. x and the state are
        converted to it, and parameters of less than 32 bits count as float32.

        Args:
            params: The parameters by name, as `init` returns them.
            x: (T, B, I), (B, T, I) if `batch_first`, or (T, I) for a single sequence.
            state: The initial states, (L*D, B, H) each, or (L*D, H) for a single sequence: an
                array, or a tuple for a cell with several, such as (h, c); None for zeros. With a
                projection, h has P in place of H.
            lengths: (B,) integers in [0, T], the lengths of the sequences; None if all have length
                T. Outputs beyond the end of a sequence are zero, its final states are those at its
                end, and the reverse direction starts there. Of a single sequence, one integer.

        Returns:
            y, the outputs of the last layer, in the form of x with D*H (or D*P) in place of I; and
            the final states, in the form of the initial ones.

        Raises:
            TypeError: A dtype, or the structure of the parameters or of the state, is wrong.
            ValueError: A shape is wrong, or a parameter is missing or unknown. A length that is out
                of range raises `jax.errors.JaxRuntimeError` when the program runs.
        """
        dtype, weights = self._read_params(params)
        x = _real("x", x)
        if x.ndim not in (2, 3):
            raise ValueError(f"x: expected shape (seq_len, batch, input_size), got {x.shape}")
        checks.last_axis("x", x, self.input_size, "input_size")
        single = x.ndim == 2
        if single:
            x = x[:, None]
        elif self.batch_first:
            x = x.swapaxes(0, 1)
        given = [] if state is None else self._read_state(state, x.shape[1], single)
        operands = [array.astype(dtype) for array in (x, *weights, *given)]
        if lengths is not None:
            operands.append(_read_lengths(lengths, x.shape[1], single))
        call = self._call(state is not None, lengths is not None)
        y, *final = primitives.forward(*operands, call=call)
        if single:
            y, final = y[:, 0], [s[:, 0] for s in final]
        elif self.batch_first:
            y = y.swapaxes(0, 1)
        return y, tuple(final) if len(final) > 1 else final[0]

    def _call(self, has_state: bool, has_lengths: bool) -> Call:
        return Call(
            info_of(self.cell).name,
            self.num_layers,
            2 if self.bidirectional else 1,
            self.hidden_size,
            self.proj_size,
            self.bias,
            self.precision,
            has_state,
            has_lengths,
        )

    def _read_params(self, params: Params) -> tuple[Any, list[jax.Array]]:
        """Return the dtype of the computation, and the parameters in the order of the operands."""
        shapes = self.shapes()
        checks.same_names("params", params, shapes)
        weights = []
        for name, shape in shapes.items():
            weight = _real(f"params[{name!r}]", params[name])
            if weight.shape != shape:
                raise ValueError(f"params[{name!r}]: expected shape {shape}, got {weight.shape}")
            weights.append(weight)
        dtype = jnp.promote_types(jnp.result_type(*weights), jnp.float32)
        checks.precision("precision", self.precision, dtype)
        return dtype, weights

    def _read_state(self, state: State, batch: int, single: bool) -> list[jax.Array]:
        """Return the states, (L*D, B, H) each."""
        expected = self._call(True, False).state_shapes(batch)
        check_structure("state", state, len(expected), info_of(self.cell).name)
        given = state if isinstance(state, (tuple, list)) else (state,)
        arrays = [_real("state", s) for s in given]
        for array, shape in zip(arrays, expected, strict=True):
            if array.shape != ((shape[0], shape[2]) if single else shape):
                meaning = "(num_layers*num_directions, batch, hidden_size)"
                raise ValueError(f"state: expected shape {meaning} = {shape}, got {array.shape}")
        return [array[:, None] if single else array for array in arrays]


def _real(name: str, value: Any) -> jax.Array:
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name}: expected floating-point numbers, got {array.dtype}")
    return array


def _read_lengths(lengths: ArrayLike, batch: int, single: bool) -> jax.Array:
    """Return the lengths as (B,) int32."""
    if not isinstance(lengths, jax.Array):
        _check_range(np.asarray(lengths))
    array = jnp.asarray(lengths)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"lengths: expected integers, got {array.dtype}")
    if array.shape != (() if single else (batch,)):
        raise ValueError(f"lengths: expected shape (batch,) = ({batch},), got {array.shape}")
    # A length that int32 lacks becomes the next one, which is outside of [0, seq_len], too.
    return jnp.clip(array, -1, MOST).astype(jnp.int32).reshape(batch)


def _check_range(lengths: NDArray[Any]) -> None:
    """Refuse integers that int32 lacks, in whose place JAX would take others."""
    if lengths.dtype.kind not in "iu":
        return
    outside = (lengths < -MOST) | (lengths > MOST)
    if outside.any():
        raise ValueError(
            f"lengths: expected values in [0, seq_len], got {lengths[outside].flat[0]}"
        )
