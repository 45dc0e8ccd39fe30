"""Recurrent layers as modules of PyTorch, run by rnnfast's engine."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import Parameter

from rnnfast._engine import checks, known
from rnnfast._engine.network import check_sizes, info_of
from rnnfast.reference import Cell
from rnnfast.torch.layer import Layer


class LSTM(Layer):
    """`torch.nn.LSTM`, with its arguments, parameters, inputs and outputs; the state is (h, c).

    `learn_state`, `zoneout` and the dropouts inside the steps are as in `Recurrent`; with
    `proj_size` there is no zoneout, recurrent_dropout or candidate_dropout.
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
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )  # fmt: skip
        self._learn(learn_state)
        self._add_noise(zoneout, input_dropout, recurrent_dropout, candidate_dropout)


class GRU(Layer):
    """`torch.nn.GRU`, with its arguments, parameters, inputs and outputs.

    `learn_state`, `zoneout` and the dropouts inside the steps are as in `Recurrent`.
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
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            0, device, dtype,
        )  # fmt: skip
        self._learn(learn_state)
        self._add_noise(zoneout, input_dropout, recurrent_dropout, candidate_dropout)


class RNN(Layer):
    """`torch.nn.RNN`, with its arguments, parameters, inputs and outputs.

    `learn_state`, `zoneout`, `input_dropout` and `recurrent_dropout` are as in `Recurrent`.
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
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
    ) -> None:
        checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, 0, device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity
        self._learn(learn_state)
        self._add_noise(zoneout, input_dropout, recurrent_dropout)


class Recurrent(Layer):
    """Layers of any cell of rnnfast, in the manner of `torch.nn.LSTM`.

    Args:
        cell: The cell: a name out of `rnnfast.cells.ZOO`, one that was registered
            (`rnnfast.register`), or a `rnnfast.Cell`. The attribute `cell` is its name.
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
        zoneout: Probability with which a unit of a state keeps its value of the step before in
            training (Krueger et al. 2016); a number for all states of the cell, or a tuple of one
            for each. In evaluation units get the expectation.
        input_dropout: Probability that a unit of a layer's input is dropped in training, by one
            mask for all steps of a sequence (Gal and Ghahramani 2016); of each layer.
        recurrent_dropout: The same of what the recurrent products multiply, as h; states go on as
            they are.
        candidate_dropout: The same of the candidate of each step, as an LSTM's g and a GRU's n, by
            a mask for each step (Semeniuta et al. 2016); for cells that have one.

    Cells with per-channel parameters have `weight_channel_l[k]`, (P, H), beside the parameters
    that `torch.nn`'s layers have.
    """

    def __init__(
        self,
        cell: str | Cell,
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
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
    ) -> None:
        info = info_of(cell)
        # Checked and made as a vanilla network, whose parameters are then replaced.
        super().__init__(
            "RNN_TANH", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, 0, device, dtype,
        )  # fmt: skip
        check_sizes(info, input_size, hidden_size, num_layers, bidirectional)
        self.mode = info.name
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
        self._add_noise(zoneout, input_dropout, recurrent_dropout, candidate_dropout)

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return str(self.mode)

    def __getstate__(self) -> dict[str, Any]:
        """With the equations of a cell that is not compiled, as another process may lack them."""
        return {**super().__getstate__(), "_graph": known.graph_of(self.cell)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        graph = state.pop("_graph", None)
        if graph is not None:
            state["mode"] = known.name_of_graph(graph)
        super().__setstate__(state)

    def extra_repr(self) -> str:
        """The arguments, as in the name of the module when it is printed."""
        return f"{self.cell!r}, {super().extra_repr()}"
