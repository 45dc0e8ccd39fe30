"""Functions that set the initial values of parameters in place.

They take a `Parameter` or an array and return it; `unit_forget_bias_` and `chrono_` take a
recurrent layer instead. Values are drawn in float64 and rounded to the array's dtype. `seed` is an
integer or a `numpy.random.Generator`, whose state advances. None draws a fresh seed, which
`rnnfast.manual_seed` makes reproducible.

The parameters of a layer in evaluation mode are read-only, so that each function raises an error
for them.
"""

from __future__ import annotations

import math
import sys
from typing import Any, TypeAlias, TypeVar

import numpy as np

from rnnfast._engine import backends, checks, seeds
from rnnfast._engine import gates as _gates
from rnnfast._engine.checks import RealArray
from rnnfast.layers.parameter import Parameter
from rnnfast.layers.recurrent import Recurrent

Target = TypeVar("Target", bound="Parameter | RealArray")
Layer = TypeVar("Layer", bound="Recurrent[Any]")
Seed: TypeAlias = "int | np.random.Generator | None"

__all__ = [
    "chrono_",
    "glorot_uniform_",
    "identity_",
    "normal_",
    "orthogonal_",
    "uniform_",
    "unit_forget_bias_",
    "zeros_",
]


def uniform_(parameter: Target, a: float = 0.0, b: float = 1.0, *, seed: Seed = None) -> Target:
    """Draw values from the uniform distribution over [a, b).

    Raises:
        ValueError: b is below a, or the array is read-only.
        TypeError: An argument is of the wrong type.
    """
    low = _real("a", a)
    high = checks.finite("b", b, low)
    return _set(parameter, _generator(seed).uniform(low, high, _shape(parameter)))


def normal_(parameter: Target, mean: float = 0.0, std: float = 1.0, *, seed: Seed = None) -> Target:
    """Draw values from the normal distribution.

    Raises:
        ValueError: std is negative, or the array is read-only.
        TypeError: An argument is of the wrong type.
    """
    mean = _real("mean", mean)
    std = checks.finite("std", std, 0)
    return _set(parameter, _generator(seed).normal(mean, std, _shape(parameter)))


def zeros_(parameter: Target) -> Target:
    """Set all values to zero.

    Raises:
        ValueError: The array is read-only.
        TypeError: The argument is not a parameter or an array of reals.
    """
    return _set(parameter, np.zeros(_shape(parameter)))


def glorot_uniform_(
    parameter: Target, gain: float = 1.0, *, gates: int | None = None, seed: Seed = None
) -> Target:
    """Draw a matrix uniformly from +-gain sqrt(6 / (rows + columns)), as Glorot (Xavier) proposed.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010.

    Args:
        parameter: A matrix (rows, columns).
        gain: Factor of the bound.
        gates: Number of blocks of rows, of equal size, that are separate matrices, one for each
            gate. None for square blocks in a parameter whose name starts with `weight_hh`, and for
            1 block in any other.
        seed: Seed of the draw.

    Raises:
        ValueError: The array is not a matrix of so many blocks, gain is negative, or the array is
            read-only.
        TypeError: An argument is of the wrong type.
    """
    blocks, rows, columns = _blocks(parameter, gates)
    bound = checks.finite("gain", gain, 0) * math.sqrt(6 / (rows + columns))
    return _set(parameter, _generator(seed).uniform(-bound, bound, (blocks * rows, columns)))


def orthogonal_(
    parameter: Target, gain: float = 1.0, *, gates: int | None = None, seed: Seed = None
) -> Target:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer, times `gain`.

    The matrix is distributed uniformly among all such matrices (by the Haar measure). Source: Saxe,
    McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", 2014.

    Args:
        parameter: A matrix (rows, columns).
        gain: Factor of the matrix.
        gates: As in `glorot_uniform_`, so that each gate of a recurrent weight is orthogonal by
            itself.
        seed: Seed of the draw.

    Raises:
        ValueError: The array is not a matrix of so many blocks, gain is negative, or the array is
            read-only.
        TypeError: An argument is of the wrong type.
    """
    blocks, rows, columns = _blocks(parameter, gates)
    gain = checks.finite("gain", gain, 0)
    generator = _generator(seed)
    drawn = [_orthogonal(generator, rows, columns) for _ in range(blocks)]
    return _set(parameter, gain * np.concatenate(drawn))


def identity_(parameter: Target, gain: float = 1.0, *, gates: int | None = None) -> Target:
    """Set a matrix to `gain` times the identity.

    An RNN with ReLU, zero biases and these recurrent weights is the IRNN. Source: Le, Jaitly and
    Hinton, "A simple way to initialize recurrent networks of rectified linear units", 2015.

    Args:
        parameter: A matrix (rows, columns).
        gain: Factor of the matrix.
        gates: As in `glorot_uniform_`.

    Raises:
        ValueError: The array is not a matrix of so many blocks, or it is read-only.
        TypeError: An argument is of the wrong type.
    """
    blocks, rows, columns = _blocks(parameter, gates)
    gain = _real("gain", gain)
    return _set(parameter, gain * np.tile(np.eye(rows, columns), (blocks, 1)))


def unit_forget_bias_(layer: Layer, value: float = 1.0) -> Layer:
    """Set the biases of a layer's forget gates, so that it initially keeps its state.

    In all layers and directions, the first of the gate's two biases is set, and the second becomes
    zero. The forget gate is found from the equations of the cell; in a GRU, it is the update gate
    z, which keeps the old state. If a gate keeps the state for negative sums, the sign is flipped.

    Source: Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever, "An empirical
    exploration of recurrent network architectures", 2015.

    Args:
        layer: A recurrent layer with biases, of a cell that has a forget gate.
        value: The sum of the two biases.

    Raises:
        ValueError: The layer has no biases or is in evaluation mode, or its cell has no forget
            gate.
        TypeError: An argument is of the wrong type.
    """
    forget, _ = _memory(layer)
    value = _real("value", value)
    _set_gate(layer, forget, [np.full(layer.hidden_size, value)] * len(_suffixes(layer)))
    return layer


def chrono_(layer: Layer, t_max: float, *, seed: Seed = None) -> Layer:
    """Set the biases of a layer's forget and input gates for dependencies of up to `t_max` steps.

    In all layers and directions, b_f = log(u), with u drawn for each unit uniformly from
    [1, t_max - 1], and b_i = -b_f if the cell has a separate input gate. The second biases of these
    gates become zero. The gates are found as in `unit_forget_bias_`.

    Source: Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018, equation 16.

    Args:
        layer: A recurrent layer with biases, of a cell that has a forget gate.
        t_max: Longest dependency expected, in steps; at least 2.
        seed: Seed of the draw.

    Raises:
        ValueError: t_max is below 2, the layer has no biases or is in evaluation mode, or its cell
            has no forget gate.
        TypeError: An argument is of the wrong type.
    """
    forget, write = _memory(layer)
    longest = checks.finite("t_max", t_max, 2)
    generator, suffixes = _generator(seed), _suffixes(layer)
    drawn = [np.log(generator.uniform(1, longest - 1, layer.hidden_size)) for _ in suffixes]
    _set_gate(layer, forget, drawn)
    if write is not None:
        _set_gate(layer, write, [-bias for bias in drawn])
    return layer


def _memory(layer: Recurrent[Any]) -> _gates.Memory:
    """Return the forget and input gates of a layer's cell, after checking that they have biases."""
    checks.of_type("layer", layer, Recurrent)
    memory = _gates.memory_of(layer.cell)
    if memory is None:
        raise ValueError(f"layer: expected a cell with a forget gate, got {layer.cell!r}")
    if not layer.bias:
        raise ValueError("layer: expected a layer with biases, got bias=False")
    return memory


def _suffixes(layer: Recurrent[Any]) -> list[str]:
    """Return the suffixes of the parameters' names for each layer and direction."""
    directions = ("", "_reverse") if layer.bidirectional else ("",)
    return [f"_l{i}{direction}" for i in range(layer.num_layers) for direction in directions]


def _set_gate(layer: Recurrent[Any], gate: _gates.Gate, values: list[RealArray]) -> None:
    """Set the sum of a gate's biases, (H,) for each layer and direction."""
    size = layer.hidden_size
    for suffix, value in zip(_suffixes(layer), values, strict=True):
        for i, (name, block) in enumerate(gate.blocks):
            of_gate = slice(block * size, (block + 1) * size)
            getattr(layer, f"{name}{suffix}")[of_gate] = gate.sign * value if i == 0 else 0


def _orthogonal(generator: np.random.Generator, rows: int, columns: int) -> RealArray:
    """Return a random matrix with orthonormal rows or columns."""
    tall = generator.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes q independent of the algorithm's signs
    return q if rows >= columns else q.T


def _real(name: str, value: float) -> float:
    return checks.finite(name, value, -sys.float_info.max)


def _generator(seed: Seed) -> np.random.Generator:
    return seed if isinstance(seed, np.random.Generator) else seeds.generator(seed)


def _value(parameter: Parameter | RealArray) -> RealArray:
    """Return the array to write to, after checking that this is possible."""
    if isinstance(parameter, Parameter):
        parameter.check_writable()
        return parameter.value
    if not hasattr(parameter, "flags"):
        got = type(parameter).__name__
        raise TypeError(f"parameter: expected a Parameter or an array, got {got}")
    if parameter.dtype.kind != "f":
        raise TypeError(
            f"parameter: expected an array of real numbers, got dtype {parameter.dtype}"
        )
    if not getattr(parameter.flags, "writeable", True):
        raise ValueError("parameter: expected an array to write into, got a read-only one")
    return parameter


def _shape(parameter: Parameter | RealArray) -> tuple[int, ...]:
    return _value(parameter).shape


def _set(parameter: Target, values: RealArray) -> Target:
    array = _value(parameter)
    array[...] = backends.of(array).asarray(values.astype(array.dtype))
    return parameter


def _blocks(parameter: Parameter | RealArray, gates: int | None) -> tuple[int, int, int]:
    """Return the number of blocks of rows in a matrix, and the rows and columns of a block."""
    shape = _shape(parameter)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"parameter: expected a non-empty matrix, got shape {shape}")
    rows, columns = shape
    if gates is None:
        name = parameter.name.split(".")[-1] if isinstance(parameter, Parameter) else ""
        recurrent = name.startswith("weight_hh") and rows % columns == 0
        gates = rows // columns if recurrent else 1
    blocks = checks.positive_int("gates", gates)
    if rows % blocks:
        raise ValueError(f"gates: expected a divisor of the {rows} rows, got {gates}")
    return blocks, rows // blocks, columns
