"""The layers around recurrent ones: a table of vectors and a linear map."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from rnnfast import _checks
from rnnfast._checks import IntArray, RealArray
from rnnfast.module import Module, uniform


class Embedding(Module[IntArray]):
    """A table of vectors looked up by integers. Initial values are standard normal.

    Args:
        num_embeddings: Number of vectors V.
        embedding_dim: Their size E.
        dtype: float32 or float64.
        seed: Seeds the initial values; None draws fresh ones.
        device: Where the layer is, "cpu" or "cuda"; None for "cpu".
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
        self.num_embeddings = _checks.positive_int("num_embeddings", num_embeddings)
        self.embedding_dim = _checks.positive_int("embedding_dim", embedding_dim)
        self.dtype = _checks.real_dtype("dtype", dtype, self._on)
        normal = np.random.default_rng(seed).standard_normal((num_embeddings, embedding_dim))
        self.weight = self._add("weight", normal.astype(self.dtype))

    def __call__(self, indices: ArrayLike) -> RealArray:
        """Look up vectors.

        Args:
            indices: Integers in [0, V), of any shape.

        Returns:
            (..., E): the vector of each.

        Raises:
            IndexError: An index is out of range.
            TypeError: The indices are no integers.
        """
        index = _checks.index_array(
            "indices",
            indices,
            "indices: expected values in [0, num_embeddings)",
            self.num_embeddings,
            self._on,
        )
        y: RealArray = self._on.embedding_forward(weight=self.weight.value, indices=index)
        self._kept = index if self.training else None
        return y

    def backward(self, dy: ArrayLike) -> None:
        """Add the gradient of the table to `grad`.

        Args:
            dy: Gradient of the last call's result, in its shape.

        Raises:
            RuntimeError: No call in training mode came before.
            ValueError: The shape is wrong.
        """
        index = self._take_kept()
        array = _checks.real_array("dy", dy, self.dtype, " (the layer's)", self._on)
        _checks.shape("dy", array, (*index.shape, self.embedding_dim), "(..., embedding_dim)")
        self._on.embedding_backward(dy=array, indices=index, dweight=self.weight.grad)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Linear(Module[RealArray]):
    """y = x W^T + b. Initial values are uniform in +-1/sqrt(in_features).

    Args:
        in_features: Size of x's last axis.
        out_features: Size of y's last axis.
        bias: Whether b is added.
        dtype: float32 or float64.
        seed: Seeds the initial values; None draws fresh ones.
        device: Where the layer is, "cpu" or "cuda"; None for "cpu".
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
        self.in_features = _checks.positive_int("in_features", in_features)
        self.out_features = _checks.positive_int("out_features", out_features)
        self.dtype = _checks.real_dtype("dtype", dtype, self._on)
        generator = np.random.default_rng(seed)
        self.weight = self._add(
            "weight", uniform(generator, (out_features, in_features), in_features, self.dtype)
        )
        self.bias = (
            self._add("bias", uniform(generator, (out_features,), in_features, self.dtype))
            if bias
            else None
        )

    def __call__(self, x: ArrayLike) -> RealArray:
        """Multiply by the weight.

        Args:
            x: (..., in_features).

        Returns:
            (..., out_features).

        Raises:
            ValueError: The last axis is not in_features.
            TypeError: The dtype is not the layer's.
        """
        array = _checks.real_array("x", x, self.dtype, " (the layer's)", self._on)
        _checks.last_axis("x", array, self.in_features, "in_features")
        self._kept = array if self.training else None
        y: RealArray = self._on.linear_forward(
            x=array, weight=self.weight.value, bias=self.bias and self.bias.value
        )
        return y

    def backward(self, dy: ArrayLike, *, need_dx: bool = True) -> RealArray | None:
        """Take gradients through the last call, adding those of the parameters to `grad`.

        Args:
            dy: Gradient of the last call's result, in its shape.
            need_dx: Whether dx is wanted.

        Returns:
            dx (..., in_features), or None if not wanted.

        Raises:
            RuntimeError: No call in training mode came before.
            ValueError: The shape is wrong.
            TypeError: The dtype is not the layer's.
        """
        x = self._take_kept()
        array = _checks.real_array("dy", dy, self.dtype, " (the layer's)", self._on)
        _checks.shape("dy", array, (*x.shape[:-1], self.out_features), "(..., out_features)")
        dx: RealArray | None = self._on.linear_backward(
            dy=array,
            x=x,
            weight=self.weight.value,
            dweight=self.weight.grad,
            dbias=self.bias and self.bias.grad,
            need_dx=need_dx,
        )
        return dx

    def extra_repr(self) -> str:
        """The sizes."""
        without = "" if self.bias else ", bias=False"
        return f"{self.in_features}, {self.out_features}{without}"
