"""The parameters of recurrent layers, and the lists of their arrays that the engine takes.

Sizes: H hidden_size, L num_layers, D num_directions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rnnfast import functional
from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.context import ContextWeights
from rnnfast.layers.evaluation import PackedInEvaluation
from rnnfast.layers.learned import LearnedState, parameter_name
from rnnfast.layers.module import uniform
from rnnfast.layers.parameter import Freezing, Parameter


class RecurrentWeights(PackedInEvaluation):
    """A layer with the parameters of a network, which `_add_parameters` makes."""

    input_size: int
    hidden_size: int
    bias: bool
    proj_size: int
    context_size: int

    def _add_parameters(self, states: int, learn_state: bool) -> None:
        """Add the weights and, if they are learned, the initial states of a cell."""
        self._weights = []
        self._gradients: list[functional.Weights] = []
        # Whether each parameter is trained, with its layer and name in `_gradients`.
        self._freezings: list[tuple[Freezing, int, str]] = []
        of_context: list[Parameter] = []
        checks.memory(self._values_of_parameters(), self.dtype)
        for layer in range(self.num_layers):
            for suffix in ("", "_reverse") if self.bidirectional else ("",):
                self._add_weights(layer, suffix)
                if self.context_size:
                    shape = len(self._weights[-1].weight_ih), self.context_size
                    name = f"weight_ch_l{layer}{suffix}"
                    of_context.append(self._add(name, self._initial(shape)))
        self._context = None
        if of_context:
            self._context = ContextWeights(self._backend, self.context_size, of_context)
        self._learned = self._add_initial_states(states) if learn_state else None

    def __delattr__(self, name: str) -> None:
        """Delete an attribute, unless it is a parameter, with which the layer would go on.

        Raises:
            AttributeError: It is a parameter.
        """
        if isinstance(vars(self).get(name), Parameter):
            raise AttributeError(
                f"{name}: expected to stay, as the {type(self).__name__} computes with it and its "
                "state_dict would lack it"
            )
        super().__delattr__(name)

    def _values_of_parameters(self) -> int:
        """Return how many values the weights have, which may be too many for a loop to add."""
        directions = 2 if self.bidirectional else 1
        outputs = directions * (self.proj_size or self.hidden_size)
        shapes = functional.cells()[self.cell].shapes
        first, other = (
            sum(map(math.prod, shapes(inputs, self.hidden_size, self.proj_size).values()))
            for inputs in (self.input_size, outputs)
        )
        return directions * (first + (self.num_layers - 1) * other)

    def _add_weights(self, layer: int, suffix: str) -> None:
        hidden, outputs = self.hidden_size, self.proj_size or self.hidden_size
        inputs = self.input_size if layer == 0 else outputs * (2 if self.bidirectional else 1)
        shapes = functional.cells()[self.cell].shapes(inputs, hidden, self.proj_size)
        added = {
            name: self._add(f"{name}_l{layer}{suffix}", self._initial(shape))
            for name, shape in shapes.items()
            if self.bias or not name.startswith("bias")
        }
        self._weights.append(functional.Weights(**{n: p.value for n, p in added.items()}))
        self._freezings += [(p.freezing, len(self._gradients), n) for n, p in added.items()]
        self._gradients.append(functional.Weights(**{n: p.grad for n, p in added.items()}))

    def _initial(self, shape: tuple[int, ...]) -> RealArray:
        assert self._generator is not None
        return uniform(self._generator, shape, self.hidden_size, self.dtype)

    def _add_initial_states(self, states: int) -> LearnedState:
        widths = [self.proj_size or self.hidden_size] + [self.hidden_size] * (states - 1)
        zeros = [np.zeros((len(self._weights), width), self.dtype) for width in widths]
        return LearnedState.of([self._add(parameter_name(k), z) for k, z in enumerate(zeros)])

    def _gradients_to_add(self) -> list[functional.Weights]:
        """Return the gradient arrays, with None for frozen parameters."""
        frozen = [place for place in self._freezings if not place[0].requires_grad]
        if not frozen:
            return self._gradients
        gradients = list(self._gradients)
        unwanted: Any = None
        for _, i, name in frozen:
            gradients[i] = gradients[i]._replace(**{name: unwanted})
        return gradients
