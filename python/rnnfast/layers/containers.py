"""Layers made of other layers: sequences of layers, and residual connections."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import ArrayLike

from rnnfast._engine import backends, checks
from rnnfast._engine.checks import IntArray, RealArray
from rnnfast.autograd.recording import recorded_call
from rnnfast.autograd.tensor import Tensor
from rnnfast.layers.arrays import ArrayCall
from rnnfast.layers.module import Module, Named
from rnnfast.layers.recurrent import RecurrentCall
from rnnfast.layers.sequences import SequenceLayer
from rnnfast.layers.states import Lengths, Resets, State
from rnnfast.layers.stream import Stream
from rnnfast.layers.stream_layers import StreamElementwise, StreamLayer

if TYPE_CHECKING:
    from typing_extensions import Self


class Container(SequenceLayer):
    """A layer made of others, to which it passes the lengths and resets of sequences."""

    @overload
    def __call__(self, x: Tensor, lengths: Lengths = None, reset: Resets = None) -> Tensor: ...
    @overload
    def __call__(
        self, x: ArrayLike, lengths: Lengths = None, reset: Resets = None
    ) -> RealArray: ...
    def __call__(
        self, x: ArrayLike | Tensor, lengths: Lengths = None, reset: Resets = None
    ) -> RealArray | Tensor:
        """Compute y; the class documents the shapes of x and y.

        If x is a `Tensor`, y is a `Tensor` as well, and the call is recorded.

        Args:
            x: A batch of sequences, or whatever input the layers take.
            lengths: (B,) integers in [0, T], the lengths of the sequences; None for T.
            reset: (T, B) booleans, True where recurrent layers reset their states before the step,
                as described in `Recurrent`; (B, T) if these layers are `batch_first`.

        Raises:
            ValueError: A shape, a length or a value of `reset` is wrong; or no layer takes the
                lengths or resets; or there are resets and a convolution or pooling, which would
                join what they separate; or x is not on the CPU.
            TypeError: x does not hold real numbers, or the lengths are not integers.
        """
        if type(x) is Tensor:
            return recorded_call(self, x, lengths, reset)
        y, kept = self._run(x, lengths, reset)
        self._calls.add(kept)
        return y

    def call(self, x: ArrayLike, lengths: Lengths = None, reset: Resets = None) -> ArrayCall:
        """Compute y, and return the call, whose attribute `y` is the result.

        `call.backward` takes the gradient, so that any number of calls can be differentiated in any
        order. The arguments and errors are those of calling the layer.
        """
        return ArrayCall(self, *self._run(x, lengths, reset))

    def _run(
        self, x: ArrayLike, lengths: Lengths = None, reset: Resets = None
    ) -> tuple[RealArray, Any]:
        raise NotImplementedError

    def _inner(self) -> Iterator[Module]:
        """Yield the layers."""
        raise NotImplementedError


class Sequential(Container):
    """Apply layers one after the other, each to the result of the one before.

    Use it as `y = model(x, lengths=None, reset=None)` and `dx = model.backward(dy)`, or use
    `model.call` to make several calls before taking their gradients. A recurrent layer passes on
    only its y, and starts from zeros or from its learned initial state. `lengths` go to the layers
    that take them: recurrent layers; convolutions, which adjust the lengths for the layers that
    follow; and pooling, after which the sequences are gone and no lengths are passed on. `reset`
    goes to the recurrent layers.

    A layer is a module with a method `call(x)` that returns an object with `y` and `backward(dy,
    need_dx=True)`, as all layers of this library have. Parameters have PyTorch's names, such as
    `0.weight`. `model[0]` is the first layer, and `model[:2]` a `Sequential` of the first two,
    which shares them with this one.

    Args:
        layers: The layers, in order.

    Raises:
        TypeError: An argument is not a layer.
    """

    def __init__(self, *layers: Module) -> None:
        super().__init__()
        self._layers = [_layer(f"layers[{i}]", layer) for i, layer in enumerate(layers)]

    def append(self, layer: Module) -> Self:
        """Add a layer at the end. Returns self."""
        self._layers = [*self._layers, _layer("layer", layer)]
        return self

    def _inner(self) -> Iterator[Module]:
        return iter(self._layers)

    def _constructor_arguments(self) -> dict[str, Any]:
        return {"layers": tuple(self._layers)}

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if not isinstance(index, slice):
            return self._layers[index]
        part = Sequential(*self._layers[index])
        part.training = self.training
        return part

    def _run(
        self, x: ArrayLike, lengths: Lengths = None, reset: Resets = None
    ) -> tuple[RealArray, list[Any] | None]:
        if lengths is not None and not _takes(self, "lengths"):
            raise ValueError("lengths: expected None, as no layer of the model takes lengths")
        if reset is not None:
            _check_resets(self)
        counts = lengths
        calls: list[Any] = []
        y: Any = x if self._layers else backends.given("x", x)
        for layer in self._layers:
            call = _call(layer, y, counts, reset)
            calls.append(call)
            y = call.y
            if counts is not None and isinstance(layer, SequenceLayer):
                counts = layer._lengths_after(checks.integer_array("lengths", counts))
        return y, calls if self.training else None

    def _differentiate(self, kept: list[Any], dy: Any, need_dx: bool) -> RealArray | None:
        for i in reversed(range(len(kept))):
            dy = _gradient(kept[i], dy, need_dx or i > 0)
        return dy if need_dx else None

    def stream(self, batch: int = 1) -> Stream[tuple[State, ...]]:
        """Return a stream, which processes sequences step by step through all layers in one call.

        Dropout drops nothing in a stream. Pooling and convolutions cannot run step by step, except
        for causal convolutions of stride 1.

        Args:
            batch: B, the number of sequences processed side by side.

        Returns:
            A stream with the weights as they are now. Use its `copy` to make further streams that
            share these weights. Its `state` has an entry for each recurrent layer and convolution.

        Raises:
            ValueError: A layer cannot run step by step, two layers do not fit together, or the
                batch is less than 1.
            TypeError: The layers have different dtypes.
        """
        return Stream(self._stream_layers(), batch)

    def _stream_layers(self) -> list[StreamLayer]:
        return [step for layer in self._layers for step in layer._stream_layers()]

    def _lengths_after(self, lengths: IntArray) -> IntArray | None:
        counts: IntArray | None = lengths
        for layer in self._layers:
            if counts is not None and isinstance(layer, SequenceLayer):
                counts = layer._lengths_after(counts)
        return counts

    def _leaves(self) -> Named:
        for name, leaf in super()._leaves():
            yield name.removeprefix("_layers."), leaf


class Residual(Container):
    """Compute y = x + layer(x), as in residual networks (He et al. 2016).

    Of a recurrent layer's results, only its y is added. `lengths` and `reset` go to the layer if it
    takes them.

    Args:
        layer: A layer, as defined by `Sequential`, whose result has x's shape.

    Raises:
        TypeError: The argument is not a layer.
    """

    def __init__(self, layer: Module) -> None:
        super().__init__()
        self.layer = _layer("layer", layer)

    def _inner(self) -> Iterator[Module]:
        yield self.layer

    def _run(
        self, x: ArrayLike, lengths: Lengths = None, reset: Resets = None
    ) -> tuple[RealArray, Any]:
        if lengths is not None and not _takes(self, "lengths"):
            raise ValueError("lengths: expected None, as the layer does not take lengths")
        if reset is not None:
            _check_resets(self)
        call = _call(self.layer, x, lengths, reset)
        added = backends.given("x", x)
        checks.shape("layer(x)", call.y, added.shape, "of x")
        added = checks.real_array("x", added, call.y.dtype, " (the layer's)", backends.of(call.y))
        return added + call.y, call if self.training else None

    def _stream_layers(self) -> list[StreamLayer]:
        inner = self.layer._stream_layers()
        return [*inner, StreamElementwise(self._backend, "add", len(inner))]

    def _differentiate(self, kept: Any, dy: ArrayLike, need_dx: bool) -> RealArray | None:
        y = kept.y
        backend = backends.of(y)
        array = checks.shaped_array("dy", dy, y.dtype, y.shape, "of y", " (y's)", backend)
        dx = _gradient(kept, array, need_dx)
        return None if dx is None else array + dx


def _layer(name: str, value: Module) -> Module:
    """Return a value after checking that it can be a layer of a container."""
    if not isinstance(value, Module) or not callable(getattr(value, "call", None)):
        lacks = "without `call`" if isinstance(value, Module) else ""
        raise TypeError(
            f"{name}: expected a layer, that is, a module with a method `call` whose result has "
            f"`y` and `backward`, got {type(value).__name__} {lacks}".rstrip()
        )
    return value


def _takes(layer: Any, argument: str) -> bool:
    """Return whether a layer, or one inside it, takes an argument."""
    if isinstance(layer, Container):
        return any(_takes(inner, argument) for inner in layer._inner())
    return argument in _arguments(type(layer).call)


@lru_cache(256)
def _arguments(call: Callable[..., Any]) -> frozenset[str]:
    """Return the names of a method's arguments; cached, because signatures are slow."""
    return frozenset(inspect.signature(call).parameters)


def _check_resets(container: Container) -> None:
    """Check that some layer resets its states, and that none mixes the steps of episodes."""
    if not _takes(container, "reset"):
        raise ValueError("reset: expected None, as no recurrent layer would take it")
    for layer in container._inner():
        if isinstance(layer, SequenceLayer) and not isinstance(layer, Container):
            raise ValueError(
                f"reset: expected None with {type(layer).__name__}, which computes from steps "
                "before and after a reset"
            )


def _call(layer: Any, x: ArrayLike, lengths: Lengths, reset: Resets) -> Any:
    """Call a layer, and pass on those arguments that it takes."""
    given = {"lengths": lengths, "reset": reset}
    taken = {n: v for n, v in given.items() if v is not None and _takes(layer, n)}
    return layer.call(x, **taken)


def _gradient(call: Any, dy: Any, need_dx: bool) -> Any:
    """Return dx of a call; drop the gradient of a recurrent state."""
    result = call.backward(dy, need_dx=need_dx)
    return result[0] if isinstance(call, RecurrentCall) else result
