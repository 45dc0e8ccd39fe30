"""Calls of layers, which keep the values that their gradients need.

After `layer(x)`, the call is pending until `layer.backward(dy)`. Only one call may be pending:
after a second one, `backward` could not know which of them dy belongs to, and raises an error.
`layer.call(x)` returns the call itself, which holds the values for its own gradient, so that any
number of calls can be differentiated in any order. Use it for a layer that is applied more than
once, as in siamese networks, or step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rnnfast._engine import backends
from rnnfast.layers.module import Module, Named, Reference

if TYPE_CHECKING:
    from typing_extensions import Self

Result = TypeVar("Result")


class Waiting:
    """The pending calls of a layer, whose gradients `backward` has not taken yet."""

    __slots__ = ("busy", "kept")

    def __init__(self) -> None:
        self.kept: list[Any] = []  # the values of the one pending call; two None after several
        self.busy = False  # True while `backward` adds gradients

    def add(self, kept: Any) -> None:
        """Make a call pending; a call in evaluation passes None, after which none is pending."""
        waiting = self.kept
        if kept is None:
            waiting.clear()
        else:
            waiting.append(kept)  # an atomic step, so that concurrent threads lose no call
            if len(waiting) > 1:
                waiting[:] = None, None


class _NotMade:
    """A placeholder for an attribute that a subclass lacks if its `__init__` calls no base's."""

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> Any:
        if layer is None:
            return self
        raise RuntimeError(
            f"{owner.__name__}: expected its __init__ to call super().__init__() with the "
            "arguments of the layer, which creates the parameters, but it did not"
        )

    def __repr__(self) -> str:  # `help` shows this as the attribute's value
        return "(made by __init__)"


class Layer(Module):
    """A module whose own calls keep values for `backward`."""

    # Every use of a layer reads one of these first, so that a missing `super().__init__()` raises a
    # clear error. Once set, the attributes of the object take precedence.
    _backend: backends.Backend = _NotMade()  # type: ignore[assignment]
    dtype: np.dtype[Any] = _NotMade()  # type: ignore[assignment]
    _calls: Waiting = _NotMade()  # type: ignore[assignment]

    def __init__(self, device: str | None = None) -> None:
        super().__init__(device)
        self._calls = Waiting()

    def train(self, mode: bool = True) -> Self:
        """Switch to training or, with False, to evaluation, which discards any pending call."""
        if not mode:
            self._calls.kept.clear()
        return super().train(mode)

    def _leaves(self) -> Named:
        _ = self._calls  # raises an error if `__init__`, which makes the parameters, did not run
        return super()._leaves()

    def _take(self, kept: list[Any], gradients: Callable[..., Result], *args: Any) -> Result:
        """Take the gradients of the one call in `kept`, and remove it if that succeeds."""
        calls = self._calls
        if len(kept) != 1 or calls.busy:
            self._refuse(kept)
        calls.busy = True
        one = kept.pop()
        try:
            return gradients(one, *args)
        except Exception:
            kept.insert(0, one)
            raise
        finally:
            calls.busy = False

    def _refuse(self, kept: list[Any]) -> None:
        """Raise an error that says why no gradient can be taken."""
        name = f"{type(self).__name__}.backward"
        if self._calls.busy:
            raise RuntimeError(
                f"{name}: expected one thread at a time, as backward adds to the gradients of the "
                "parameters, but another thread is running it"
            )
        if not kept:
            raise RuntimeError(
                f"{name}: expected a call of the layer in training mode before each backward, as "
                "the call keeps the values that the gradient needs; there is none: the layer has "
                "not been called, the gradient of its call has been taken already, or `eval()` or "
                "a call in evaluation mode has discarded the call"
            )
        kept.clear()
        raise RuntimeError(
            f"{name}: expected one call in training mode before it, got several, and cannot tell "
            "to which of them dy belongs. To take the gradient of each, keep the calls: `call = "
            "layer.call(x)`, then `call.backward(dy)`, in any order. If you need no gradient of a "
            "call, use `layer.call(x).y`, or evaluation mode, `model.eval()`, which also discards "
            "the model's earlier calls. This error has discarded the earlier calls of this layer"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles, which have no pending calls."""
        return vars(self) | {"_calls": Waiting()}


class Call(Reference):
    """One call of a layer, which holds the values for its gradient until that is taken."""

    __slots__ = ("_kept", "_layer")

    def __init__(self, layer: Layer, kept: Any) -> None:
        self._layer = layer
        self._kept = [] if kept is None else [kept]
