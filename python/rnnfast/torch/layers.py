"""Recurrent layers as modules of PyTorch, run by rnnfast's engine."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Parameter

from rnnfast import _checks, functional
from rnnfast.torch.layer import Layer


class LSTM(Layer):
    """`torch.nn.LSTM`, with its arguments, parameters, inputs and outputs; the state is (h, c).

    With `learn_state=True` calls without a state start from parameters, as in `Recurrent`.
    """

    twin = torch.nn.LSTM
    check_forward_args = torch.nn.LSTM.check_forward_args
    get_expected_cell_size = torch.nn.LSTM.get_expected_cell_size
    permute_hidden = torch.nn.LSTM.permute_hidden

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        learn_state: bool = False,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )  # fmt: skip
        self._learn(learn_state)


class GRU(Layer):
    """`torch.nn.GRU`, with its arguments, parameters, inputs and outputs.

    With `learn_state=True` calls without a state start from parameters, as in `Recurrent`.
    """

    twin = torch.nn.GRU

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        learn_state: bool = False,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            0, device, dtype,
        )  # fmt: skip
        self._learn(learn_state)


class RNN(Layer):
    """`torch.nn.RNN`, with its arguments, parameters, inputs and outputs.

    With `learn_state=True` calls without a state start from parameters, as in `Recurrent`.
    """

    twin = torch.nn.RNN

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        learn_state: bool = False,
    ) -> None:
        _checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, 0, device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity
        self._learn(learn_state)


class Recurrent(Layer):
    """Layers of any cell of rnnfast, in the manner of `torch.nn.LSTM`.

    Args:
        cell: Name of the cell, one of `rnnfast.functional.cells()`.
        input_size: I.
        hidden_size: H.
        num_layers: L.
        bias: Whether the products have biases.
        batch_first: Whether inputs and outputs are (B, T, ...) instead of (T, B, ...).
        dropout: Probability that an output of a layer but the last is dropped in training.
        bidirectional: Whether each layer also runs against time; outputs then have both.
        device: Of the parameters; the engine computes on the CPU alone.
        dtype: Of the parameters.
        learn_state: Whether the initial state is learned: calls without one start from the
            parameters `initial_state_0`, `initial_state_1`, ..., one for each state of the cell, of
            shape (L*D, H) and zero at first.

    Cells with per-channel parameters have `weight_channel_l[k]`, (P, H), beside the parameters
    that `torch.nn`'s layers have.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        learn_state: bool = False,
    ) -> None:
        info = functional.cells()[_checks.choice("cell", cell, functional.cells())]
        # Checked and made as a vanilla network, whose parameters are then replaced.
        super().__init__(
            "RNN_TANH", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, 0, device, dtype,
        )  # fmt: skip
        self.mode = cell
        for names in self._all_weights:
            shapes = info.shapes(getattr(self, names[0]).shape[1], hidden_size)
            if "weight_channel" in shapes:
                names.append(names[0].replace("weight_ih", "weight_channel"))
            for name in names:
                shape = shapes[name[: name.index("_l")]]  # without the layer and direction
                setattr(self, name, Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self._init_flat_weights()
        self.reset_parameters()
        self._learn(learn_state)

    def extra_repr(self) -> str:
        """The arguments, as in the name of the module when it is printed."""
        return f"{self.cell!r}, {super().extra_repr()}"
