"""What layers and models are: parameters with their gradients, modes, states to save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rnnfast import _backend, _checks
from rnnfast._checks import RealArray

if TYPE_CHECKING:
    from typing_extensions import Self

Kept = TypeVar("Kept")  # what a call keeps for backward


class Parameter(NamedTuple):
    """A parameter of a module: views of its value and gradient, both updated in place."""

    name: str
    value: RealArray
    grad: RealArray


class Module(Generic[Kept]):
    """Base of the layers and of models made of them.

    A model is a subclass that sets layers as attributes; their parameters are then its own, with
    the attribute's name before theirs: `lstm.weight_ih_l0`.

    Attributes:
        training: Whether calls keep what `backward` needs, and apply dropout.
    """

    def __init__(self, device: str | None = None) -> None:
        self._on = _backend.get(device)
        self.training = True
        self._parameters: dict[str, Parameter] = {}
        self._kept: Kept | None = None
        self._generator: np.random.Generator | None = None

    @property
    def device(self) -> str:
        """Where the parameters are: "cpu" or "cuda"."""
        return _backend.of(next(self.parameters()).value).name

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter, in the order of their making."""
        yield from self._parameters.values()
        for prefix, child in self._children():
            for parameter in child.parameters():
                yield parameter._replace(name=f"{prefix}.{parameter.name}")

    def train(self, mode: bool = True) -> Self:
        """Switch to training (dropout, backward) or, with False, to evaluation. Returns self."""
        self.training = mode
        for _, child in self._children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Switch to evaluation: no dropout, nothing kept for backward. Returns self."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for parameter in self.parameters():
            parameter.grad.fill(0)

    def state_dict(self) -> dict[str, RealArray]:
        """Copies of every parameter's value by name: NumPy arrays, wherever the module is."""
        return {p.name: _backend.to_host(p.value) for p in self.parameters()}

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Set every parameter's value.

        Args:
            state_dict: An array for each parameter's name, such as `state_dict()` gives, or
                PyTorch's tensors as NumPy arrays.

        Raises:
            ValueError: A name is missing or unknown, or a shape differs. Nothing is changed then.
            TypeError: Values are no reals. Nothing is changed then.
        """
        parameters = list(self.parameters())
        _checks.same_names("state_dict", state_dict, (p.name for p in parameters))
        arrays = [_checks.values_of(p.name, state_dict[p.name], p.value) for p in parameters]
        self._thaw()
        for p, array in zip(parameters, arrays, strict=True):
            p.value[...] = array

    def generator_state(self) -> dict[str, Any]:
        """State of the generators of dropout by layer, for checkpoints; JSON can hold it."""
        return {name: g.bit_generator.state for name, g in self._generators()}

    def set_generator_state(self, state: Mapping[str, Any]) -> None:
        """Set what `generator_state` gave, so that training goes on with the same bits."""
        generators = dict(self._generators())
        _checks.same_names("state", state, generators)
        for name, generator in generators.items():
            generator.bit_generator.state = state[name]

    def _thaw(self) -> None:
        """Drop what was made of the parameters' values, which may change from now on."""
        for _, child in self._children():
            child._thaw()

    def _children(self) -> Iterator[tuple[str, Module[Any]]]:
        return ((name, m) for name, m in vars(self).items() if isinstance(m, Module))

    def _generators(self, prefix: str = "") -> Iterator[tuple[str, np.random.Generator]]:
        if self._generator is not None:
            yield prefix, self._generator
        for name, child in self._children():
            yield from child._generators(f"{prefix}.{name}" if prefix else name)

    def _add(self, name: str, value: RealArray) -> Parameter:
        value = self._on.asarray(value)
        self._parameters[name] = Parameter(name, value, np.zeros_like(value))
        return self._parameters[name]

    def _take_kept(self) -> Kept:
        """What the last call kept for backward, which may use it once."""
        if self._kept is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward: expected a call of the layer in training mode "
                "before each backward, as it keeps what the gradient needs; there was none"
            )
        kept, self._kept = self._kept, None
        return kept


def uniform(
    generator: np.random.Generator, shape: tuple[int, ...], fan: int, dtype: np.dtype[Any]
) -> RealArray:
    """Initial values in +-1/sqrt(fan)."""
    bound = 1 / np.sqrt(fan)
    return generator.uniform(-bound, bound, shape).astype(dtype)
