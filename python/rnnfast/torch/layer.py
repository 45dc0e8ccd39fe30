"""Base class of all layers of the package: checks, forms of input and the choice of the path.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions (2 if
bidirectional).
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnfast._engine import arguments, checks, noise
from rnnfast._engine.backends import CPU
from rnnfast._engine.network import info_of
from rnnfast.layers.learned import parameter_name
from rnnfast.torch import context as contexts
from rnnfast.torch import onnx_graph, ops, paths
from rnnfast.torch.forms import Packed, Padded
from rnnfast.torch.network import Network, Options, may_compile, states_of
from rnnfast.torch.prepacked import Prepacked
from rnnfast.torch.quantized import check_evaluates, precision_of

Sequence: TypeAlias = "Tensor | PackedSequence"
State: TypeAlias = "Tensor | tuple[Tensor, ...]"


class Layer(torch.nn.RNNBase):
    """Base class of `LSTM`, `GRU`, `RNN` and `Recurrent`.

    Parameters and attributes are those of `torch.nn.RNNBase`; `forward` passes whole sequences to
    the engine.
    """

    twin: ClassVar[type[torch.nn.RNNBase] | None] = None
    """The class of `torch.nn` that this one replaces. It takes over for devices and dtypes that the
    engine does not support, and raises its own errors for invalid arguments."""

    learn_state: bool = False
    """Whether calls without `hx` start from parameters, `initial_state_0` and so on."""

    context_size: int = 0
    """Size of a context, by which calls take `context`; 0 for none."""

    zoneout: float | tuple[float, ...] = 0.0
    """Probability that a unit of a state keeps its value in a step; see `Recurrent`."""

    input_dropout: float = 0.0
    """Probability of dropping inputs of layers."""

    recurrent_dropout: float = 0.0
    """Probability of dropping operands of the recurrent products."""

    candidate_dropout: float = 0.0
    """Probability of dropping the candidates of steps."""

    precision: str = "full"
    """Precision of the products in evaluation, "full" or "int8", which `quantize` sets."""

    _prepacked: Prepacked | None = None  # set by `prepack`

    @property
    def cell(self) -> str:
        """Name of the cell, one of `rnnfast.functional.cells()`."""
        return str(self.mode.lower())

    def forward(
        self,
        input: Sequence,  # noqa: A002
        hx: State | None = None,
        return_all_states: bool = False,
        reset: Sequence | None = None,
        context: Sequence | None = None,
    ) -> Any:
        """Run the layers over sequences.

        Args:
            input: (T, B, I), (B, T, I) if `batch_first`, (T, I) for one sequence without a batch
                axis, or a `PackedSequence`. Its dtype must be that of the parameters, except under
                autocast.
            hx: Initial state, (L*D, B, H), without B if the input has no batch axis; for a cell
                with several states a tuple of them, such as (h, c) for an LSTM. None, also for one
                state in the tuple, stands for zeros, or for the learned state with `learn_state`.
            return_all_states: Whether to also return the states of every layer after every step.
            reset: (T, B) booleans, or integers 0 and 1, in the form of the input without its last
                axis: (B, T), (T,) or a `PackedSequence` of the same lengths. Where it is True, an
                episode starts: the states of the sequence are set to zeros, or to the learned
                state, before the step, whatever `hx` is, and no gradient passes. See
                `rnnfast.functional.forward`.
            context: With `context_size` C, which requires it: (B, C), a context for each sequence,
                or one for each step in the form of the input, with C in place of I. (C,) or (T, C)
                if the input has no batch axis; a `PackedSequence` of the same lengths, or (B, C) in
                the order of its sequences before packing, if it is one.

        Returns:
            The outputs, in the form of the input with width D*H, and the final state, in the form
            of `hx`. With `return_all_states` there is a third item in the form of `hx`, in which
            each state is a tuple of L*D entries, one for each row of the final state; each entry
            has the form of the input with width H. Gradients through states beyond h, such as c of
            an LSTM, are computed step by step and therefore slowly; gradients through h are not.
            With `proj_size` P the outputs and h have P in place of H.

        Raises:
            ValueError, RuntimeError: A shape or dtype is wrong; `torch.nn` raises the same errors.
                There is a context without `context_size`, or none with it.
            TypeError: `reset` holds other values than booleans and integers.
        """
        if isinstance(input, PackedSequence):
            return _forward_packed(self, input, hx, return_all_states, reset, context)
        paths.check_input(input)
        form = Padded(input.dim() == 3, self.batch_first)
        return self._forward(form, input, hx, return_all_states, reset, context)

    def extra_repr(self) -> str:
        """Return the arguments as text, which is shown when the module is printed."""
        dropouts = "input_dropout", "recurrent_dropout", "candidate_dropout"
        names = "learn_state", "context_size", "zoneout", *dropouts
        given = [f", {n}={getattr(self, n)}" for n in names if getattr(self, n)]
        given += [f", precision={self.precision}"] if self.precision != "full" else []
        return f"{super().extra_repr()}{''.join(given)}"

    def _get_name(self) -> str:
        """Return the name of the layer in a printed model."""
        return f"rnnfast {super()._get_name()}"

    def _forward(
        self,
        form: Padded | Packed,
        input: Sequence,  # noqa: A002
        hx: State | None,
        return_all_states: bool,
        reset: Any,
        context: Any,
    ) -> Any:
        """Run the layers over `input`, which has the form `form`."""
        if self.precision != "full":
            check_evaluates(self, input, hx, context)
            if return_all_states:
                raise ValueError(
                    "return_all_states: expected False for a layer quantised to 8-bit integers, "
                    "got True"
                )
            if torch.is_grad_enabled():
                with torch.no_grad():
                    return self._forward(form, input, hx, return_all_states, reset, context)
        x = _tensor_of(input)
        if context is not None and not self.context_size:
            raise contexts.unexpected()
        state = self._given_states(hx, x, self._batch(x, form))
        if not (hx is None or isinstance(hx, Tensor)) or self.learn_state:
            hx = tuple(state) if len(state) > 1 else state[0]
        weights = self._weights()
        dtype = paths.result_dtype(x, weights[0])
        fits = dtype is not None and self._fits(x, state, form, dtype)
        in_onnx = paths.exporting_to_onnx()
        if not fits or (in_onnx and not self._is_operator(x.dtype, reset, return_all_states)):
            return self._elsewhere(input, hx, return_all_states, reset)
        gates: list[Tensor] = []
        if self.context_size:
            self._check_context(context, x, form)
            gates = self._context_gates(form.enter_context(context))
        state = [form.enter_state(s) for s in state]
        if reset is not None:
            state = self._with_reset_state(state)
            reset = form.enter_reset(self._checked_reset(reset, x, form))
        if dtype == torch.bfloat16:
            x = x.float()
            state, weights = [s.float() for s in state], [w.float() for w in weights]
        options = self._options(dtype)
        seed = paths.new_seed(options)
        network = Network(form.enter(x), weights, state, form.lengths, reset, seed, gates)
        if return_all_states:
            y, final, states = paths.layer_by_layer(network, options)
        else:
            y, final = paths.run(network, options, self._prepacked)
            states = []
        if dtype == torch.bfloat16:
            y, final = y.to(dtype), [s.to(dtype) for s in final]
            states = [[s.to(dtype) for s in of_state] for of_state in states]
        result = form.leave(y), self._form([form.leave_state(s) for s in final])
        if not return_all_states:
            return result
        return *result, self._form([tuple(map(form.leave, of_state)) for of_state in states])

    def _is_operator(self, dtype: torch.dtype, reset: Any, return_all_states: bool) -> bool:
        """Return whether an ONNX exporter that asks for operators can write a call as some."""
        more = return_all_states or reset is not None or self.context_size or self.proj_size
        if more or not torch.compiler.is_compiling():
            return False
        return onnx_graph.can_write(self.cell, self._options(dtype))

    def _weights(self) -> list[Tensor]:
        """Return the current weights: parameters, or their replacements (as by weight norm)."""
        parameters = self._parameters
        return [
            parameters[name] if name in parameters else getattr(self, name)  # getattr is slower
            for name in self._flat_weights_names
        ]

    def _learn(self, learn_state: bool) -> None:
        """Add parameters, initially zero, for the initial states if they are to be learned."""
        self.learn_state = checks.boolean("learn_state", learn_state)
        if not learn_state:
            return
        rows = self.num_layers * (2 if self.bidirectional else 1)
        for k, width in enumerate(self._widths()):
            zeros = self._weights()[0].new_zeros(rows, width)
            self.register_parameter(parameter_name(k), torch.nn.Parameter(zeros))

    def _add_context(self, context_size: int) -> None:
        """Add the weights of a context, unless its size is 0."""
        size = arguments.checked_context_size(context_size, info_of(self.cell), CPU)
        self.context_size = size
        for name in self._context_names():
            weight_ih = getattr(self, name.replace("weight_ch", "weight_ih"))
            weight = contexts.new_weight(weight_ih, size, self.hidden_size)
            self.register_parameter(name, weight)

    def _context_names(self) -> list[str]:
        """Return the names of the weights of the context of each layer and direction."""
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        layers = range(self.num_layers if self.context_size else 0)
        return [f"weight_ch_l{k}{suffix}" for k in layers for suffix in suffixes]

    def _check_context(self, context: Any, x: Tensor, form: Padded | Packed) -> None:
        """Check the context of a call of a layer that takes one."""
        if isinstance(form, Packed) and form.matches(context):
            given, leading = context.data, [x.shape[:-1]]
        else:
            batch = self._batch(x, form)
            leading = [batch] if form.lengths is not None else [batch, x.shape[:-1]]
            given = context
        shapes = [(*sizes, self.context_size) for sizes in leading]
        contexts.check(given, shapes, x, self.context_size)

    def _context_gates(self, context: Tensor) -> list[Tensor]:
        """Return what a context, (B, C) or (T, B, C), adds to the gates of the layers."""
        return contexts.gates(context, [getattr(self, name) for name in self._context_names()])

    def _widths(self) -> list[int]:
        """Return the width of each state."""
        beyond_h = states_of(self.cell) - 1
        return [self.proj_size or self.hidden_size] + [self.hidden_size] * beyond_h

    def _add_noise(
        self,
        zoneout: Any,
        input_dropout: Any,
        recurrent_dropout: Any,
        candidate_dropout: Any = 0.0,
    ) -> None:
        """Check and set the noise inside the steps."""
        self.zoneout = noise.zoneout(zoneout, states_of(self.cell))
        self.input_dropout = checks.number("input_dropout", input_dropout, 0, 1)
        self.recurrent_dropout = checks.number("recurrent_dropout", recurrent_dropout, 0, 1)
        self.candidate_dropout = noise.candidate_dropout(candidate_dropout, self.cell)
        noise.check_projection(
            self.proj_size, self.zoneout, self.recurrent_dropout, self.candidate_dropout
        )

    @property
    def has_more(self) -> bool:
        """Whether the layer uses a feature that `torch.nn` lacks."""
        masks = self.input_dropout or self.recurrent_dropout or self.candidate_dropout
        return bool(self.learn_state or self.context_size or masks or self._zoneout())

    def _zoneout(self) -> tuple[float, ...]:
        """Return the zoneout probability of each state, or () if all are zero."""
        given = self.zoneout
        of_states = given if isinstance(given, (tuple, list)) else (given,) * states_of(self.cell)
        return tuple(of_states) if any(of_states) else ()

    def reset_parameters(self) -> None:
        """Draw new weights, and reset learned initial states to zero."""
        super().reset_parameters()
        if self.learn_state:
            for k in range(states_of(self.cell)):
                torch.nn.init.zeros_(getattr(self, parameter_name(k)))

    def _given_states(self, hx: Any, x: Tensor, batch: tuple[int, ...]) -> list[Tensor]:
        """Return the initial states, learned ones or zeros for None; none for zeros alone."""
        widths = self._widths()

        def start(k: int) -> Tensor:
            if not self.learn_state:
                rows = self.num_layers * (2 if self.bidirectional else 1)
                return x.new_zeros(rows, *batch, widths[min(k, len(widths) - 1)])
            learned: Tensor = getattr(self, parameter_name(min(k, len(widths) - 1)))
            return learned[:, None].expand(-1, *batch, -1).contiguous() if batch else learned

        return paths.given_states(
            [None] * len(widths) if hx is None and self.learn_state else hx, self.cell, start
        )

    def _with_reset_state(self, state: list[Tensor]) -> list[Tensor]:
        """Return states (L*D, B, H) with a row for the learned state, which resets set."""
        if not self.learn_state:
            return state
        rows = [getattr(self, parameter_name(k))[:, None] for k in range(len(state))]
        return [torch.cat([s, row.to(s.dtype)], 1) for s, row in zip(state, rows, strict=True)]

    def _checked_reset(self, reset: Any, x: Tensor, form: Padded | Packed) -> Any:
        """Return `reset` after checking its shape; the engine checks what it holds."""
        shape = None if form.lengths is not None else x.shape[:-1]
        got = tuple(reset.shape) if isinstance(reset, Tensor) else type(reset).__name__
        if shape is not None and got != tuple(shape):
            raise ValueError(
                "reset: expected a tensor of the shape of the input without its last axis, "
                f"{tuple(shape)}, got {got}"
            )
        return reset

    def _form(self, states: list[Any]) -> Any:
        """Return a list of one value per state in the form of `hx`."""
        return states[0] if len(states) == 1 else tuple(states)

    def _options(self, dtype: torch.dtype) -> Options:
        return Options(
            self.cell,
            self.num_layers,
            self.bidirectional,
            self.bias,
            self.dropout if self.training and self.num_layers > 1 else 0.0,
            precision_of(self.precision, dtype),
            self._zoneout(),
            self.input_dropout if self.training else 0.0,
            self.recurrent_dropout if self.training else 0.0,
            self.candidate_dropout if self.training else 0.0,
            not self.training,
        )

    def _fits(
        self, x: Tensor, state: list[Tensor], form: Padded | Packed, dtype: torch.dtype
    ) -> bool:
        """Return whether shapes and dtypes are right; autocast accepts states of any real dtype."""
        axes = 3 if form.batched and form.lengths is None else 2
        if x.dim() != axes or x.shape[-1] != self.input_size:
            return False
        if not state:
            return True
        rows = self.num_layers * (2 if self.bidirectional else 1)
        shape, widths = (rows, *self._batch(x, form)), self._widths()
        casts = dtype == torch.bfloat16
        return all(
            s.shape == (*shape, width) and (s.dtype == x.dtype or (s.is_floating_point() and casts))
            for s, width in zip(state, widths, strict=True)
        )

    def _batch(self, x: Tensor, form: Padded | Packed) -> tuple[int, ...]:
        """Return (B,), or () for one sequence without a batch axis."""
        if form.lengths is not None:
            return tuple(form.lengths.shape)
        return tuple(x.shape[0 if self.batch_first else 1 :][:1]) if form.batched else ()

    def _elsewhere(
        self,
        input: Sequence,  # noqa: A002
        hx: State | None,
        return_all_states: bool,
        reset: Any,
    ) -> Any:
        """Fall back to `torch.nn`, or raise an error."""
        if self.twin is None or self.context_size:
            raise self._error(input, hx)
        x = _tensor_of(input)
        if reset is not None:
            raise ValueError(
                "reset: expected None for what PyTorch computes, layers of other types and "
                "devices, inputs and states of other shapes, and graphs of ONNX, got "
                f"{self} and input of {x.dtype} and shape {tuple(x.shape)} on {x.device}"
            )
        elsewhere = paths.exporting_to_onnx() or paths.result_dtype(x, self._weights()[0]) is None
        if elsewhere and self._options(x.dtype).has_noise:
            raise ValueError(
                "zoneout, input_dropout, recurrent_dropout, candidate_dropout: expected 0 where "
                "PyTorch computes the layer (other dtypes, other devices and ONNX graphs), got "
                f"{self} and input of {x.dtype} on {x.device}"
            )
        if not return_all_states:
            return self.twin.forward(self, input, hx)
        raise ValueError(
            "return_all_states: expected a layer on the CPU in float32, float64 or bfloat16, and "
            f"an input and a state of matching shapes and dtype, got {self}, input of {x.dtype} "
            f"and shape {tuple(x.shape)}"
        )

    def _error(self, input: Sequence, hx: State | None) -> Exception:  # noqa: A002
        """Return the error for arguments that do not fit."""
        if paths.exporting_to_onnx():
            return ops.not_in_onnx(self.cell, self.context_size)
        x = _tensor_of(input)
        weight = self._weights()[0]
        if x.dtype != weight.dtype or paths.result_dtype(x, weight) is None:
            return TypeError(
                f"input: expected {weight.dtype}, like the weights, which must be float32, float64 "
                f"or bfloat16, on the CPU, got {x.dtype} on {x.device}"
            )
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size:
            return ValueError(
                "input: expected 2 or 3 axes, the last of input_size = "
                f"{self.input_size}, got shape {tuple(x.shape)}"
            )
        states = states_of(self.cell)
        rows = self.num_layers * (2 if self.bidirectional else 1)
        got = [tuple(s.shape) for s in ([hx] if isinstance(hx, Tensor) else hx or [])]
        return ValueError(
            f"hx: expected {states} of shape (num_layers*num_directions, batch, hidden_size) = "
            f"({rows}, batch, {self.hidden_size}), without the batch if the input has none, in "
            f"{x.dtype}, got {got}"
        )


def _tensor_of(x: Sequence) -> Tensor:
    """Return the values of sequences, packed or not."""
    return x.data if isinstance(x, PackedSequence) else x


def _forward_packed(layer: Layer, x: PackedSequence, *others: Any) -> Any:
    if not may_compile():
        return layer._forward(Packed(x), x, *others)
    from rnnfast.torch.uncompiled import forward_packed

    return forward_packed(layer, x, *others)
