"""The layers that usually surround recurrent ones: an embedding and a linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from rnnfast import _core
from rnnfast._engine import backends, checks, seeds
from rnnfast._engine.backends import CPU
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.layers.arrays import ArrayLayer, check_unchanged, trained_gradient
from rnnfast.layers.module import uniform
from rnnfast.layers.parameter import Parameter
from rnnfast.layers.stream_layers import StreamEmbedding, StreamLayer, StreamLinear

if TYPE_CHECKING:
    from typing_extensions import Self


class Embedding(ArrayLayer):
    """A table of vectors looked up by integers, with standard normal initial values.

    x holds integers in [0, V), of any shape, and y (..., E) is the vector of each. Integers have no
    gradient, so `backward` returns None. A call with other values raises a `TypeError`, or an
    `IndexError` if one is out of range.

    In training mode, `backward` takes the gradient of the last call, and only one call may be
    pending at a time; use `call` to make several calls before taking their gradients. You may
    change the array of integers after the call, because the layer keeps a copy of it. Only one
    thread at a time may train a layer.

    Args:
        num_embeddings: Number of vectors V.
        embedding_dim: Size E of a vector.
        dtype: float32 or float64. Arrays of other real types are converted to it, so float64
            arrays lose precision in a float32 layer.
        seed: Seed of the initial values; None for a fresh seed.
        device: Device of the layer, "cpu" or "cuda"; None for "cpu".
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        dtype: DTypeLike = np.float32,
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(device)
        self.num_embeddings = checks.size("num_embeddings", num_embeddings)
        self.embedding_dim = checks.size("embedding_dim", embedding_dim)
        self.dtype = checks.real_dtype("dtype", dtype, self._backend)
        checks.memory(self.num_embeddings * self.embedding_dim, self.dtype)
        normal = seeds.generator(seed).standard_normal((num_embeddings, embedding_dim))
        self.weight = self._add("weight", normal.astype(self.dtype))

    def _run(self, x: ArrayLike) -> tuple[RealArray, IntArray | None]:
        index = checks.index_array(
            "x",
            x,
            "x: expected indices in [0, num_embeddings)",
            self.num_embeddings,
            self._backend,
        )
        if self.training:
            index = index.copy()  # because the caller may reuse its array for the next batch
        y: RealArray = self._backend.embedding_forward(weight=self.weight.value, indices=index)
        return y, index if self.training else None

    def _differentiate(self, index: IntArray, dy: ArrayLike, need_dx: bool) -> None:  # noqa: ARG002
        shape = *index.shape, self.embedding_dim
        meaning, why = "(..., embedding_dim)", " (the layer's)"
        array = checks.shaped_array("dy", dy, self.dtype, shape, meaning, why, self._backend)
        if self.weight.requires_grad:
            self._backend.embedding_backward(dy=array, indices=index, dweight=self.weight.grad)

    def _stream_layers(self) -> list[StreamLayer]:
        return [StreamEmbedding(self._backend, self.weight.value)]

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Linear(ArrayLayer):
    """Compute y = x W^T + b, where x is (..., in_features) and y is (..., out_features).

    Initial values are uniform in +-1/sqrt(in_features).

    In training mode, `backward` takes the gradient of the last call, and only one call may be
    pending at a time; use `call` to make several calls before taking their gradients. Until
    `backward`, x and the weight must not change, because it reads them again. On the CPU, it
    compares a sample of their values and raises `RuntimeError` if one has changed; with
    RNNFAST_CHECK_INPUTS=1 in the environment, it compares all of them. Only one thread at a time
    may train a layer.

    Args:
        in_features: Size of x's last axis.
        out_features: Size of y's last axis.
        bias: Whether to add b.
        dtype: float32 or float64. Arrays of other real types are converted to it, so float64
            arrays lose precision in a float32 layer.
        seed: Seed of the initial values; None for a fresh seed.
        device: Device of the layer, "cpu" or "cuda"; None for "cpu".
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(device)
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        self.dtype = checks.real_dtype("dtype", dtype, self._backend)
        generator = seeds.generator(seed)
        self.weight = self._add(
            "weight", uniform(generator, (out_features, in_features), in_features, self.dtype)
        )
        self.bias = (
            self._add("bias", uniform(generator, (out_features,), in_features, self.dtype))
            if bias
            else None
        )

    def _run(self, x: ArrayLike) -> tuple[RealArray, tuple[RealArray, int] | None]:
        backend, array = self._backend, backends.given("x", x)
        checks.last_axis("x", array, self.in_features, "in_features")
        array = checks.real_array("x", array, self.dtype, " (the layer's)", backend)
        y: RealArray = backend.linear_forward(
            x=array, weight=self.weight.value, bias=None if self.bias is None else self.bias.value
        )
        if not self.training:
            return y, None
        return y, (array, _core.fingerprint(array, self.weight.value) if backend is CPU else 0)

    def _differentiate(
        self, kept: tuple[RealArray, int], dy: ArrayLike, need_dx: bool
    ) -> RealArray | None:
        x, fingerprint = kept
        shape = *x.shape[:-1], self.out_features
        meaning, why = "(..., out_features)", " (the layer's)"
        array = checks.shaped_array("dy", dy, self.dtype, shape, meaning, why, self._backend)
        if self._backend is CPU:
            check_unchanged(fingerprint, x, self.weight.value)
        dx: RealArray | None = self._backend.linear_backward(
            dy=array,
            x=x,
            weight=self.weight.value,
            dweight=trained_gradient(self.weight),
            dbias=trained_gradient(self.bias),
            need_dx=need_dx,
        )
        return dx

    def tie(self, other: Embedding | Linear) -> Self:
        """Share the weight of another layer, so that both layers train one parameter.

        The shared parameter keeps the values of `other` and sums the gradients of both layers. It
        counts once among the parameters of a model, in optimisers and in state dicts. Tie layers
        before you make the optimiser, which would otherwise keep updating the weight that this
        layer had before. Source: Press and Wolf, "Using the output embedding to improve language
        models", 2017.

        Args:
            other: An `Embedding` of out_features vectors of size in_features, or a `Linear` of the
                same sizes as this layer.

        Returns:
            The layer itself.

        Raises:
            ValueError: The weights have different shapes, or are on different devices.
            TypeError: `other` is another kind of layer, or has another dtype.
        """
        if not isinstance(other, (Embedding, Linear)):
            raise TypeError(f"other: expected an Embedding or a Linear, got {type(other).__name__}")
        meaning = "(out_features, in_features)"
        checks.shape("other.weight", other.weight.value, self.weight.shape, meaning)
        if other.dtype != self.dtype:
            raise TypeError(f"other: expected dtype {self.dtype}, got {other.dtype}")
        if other._backend is not self._backend:
            raise ValueError(
                f"other: expected device {self._backend.name!r}, got {other._backend.name!r}"
            )
        self._share("weight", other.weight)
        return self

    def _share(self, name: str, parameter: Parameter) -> None:
        vars(self)[name] = parameter

    def _stream_layers(self) -> list[StreamLayer]:
        return [
            StreamLinear(
                self._backend, self.weight.value, None if self.bias is None else self.bias.value
            )
        ]

    def extra_repr(self) -> str:
        """Return the sizes, and whether the bias is missing."""
        without = "" if self.bias else ", bias=False"
        return f"{self.in_features}, {self.out_features}{without}"
