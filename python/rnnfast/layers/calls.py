"""Calls of layers, which keep what their gradients need.

`layer(x)` lets the call wait for `layer.backward(dy)`. One call at a time may wait: after a second
one `backward` could not know which of them dy belongs to, and says so. `layer.call(x)` returns the
call itself, which holds what its own gradient needs: any number of gradients can then be taken, in
any order. This is the way for a layer that is used twice (siamese networks, tied layers) or step by
step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rnnfast._engine import backend
from rnnfast.layers.module import Module, Named, Reference

if TYPE_CHECKING:
    from typing_extensions import Self

Result = TypeVar("Result")


class Waiting:
    """The calls of a layer that wait for `backward`."""

    __slots__ = ("busy", "kept")

    def __init__(self) -> None:
        self.kept: list[Any] = []  # what the call keeps; of several only two None
        self.busy = False  # while gradients are added

    def add(self, kept: Any) -> None:
        """Let a call wait; None, of a call in evaluation, ends all waiting."""
        waiting = self.kept
        if kept is None:
            waiting.clear()
        else:
            waiting.append(kept)  # one step, so that no call is lost where several threads call
            if len(waiting) > 1:
                waiting[:] = None, None


class _NotMade:
    """Stands for what `__init__` makes, where a subclass of a layer does not call it."""

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> Any:
        if layer is None:
            return self
        raise RuntimeError(
            f"{owner.__name__}: expected its __init__ to call super().__init__() with the "
            "arguments of the layer, which makes the parameters; it did not"
        )

    def __repr__(self) -> str:  # what `help` shows
        return "(made by __init__)"


class Layer(Module):
    """A module whose own calls keep something for `backward`."""

    # What uses of a layer read first; attributes of the object come before these.
    _on: backend.Backend = _NotMade()  # type: ignore[assignment]
    dtype: np.dtype[Any] = _NotMade()  # type: ignore[assignment]
    _calls: Waiting = _NotMade()  # type: ignore[assignment]

    def __init__(self, device: str | None = None) -> None:
        super().__init__(device)
        self._calls = Waiting()

    def train(self, mode: bool = True) -> Self:
        """Switch to training or, with False, to evaluation, in which no call waits any longer."""
        if not mode:
            self._calls.kept.clear()
        return super().train(mode)

    def _leaves(self) -> Named:
        _ = self._calls  # there since __init__; without it there are no parameters
        return super()._leaves()

    def _take(self, kept: list[Any], gradients: Callable[..., Result], *args: Any) -> Result:
        """Take the gradients of the one call in `kept`, which is out of it if that works."""
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
        """Say why no gradient can be taken."""
        name = f"{type(self).__name__}.backward"
        if self._calls.busy:
            raise RuntimeError(
                f"{name}: expected one thread at a time in the backward of a layer, as it adds to "
                "the gradients of the parameters; another is in it"
            )
        if not kept:
            raise RuntimeError(
                f"{name}: expected a call of the layer in training mode before each backward, as "
                "it keeps what the gradient needs; none waits: there was none, or its gradient was "
                "taken, or `eval()` or a call in evaluation mode came after it, which end the wait"
            )
        kept.clear()
        raise RuntimeError(
            f"{name}: expected one call in training mode before it, got several, of which dy "
            "belongs to one. To take the gradient of each, keep the calls: `call = layer.call(x)`, "
            "then `call.backward(dy)`, in any order. To call without a gradient, use `call.y`, "
            "or evaluation: `model.eval()`, which also lets no earlier call of the model wait. "
            "Those of this layer wait no longer"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no calls that wait."""
        return vars(self) | {"_calls": Waiting()}


class Call(Reference):
    """One call of a layer, which holds what its gradient needs until that is taken."""

    __slots__ = ("_kept", "_layer")

    def __init__(self, layer: Layer, kept: Any) -> None:
        self._layer = layer
        self._kept = [] if kept is None else [kept]
