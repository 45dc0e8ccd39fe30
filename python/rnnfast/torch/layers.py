"""Recurrent layers as PyTorch modules that run on the engine of rnnfast."""

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

    `learn_state`, `context_size`, `zoneout` and the dropouts inside the steps are as in
    `Recurrent`; `proj_size` excludes zoneout, recurrent_dropout and candidate_dropout.
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
        context_size: int = 0,
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
        self._add_context(context_size)
        self._add_noise(zoneout, input_dropout, recurrent_dropout, candidate_dropout)


class GRU(Layer):
    """`torch.nn.GRU`, with its arguments, parameters, inputs and outputs.

    `learn_state`, `context_size`, `zoneout` and the dropouts inside the steps are as in
    `Recurrent`.
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
        context_size: int = 0,
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
        self._add_context(context_size)
        self._add_noise(zoneout, input_dropout, recurrent_dropout, candidate_dropout)


class RNN(Layer):
    """`torch.nn.RNN`, with its arguments, parameters, inputs and outputs.

    `learn_state`, `context_size`, `zoneout`, `input_dropout` and `recurrent_dropout` are as in
    `Recurrent`.
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
        context_size: int = 0,
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
        self._add_context(context_size)
        self._add_noise(zoneout, input_dropout, recurrent_dropout)


class Recurrent(Layer):
    """Layers of any cell of rnnfast, with the interface of `torch.nn.LSTM`.

    Args:
        cell: The name of a cell in `rnnfast.cells.ZOO` or of a registered cell
            (`rnnfast.register`), or a `rnnfast.Cell`. The attribute `cell` is the name.
        input_size: I.
        hidden_size: H.
        num_layers: L.
        bias: Whether the products have biases.
        batch_first: Whether inputs and outputs are (B, T, ...) instead of (T, B, ...).
        dropout: Probability of dropping an output of any layer but the last in training.
        bidirectional: Whether each layer also runs backward in time; the outputs of both directions
            are concatenated.
        device: The device of the parameters; the engine only runs on the CPU.
        dtype: The dtype of the parameters.
        learn_state: Whether the initial state is learned. Calls without a state then start from the
            parameters `initial_state_0`, `initial_state_1`, ..., one for each state of the cell,
            which have the shape (L*D, H) and are initially zero.
        context_size: Size C of a context, numbers that the gates read in every step beside the
            input; calls then take `context`. 0 for none. For each layer and direction there is a
            parameter `weight_ch_l[k]`, (G*H, C), with the row blocks of `weight_ih_l[k]`, whose
            product with the context is added to the input part of the gates.
        zoneout: Probability that a unit of a state keeps its previous value in training (Krueger et
            al. 2016): one number for all states of the cell, or a tuple with one number for each.
            In evaluation units take the expectation.
        input_dropout: Probability of dropping a unit of the input of each layer in training, with
            one mask for all steps of a sequence (Gal and Ghahramani 2016).
        recurrent_dropout: The same for the operands of the recurrent products, such as h; the
            states themselves are not dropped.
        candidate_dropout: The same for the candidate of each step, such as g of an LSTM and n of a
            GRU, with a mask for each step (Semeniuta et al. 2016); only for cells that mark one.

    Cells with per-channel parameters have `weight_channel_l[k]`, (P, H), in addition to the
    parameters of `torch.nn` layers.
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
        context_size: int = 0,
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
    ) -> None:
        info = info_of(cell)
        # PyTorch checks the arguments and builds a vanilla network; its parameters are replaced.
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
        self._add_context(context_size)
        self._add_noise(zoneout, input_dropout, recurrent_dropout, candidate_dropout)

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return str(self.mode)

    def __getstate__(self) -> dict[str, Any]:
        """Include the equations of a cell that is not compiled, which another process may lack."""
        return {**super().__getstate__(), "_graph": known.graph_of(self.cell)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        graph = state.pop("_graph", None)
        if graph is not None:
            state["mode"] = known.name_of_graph(graph)
        super().__setstate__(state)

    def extra_repr(self) -> str:
        """Return the arguments as text, which is shown when the module is printed."""
        return f"{self.cell!r}, {super().extra_repr()}"
