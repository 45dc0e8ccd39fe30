"""Keras's `LSTM`, `GRU` and `SimpleRNN`, whose loop over the steps the engine runs.

Sizes: T steps, B sequences, I inputs, H units, G gates of a cell.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import activations, ops

from rnnfast.exchange.conversion import OUR_GATES
from rnnfast.exchange.keras import row_of
from rnnfast.keras.engine import DTYPES, is_here, run

_RECURRENT = "tanh", "sigmoid"  # the activations of LSTM and GRU


class _Layer(keras.layers.RNN):
    """The loop over the steps, mixed into a layer of Keras."""

    def why_not(self) -> str | None:
        """Return why Keras itself runs every call of the layer; None if the engine can run them.

        Keras also runs single calls with a mask, and those on a GPU.
        """
        cell = self.cell
        backend = keras.config.backend()
        if backend not in ("jax", "torch"):
            return f"the backend is {backend}, not jax or torch"
        if self._cell_name() is None:
            return "the activations are not those of the engine's cells"
        if cell.recurrent_dropout:
            return "it has recurrent_dropout"
        if cell.compute_dtype not in DTYPES:
            return f"it computes in {cell.compute_dtype}"
        return None

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Take all steps.

        Args:
            sequences: (B, T, I).
            initial_state: The states, (B, H) each.
            mask: (B, T), or None.
            training: Whether to drop inputs.

        Returns:
            The last output (B, H), all outputs (B, T, H) in the order of the steps, and the states.
        """
        name = self._cell_name()
        tensors = keras.tree.flatten([sequences, initial_state])
        masked = any(m is not None for m in keras.tree.flatten([mask]))
        if name is None or masked or self.why_not() or not all(map(is_here, tensors)):
            result: tuple[Any, Any, list[Any]] = super().inner_loop(
                sequences, initial_state, mask=mask, training=training
            )
            return result
        x = ops.flip(sequences, axis=1) if self.go_backwards else sequences
        if training and self.cell.dropout:
            x = x * self.cell.get_dropout_mask(sequences[:, 0, :])[:, None]
        y, states = run(name, x, keras.tree.flatten(initial_state), self._weights_of(name))
        return y[:, -1], y, states

    def _cell_name(self) -> str | None:
        """Return the name of the engine's cell; None if it has none with these activations."""
        raise NotImplementedError

    def _weights_of(self, name: str) -> list[Any]:
        """Return weight_ih (G*H, I), weight_hh (G*H, H) and, if there are biases, both (G*H,)."""
        row = row_of(name)
        assert row is not None
        cell, gates, stored = self.cell, OUR_GATES[name], row.gates

        def convert(weight: Any) -> Any:
            value = ops.convert_to_tensor(weight)
            if gates == stored:
                return value
            blocks = ops.split(value, len(gates), axis=-1)
            return ops.concatenate([blocks[stored.index(gate)] for gate in gates], axis=-1)

        weights = [ops.transpose(convert(w)) for w in (cell.kernel, cell.recurrent_kernel)]
        if cell.bias is None:
            return weights
        bias = convert(cell.bias)
        if len(bias.shape) == 2:
            return [*weights, bias[0], bias[1]]
        return [*weights, bias, ops.zeros_like(bias)]

    def _activations_are(self, names: tuple[str, ...]) -> bool:
        """Return whether the layer has these activations."""
        cell = self.cell
        found = cell.activation, getattr(cell, "recurrent_activation", None)
        return all(f is activations.get(n) for f, n in zip(found, names, strict=False))


@keras.saving.register_keras_serializable(package="rnnfast")
class LSTM(_Layer, keras.layers.LSTM):
    """`keras.layers.LSTM`, with its arguments, weights, inputs and outputs.

    Keras itself runs the layer where the engine cannot; `report` tells why.
    """

    def _cell_name(self) -> str | None:
        return "lstm" if self._activations_are(_RECURRENT) else None


@keras.saving.register_keras_serializable(package="rnnfast")
class GRU(_Layer, keras.layers.GRU):
    """`keras.layers.GRU`, with its arguments, weights, inputs and outputs.

    Keras itself runs the layer where the engine cannot; `report` tells why.
    """

    def _cell_name(self) -> str | None:
        if not self._activations_are(_RECURRENT):
            return None
        return "gru" if self.cell.reset_after else "gru_reset_before"


@keras.saving.register_keras_serializable(package="rnnfast")
class SimpleRNN(_Layer, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`, with its arguments, weights, inputs and outputs.

    Keras itself runs the layer where the engine cannot; `report` tells why.
    """

    def _cell_name(self) -> str | None:
        for activation in ("tanh", "relu"):
            if self._activations_are((activation,)):
                return f"rnn_{activation}"
        return None
