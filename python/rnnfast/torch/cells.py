"""Single steps of recurrent layers as PyTorch modules that run on the engine of rnnfast."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.nn import Parameter

from rnnfast._engine import arguments, checks, known
from rnnfast._engine.backends import CPU
from rnnfast._engine.network import check_sizes, info_of
from rnnfast.reference import Cell
from rnnfast.torch import context as contexts
from rnnfast.torch import ops, steps
from rnnfast.torch.network import Options, states_of
from rnnfast.torch.paths import check_input, exporting_to_onnx, given_states, result_dtype
from rnnfast.torch.quantized import check_evaluates, precision_of

State: TypeAlias = "Tensor | tuple[Tensor, ...]"
_NAMES = "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_channel"


class SingleStep(torch.nn.RNNCellBase):
    """Base class of `LSTMCell`, `GRUCell`, `RNNCell` and `RecurrentCell`.

    Parameters and attributes are those of `torch.nn.RNNCellBase`; `forward` takes one step on the
    engine. Steps share a packed copy of the weights until these change. Changes are those that
    PyTorch counts, such as steps of an optimiser; changes through `parameter.data` or a NumPy array
    are noticed by samples of the values, so they may be missed if they concern few values.
    """

    twin: ClassVar[type[torch.nn.RNNCellBase] | None] = None
    """The class of `torch.nn` that this one replaces. It takes over for devices and dtypes that the
    engine does not support, and raises its own errors for invalid arguments."""

    context_size: int = 0
    """Size of a context, by which steps take `context`; 0 for none."""

    precision: str = "full"
    """Precision of the products in evaluation, "full" or "int8", which `quantize` sets."""

    _kept: steps.KeptWeights

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks, device, dtype)
        self._kept = steps.KeptWeights()

    @property
    def cell(self) -> str:
        """Name of the cell, one of `rnnfast.functional.cells()`."""
        raise NotImplementedError

    @property
    def has_more(self) -> bool:
        """Whether the module uses a feature that `torch.nn` lacks."""
        return self.context_size > 0

    def forward(
        self,
        input: Tensor,  # noqa: A002
        hx: State | None = None,
        context: Tensor | None = None,
    ) -> Any:
        """Take a step.

        Args:
            input: (B, I), or (I,) for one sequence. Its dtype must be that of the parameters,
                except under autocast.
            hx: The state before the step, (B, H), or (H,) for one sequence; for a cell with several
                states a tuple of them, such as (h, c) for an LSTM. None, also for one state in the
                tuple, stands for zeros.
            context: (B, C), or (C,) for one sequence, with `context_size` C, which requires it:
                weight_ch context is added to the input part of the gates.

        Returns:
            The state after the step, in the form of `hx`.

        Raises:
            ValueError, RuntimeError: A shape or dtype is wrong; `torch.nn` raises the same errors.
        """
        if context is not None and not self.context_size:
            raise contexts.unexpected()
        if self.precision != "full":
            check_evaluates(self, input, hx, context)
            if torch.is_grad_enabled():
                with torch.no_grad():
                    return self.forward(input, hx, context)
        check_input(input)
        state = given_states(
            hx, self.cell, lambda _: input.new_zeros(*input.shape[:-1], self.hidden_size)
        )
        hx = tuple(state) if isinstance(hx, (tuple, list)) else hx
        weights = self._weights()
        dtype = result_dtype(input, weights[0])
        if dtype is None or not self._fits(input, state, dtype) or exporting_to_onnx():
            return self._elsewhere(input, hx, weights[0])
        batched = input.dim() == 2
        x, casts = input, dtype == torch.bfloat16
        if not batched:
            x, state = x[None], [s[None] for s in state]
        if casts:
            x = x.float()
            state, weights = [s.float() for s in state], [w.float() for w in weights]
        options = Options(
            self.cell, 1, False, bool(self.bias), 0.0, precision_of(self.precision, dtype)
        )
        gates = self._context_gates(context, input) if self.context_size else None
        new = steps.run(x, state, weights, options, self._kept, gates)
        if casts:
            new = [s.to(dtype) for s in new]
        if not batched:
            new = [s[0] for s in new]
        return new[0] if len(new) == 1 else tuple(new)

    def _get_name(self) -> str:
        """Return the name of the module in a printed model."""
        return f"rnnfast {super()._get_name()}"

    def extra_repr(self) -> str:
        """Return the arguments as text, which is shown when the module is printed."""
        size = f", context_size={self.context_size}" if self.context_size else ""
        precision = f", precision={self.precision}" if self.precision != "full" else ""
        return f"{super().extra_repr()}{size}{precision}"

    def _add_context(self, context_size: int) -> None:
        """Add the weight of a context, unless its size is 0."""
        size = arguments.checked_context_size(context_size, info_of(self.cell), CPU)
        self.context_size = size
        if size:
            self.weight_ch = contexts.new_weight(self.weight_ih, size, self.hidden_size)

    def _context_gates(self, context: Any, x: Tensor) -> Tensor:
        """Return what a context adds to the gates, (B, G*H), after checking it."""
        shape = *x.shape[:-1], self.context_size
        contexts.check(context, [shape], x, self.context_size)
        return contexts.gates(context if x.dim() == 2 else context[None], [self.weight_ch])[0]

    def _weights(self) -> list[Tensor]:
        """Return the current weights: parameters, or their replacements (as by weight norm)."""
        parameters = self._parameters
        weights = [
            parameters[name] if name in parameters else getattr(self, name, None)
            for name in _NAMES  # getattr is slower
        ]
        return [w for w in weights if w is not None]

    def _fits(self, x: Tensor, state: list[Tensor], dtype: torch.dtype) -> bool:
        """Return whether shapes and dtypes are right; autocast accepts states of any real dtype."""
        if x.dim() not in (1, 2) or x.shape[-1] != self.input_size:
            return False
        shape, casts = (*x.shape[:-1], self.hidden_size), dtype == torch.bfloat16
        return all(
            s.shape == shape and (s.dtype == x.dtype or (s.is_floating_point() and casts))
            for s in state
        )

    def _elsewhere(self, input: Tensor, hx: State | None, weight: Tensor) -> Any:  # noqa: A002
        """Fall back to `torch.nn`, or raise an error."""
        if self.twin is not None and not self.context_size:
            return self.twin.forward(self, input, hx)
        if exporting_to_onnx():
            raise ops.not_in_onnx(self.cell, self.context_size)
        if input.dtype != weight.dtype or result_dtype(input, weight) is None:
            raise TypeError(
                f"input: expected {weight.dtype}, as the weights are, on the CPU and one of "
                f"float32, float64 and bfloat16, got {input.dtype} on {input.device}"
            )
        if input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                "input: expected 1 or 2 axes, the last of input_size = "
                f"{self.input_size}, got shape {tuple(input.shape)}"
            )
        got = [tuple(s.shape) for s in ([hx] if isinstance(hx, Tensor) else hx or [])]
        raise ValueError(
            f"hx: expected {states_of(self.cell)} of shape (batch, hidden_size) = "
            f"{(*input.shape[:-1], self.hidden_size)}, without batch if the input has none, and of "
            f"{input.dtype}, got {got}"
        )


class LSTMCell(SingleStep):
    """`torch.nn.LSTMCell`, with its arguments, parameters, inputs and outputs.

    `context_size` is as in `RecurrentCell`.
    """

    twin = torch.nn.LSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        context_size: int = 0,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)
        self._add_context(context_size)

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return "lstm"


class GRUCell(SingleStep):
    """`torch.nn.GRUCell`, with its arguments, parameters, inputs and outputs.

    `context_size` is as in `RecurrentCell`.
    """

    twin = torch.nn.GRUCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        context_size: int = 0,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)
        self._add_context(context_size)

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return "gru"


class RNNCell(SingleStep):
    """`torch.nn.RNNCell`, with its arguments, parameters, inputs and outputs.

    `context_size` is as in `RecurrentCell`.
    """

    twin = torch.nn.RNNCell
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        *,
        context_size: int = 0,
    ) -> None:
        checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity
        self._add_context(context_size)

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return f"rnn_{self.nonlinearity}"


class RecurrentCell(SingleStep):
    """Single steps of any cell of rnnfast, with the interface of `torch.nn.LSTMCell`.

    Args:
        cell: The name of a cell in `rnnfast.cells.ZOO` or of a registered cell
            (`rnnfast.register`), or a `rnnfast.Cell`. The attribute `cell` is the name.
        input_size: I.
        hidden_size: H.
        bias: Whether the products have biases.
        device: The device of the parameters; the engine only runs on the CPU.
        dtype: The dtype of the parameters.
        context_size: Size C of a context, which steps then take as `context`, (B, C); 0 for none.
            `weight_ch` (G*H, C), with the row blocks of weight_ih, times the context is added to
            the input part of the gates.

    Cells with per-channel parameters have `weight_channel`, (P, H), in addition to the parameters
    of `torch.nn`'s cells.
    """

    def __init__(
        self,
        cell: str | Cell,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        context_size: int = 0,
    ) -> None:
        info = info_of(cell)
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        check_sizes(info, input_size, hidden_size, 1, False)
        self._cell = info.name
        for name, shape in info.shapes(input_size, hidden_size).items():
            if bias or not name.startswith("bias"):
                setattr(self, name, Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()
        self._add_context(context_size)

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return self._cell

    def __getstate__(self) -> dict[str, Any]:
        """Include the equations of a cell that is not compiled, which another process may lack."""
        return {**self.__dict__, "_graph": known.graph_of(self.cell)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        graph = state.pop("_graph", None)
        if graph is not None:
            state["_cell"] = known.name_of_graph(graph)
        super().__setstate__(state)

    def extra_repr(self) -> str:
        """Return the arguments as text, which is shown when the module is printed."""
        return f"{self.cell!r}, {super().extra_repr()}"
