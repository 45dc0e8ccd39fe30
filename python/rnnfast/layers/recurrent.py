"""Recurrent layers, which add parameters and their gradients to `rnnfast.functional`.

Sizes: T seq_len, B batch, I input_size, H hidden_size, L num_layers, D num_directions (2 if
bidirectional), G row blocks of a cell's weights. Parameters have PyTorch's names, shapes, gate
orders and initial distributions.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from rnnfast import functional
from rnnfast._engine import arguments, backends, checks, known, network, noise, seeds
from rnnfast._engine.checks import RealArray
from rnnfast.autograd.recording import recorded_recurrent_call
from rnnfast.autograd.tensor import Tensor
from rnnfast.layers.axes import resets_time_first, time_first
from rnnfast.layers.calls import Call
from rnnfast.layers.parameter import Parameter
from rnnfast.layers.recurrent_weights import RecurrentWeights
from rnnfast.layers.states import (
    Lengths,
    LSTMState,
    Resets,
    StateLike,
    StateOf,
    TensorsLike,
    as_tuple,
)
from rnnfast.layers.stream import Stream
from rnnfast.layers.stream_layers import StreamLayer, StreamRecurrent
from rnnfast.reference import Cell


class RecurrentCall(Call, Generic[StateOf]):
    """One call of a recurrent layer, made by `Recurrent.call`.

    Attributes:
        y: The output that the layer returned.
        state: The final state that the layer returned.
    """

    __slots__ = ("state", "y")
    _layer: Recurrent[StateOf]

    def __init__(
        self,
        layer: Recurrent[StateOf],
        y: RealArray,
        state: StateOf,
        kept: Any,
    ) -> None:
        super().__init__(layer, kept)
        self.y, self.state = y, state

    def backward(
        self,
        dy: ArrayLike | None,
        dstate: StateLike | None = None,
        *,
        need_dx: bool = True,
        dcontext: RealArray | None = None,
    ) -> tuple[RealArray | None, StateOf]:
        """Take gradients through this call, which works once; see `Recurrent.backward`."""
        layer = self._layer
        return layer._take(self._kept, layer._differentiate, dy, dstate, need_dx, dcontext)


class Recurrent(RecurrentWeights, Generic[StateOf]):
    """A stack of recurrent layers of one kind of cell, applied to sequences.

    Calling the layer returns `y, state`. The state is `h` for a cell with one state, `(h, c)` for
    an LSTM, and in general a tuple of `cells()[cell].states` arrays.

    In training mode, `backward` takes the gradient of the last call, and only one call may be
    pending at a time; use `call` to make several calls before taking their gradients. Until
    `backward`, x, the initial state and the parameters must not change, because it reads them
    again. y is read-only for the same reason: write `y = y + x`, not `y += x`. On the CPU,
    `backward` compares a sample of the values and raises `RuntimeError` if one has changed; with
    RNNFAST_CHECK_INPUTS=1 in the environment, it compares all of them. Only one thread at a time
    may train a layer, because the calls of several threads would get mixed up.

    On the CPU, the first call in evaluation mode copies the weights into the form that the kernels
    read, for all calls until `train()` or `load_state_dict()`. The values of the parameters are
    read-only meanwhile, so that the copy cannot become outdated. Writing to a `Parameter`, or
    updating it by an optimiser, raises an error that explains this; writing to the array itself
    raises NumPy's "assignment destination is read-only". Values written through an older view of
    the array take effect only after `train()`.

    Parameters are attributes such as `layer.weight_ih_l0`; see `Parameter`. Arguments that
    PyTorch's layers have come in PyTorch's order.

    Args:
        cell: Name of a cell in `rnnfast.cells.ZOO` or of a registered one, or a `rnnfast.Cell`.
        input_size: Size I of an input, the last axis of x.
        hidden_size: Size H of the state.
        num_layers: Number L of stacked layers.
        bias: Whether the products have biases.
        batch_first: Whether x, y, dx and dy are (B, T, ...) instead of (T, B, ...).
        dropout: Probability that an output of any layer except the last is dropped in training.
            With one layer it has no effect, and a `UserWarning` says so.
        bidirectional: Whether each layer also runs backwards in time; y then holds the outputs of
            both directions.
        recompute: Whether `backward` computes the gates again instead of keeping them, which takes
            less memory and more time and returns the same bits. An integer is the number of steps
            between two states that are kept; True chooses about sqrt(T); see
            `rnnfast.functional.forward`.
        learn_state: Whether the initial state is learned. The layer then has a parameter for each
            state of the cell, in their order: `initial_state_0` (h), `initial_state_1` (an LSTM's
            c), ..., of shape (L * D, H) and initially zero. Calls and streams start every sequence
            from these parameters if no state is given, or if a state in the tuple is None.
            `backward` then adds the initial state's gradient, summed over the batch and the resets
            of states, to the parameters' gradients.
        proj_size: Size P of a projected h, for cells whose `projects` is True (the LSTM, with or
            without peepholes); 0 for no projection. A layer then has a matrix `weight_hr_l0`,
            (P, H), by which h is multiplied before it enters the next step and leaves the layer. y
            and h then have P values instead of H, while c still has H. Available only on the CPU,
            and not with zoneout, recurrent_dropout or candidate_dropout. Source: Sak, Senior and
            Beaufays, "Long short-term memory recurrent neural network architectures for large scale
            acoustic modeling", 2014.
        context_size: Size C of a context, numbers that the gates read in every step beside the
            input, such as the features of an image that a network describes; 0 for none. A layer
            then has a matrix `weight_ch_l0`, (G * H, C), with the row blocks of `weight_ih_l0`, for
            each layer and direction, and calls take `context`: weight_ch context is added to the
            input part of the gates. Available only on the CPU. See docs/recurrent.md.
        zoneout: Probability that a unit of a state keeps its value from the step before in training
            (Krueger et al. 2016); one number for all states of the cell, or a tuple with one for
            each. In evaluation and in streams, units take the expected value,
            zoneout * old + (1 - zoneout) * new. CPU only, as are the next three; see
            `rnnfast.functional.forward` for details.
        input_dropout: Probability that a unit of each layer's input is dropped in training, with
            one mask for all steps of a sequence (Gal and Ghahramani 2016).
        recurrent_dropout: Probability that a unit that the recurrent products read, such as h, is
            dropped in training, also with one mask for all steps. The states are passed on
            unmasked.
        candidate_dropout: Probability that a unit of the candidate, such as an LSTM's g or a GRU's
            n, is dropped in training, with a new mask for each step (Semeniuta et al. 2016). See
            docs/cells.md for the cells that have a candidate.
        dtype: float32 or float64. Arrays of other real types are converted to it, so float64
            arrays lose precision in a float32 layer.
        precision: "full"; or, for float32 layers, "bfloat16", whose products round their factors to
            bfloat16 and sum in float32, or "int8" for inference on the CPU, whose products multiply
            8-bit integers: see docs/int8.md. Parameters, states and results stay float32. The
            attribute may be set, to train in one precision and evaluate in another.
        seed: Seed of the initial values and of dropout; None for a fresh seed.
        device: Device of the layer, "cpu" or "cuda"; None for "cpu".

    Raises:
        ValueError: A size is less than 1, a probability is outside [0, 1], options cannot be
            combined, or the cell, precision or device is unknown.
        TypeError: An argument is of the wrong type.
        rnnfast.cuda.DeviceError: The device cannot be used here; the message says why.
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
        *,
        recompute: bool | int = False,
        learn_state: bool = False,
        proj_size: int = 0,
        context_size: int = 0,
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        precision: str = "full",
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(device)
        info = network.info_of(cell)
        self.cell = info.name
        self.input_size = checks.size("input_size", input_size)
        self.hidden_size = checks.size("hidden_size", hidden_size)
        self.num_layers = checks.integer("num_layers", num_layers, 1, network.MOST)
        self.bias = checks.boolean("bias", bias)
        self.batch_first = checks.boolean("batch_first", batch_first)
        self.dropout = checks.number("dropout", dropout, 0, 1)
        self.bidirectional = checks.boolean("bidirectional", bidirectional)
        self.recompute = checks.recompute("recompute", recompute, self._backend)
        self.learn_state = checks.boolean("learn_state", learn_state)
        self._states = info.states
        self.zoneout = noise.zoneout(zoneout, self._states)
        self.input_dropout = checks.number("input_dropout", input_dropout, 0, 1)
        self.recurrent_dropout = checks.number("recurrent_dropout", recurrent_dropout, 0, 1)
        self.candidate_dropout = noise.candidate_dropout(candidate_dropout, self.cell)
        self._noise_of_call()
        self.proj_size = arguments.checked_proj_size(proj_size, info, self._backend)
        self.context_size = arguments.checked_context_size(context_size, info, self._backend)
        noise.check_projection(
            self.proj_size, self.zoneout, self.recurrent_dropout, self.candidate_dropout
        )
        self.dtype = checks.real_dtype("dtype", dtype, self._backend)
        self.precision = checks.precision("precision", precision, self.dtype, self._backend)
        self._generator = seeds.generator(seed)
        self._backend.check_cell(info.name)
        network.check_sizes(
            info, self.input_size, self.hidden_size, self.num_layers, self.bidirectional
        )
        self._options = network.KeptOptions()
        self._add_parameters(self._states, self.learn_state)
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout: has no effect with num_layers = 1, as it acts between layers, got "
                f"{dropout}",
                stacklevel=2 if type(self) is Recurrent else 3,
            )

    @overload
    def __call__(
        self: Recurrent[RealArray],
        x: Tensor,
        state: TensorsLike = None,
        lengths: Lengths = None,
        reset: Resets = None,
        context: Any = None,
    ) -> tuple[Tensor, Tensor]: ...
    @overload
    def __call__(
        self: Recurrent[LSTMState],
        x: Tensor,
        state: TensorsLike = None,
        lengths: Lengths = None,
        reset: Resets = None,
        context: Any = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]: ...
    @overload
    def __call__(
        self,
        x: Tensor,
        state: TensorsLike = None,
        lengths: Lengths = None,
        reset: Resets = None,
        context: Any = None,
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]: ...
    @overload
    def __call__(
        self,
        x: ArrayLike,
        state: StateLike | None = None,
        lengths: Lengths = None,
        reset: Resets = None,
        context: Any = None,
    ) -> tuple[RealArray, StateOf]: ...
    def __call__(
        self,
        x: ArrayLike | Tensor,
        state: Any = None,
        lengths: Lengths = None,
        reset: Resets = None,
        context: Any = None,
    ) -> tuple[Any, Any]:
        """Run the layers over a batch of sequences.

        Args:
            x: (T, B, I) real numbers, or (T, B) integers in [0, I), which stand for one-hot rows;
                the batch axis comes first if `batch_first`. Pass a `Tensor` to record the call; the
                results are then tensors, and the state may consist of tensors.
            state: Initial state, (L * D, B, H) each; None for zeros, or for the learned state.
            lengths: (B,) integers in [0, T], the lengths of the sequences; None for T.
            reset: (T, B) booleans, or integers 0 and 1; None for no resets. Where it is True, an
                episode starts: the states of the sequence are set to zeros, or to the learned
                state, before the step, whatever `state` is, and no gradient passes. (B, T) if
                `batch_first`; see `rnnfast.functional.forward`.
            context: With `context_size` C, which requires it: (B, C) real numbers, a context for
                each sequence, or (T, B, C), one for each step; (B, T, C) if `batch_first`. If x is
                a `Tensor`, it may be one, too.

        Returns:
            y (T, B, D * H), which is zero after a sequence's end, and the state at each sequence's
            end. With `proj_size`, y and h have P values instead of H, and so has the initial h.

        Raises:
            ValueError: A shape, a length or a value of `reset` is wrong, or there is a context
                without `context_size` or none with it.
            IndexError: An integer in x is out of range.
            TypeError: An array does not hold real numbers, or the state has the wrong structure.
        """
        if type(x) is Tensor:
            return recorded_recurrent_call(self, x, state, lengths, reset, context)
        y, final, kept = self._run(x, state, lengths, reset, context)
        self._calls.add(kept)
        return y, final

    def call(
        self,
        x: ArrayLike,
        state: StateLike | None = None,
        lengths: Lengths = None,
        reset: Resets = None,
        context: Any = None,
    ) -> RecurrentCall[StateOf]:
        """Run the layers over a batch of sequences, and return the call.

        `call.y` and `call.state` are the results of the layer. `call.backward` takes the gradient,
        so that any number of calls can be differentiated in any order. The memory that a call keeps
        is freed when its gradient is taken or the call is deleted. The arguments and errors are
        those of calling the layer.
        """
        return RecurrentCall(self, *self._run(x, state, lengths, reset, context))

    def _run(
        self,
        x: ArrayLike,
        state: StateLike | None,
        lengths: Lengths,
        reset: Resets,
        context: Any,
    ) -> tuple[RealArray, StateOf, Any]:
        """Return y, the final state, and the values for `_differentiate`, None in evaluation."""
        training, backend, learned = self.training, self._backend, self._learned
        context, gates = self._entered(context, x)
        seed, steps, drawn = 0, 0, self._noise_of_call()
        if training and (drawn or (self.dropout and self.num_layers > 1)):
            assert self._generator is not None
            seed = int(self._generator.integers(2**63))
        if self.batch_first or learned is not None:  # what follows copies x, or makes its states
            x = arguments.given_x(x, self.input_size)
        if self.batch_first:
            reset = None if reset is None else resets_time_first(reset, x)
            x = time_first("x", x)
        if self.recompute:
            steps = arguments.recomputed_steps(self.recompute, x, backend)
        states = as_tuple("state", state, self._states, self.cell)
        if learned is not None:
            batch = np.shape(x)[1] if np.ndim(x) > 1 else 0  # `forward_on` refuses other shapes
            states, from_parameters = learned.start(states, batch, reset is not None)
        y, final, kept = functional.forward_on(
            backend,
            self._options.get(
                self.cell,
                self.num_layers,
                self.bidirectional,
                self.dropout,
                training,
                self.precision,
                steps,
                0,
                False,
                drawn,
            ),
            x,
            self._weights if training or not self._freezes else self._frozen().packed,
            states,
            lengths,
            reset,
            seed,
            gates,
        )
        if self.batch_first:
            y = y.swapaxes(0, 1)
        if learned is not None and kept is not None:
            kept = kept, from_parameters
        if self._context is not None and kept is not None:
            kept = kept, self._context.kept(context)
        return y, self._from_tuple(final), kept

    def _entered(self, context: Any, x: ArrayLike) -> tuple[Any, list[RealArray] | None]:
        """Return the context of a call, time first, and what it adds to the gates."""
        if self._context is not None:
            values = self._context.checked(context, x, self.batch_first)
            return values, self._context.gates(values)
        if context is not None:
            raise ValueError("context: expected None, as the layer has context_size = 0")
        return None, None

    def backward(
        self,
        dy: ArrayLike | None,
        dstate: StateLike | None = None,
        *,
        need_dx: bool = True,
        dcontext: RealArray | None = None,
    ) -> tuple[RealArray | None, StateOf]:
        """Take gradients through the last call, adding those of the parameters to their `grad`.

        If an argument is refused, the call stays pending, so that you can try again.

        Args:
            dy: Gradient with respect to y, in y's shape; None for zeros.
            dstate: Gradient with respect to the final state, in its structure; None for zeros.
            need_dx: Whether to compute dx.
            dcontext: An array in the context's shape and the layer's dtype to which the gradient
                with respect to the context is added; None if it is not needed.

        Returns:
            dx, or None for it if x holds integers or `need_dx` is False; and the gradient with
            respect to the initial state.

        Raises:
            RuntimeError: No call in training mode is pending, or several are; or another thread is
                in `backward`; or x, the initial state or a parameter has changed since the call.
            ValueError: A shape is wrong.
            TypeError: An array does not hold real numbers, or dstate has the wrong structure.
        """
        return self._take(self._calls.kept, self._differentiate, dy, dstate, need_dx, dcontext)

    def _differentiate(
        self,
        kept: Any,
        dy: ArrayLike | None,
        dstate: StateLike | None,
        need_dx: bool,
        dcontext: RealArray | None,
    ) -> tuple[RealArray | None, StateOf]:
        learned, from_parameters = self._learned, ()
        context, dgates = self._context, None
        if context is not None:
            kept, of_context = kept
            dcontext = context.checked_gradient(dcontext, of_context, self.batch_first)
            context.check_unchanged(of_context)
            dgates = context.new_gradients(of_context)
        elif dcontext is not None:
            raise ValueError("dcontext: expected None, as the layer has context_size = 0")
        if learned is not None:
            kept, from_parameters = kept
        if self.batch_first and dy is not None:
            dy = time_first("dy", dy)
        dstate = as_tuple("dstate", dstate, self._states, self.cell)
        dx, dinitial, _ = functional.backward_on(
            self._backend, kept, dy, dstate, need_dx, self._gradients_to_add(), dgates
        )
        if context is not None and dgates is not None:
            context.add_gradients(of_context, dgates, dcontext)
        if learned is not None:
            learned.add(from_parameters, dinitial)
            batch = kept.y_shape[1]  # a row for resets is not the caller's
            dinitial = tuple(d if d.shape[1] == batch else d[:, :batch] for d in dinitial)
        if self.batch_first and dx is not None:
            dx = dx.swapaxes(0, 1)
        return dx, self._from_tuple(dinitial)

    def stream(self, batch: int = 1, state: StateLike | None = None) -> Stream[StateOf]:
        """Return a stream, which processes sequences step by step as their data arrive.

        In evaluation mode on the CPU, the streams of a layer share one packed copy of its weights.
        Otherwise each stream makes its own copy, because the weights may change; it takes about
        twice the memory of the weights. For many streams, switch to evaluation mode first, or use
        `Stream.copy`.

        Args:
            batch: B, the number of sequences processed side by side.
            state: Initial state, (L, B, H) each; None for zeros, or for the learned state.

        Returns:
            A stream with the weights as they are now, without dropout, and with the expected value
            of zoneout.

        Raises:
            ValueError: The layer is bidirectional, or a shape is wrong.
            TypeError: An array does not hold real numbers, or the state has the wrong structure.
        """
        stream: Stream[StateOf] = Stream(self._stream_layers(), batch, alone=True)
        if state is not None:
            stream.state = state
        return stream

    def _stream_layers(self) -> list[StreamLayer]:
        if self.bidirectional:
            raise ValueError("stream: expected a layer with one direction, got a bidirectional one")
        initial = None if self._learned is None else self._learned.values
        weight_ch = () if self._context is None else self._context.values
        return [StreamRecurrent(self._kept(), self._noise_of_call(), initial, weight_ch)]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the equations of a custom cell, which other processes may lack."""
        return super().__getstate__() | {"_graph": known.graph_of(self.cell)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        graph = state.pop("_graph", None)
        if graph is not None:
            state["cell"] = known.name_of_graph(graph)
        super().__setstate__(state)

    def _cell_names(self) -> Iterator[str]:
        yield self.cell

    def extra_repr(self) -> str:
        """Return the sizes, and the options that differ from their defaults."""
        default = {"num_layers": 1, "bias": True, "dtype": "float32", "precision": "full"}
        names = ["num_layers", "bias", "batch_first", "dropout", "bidirectional", "recompute"]
        names += ["learn_state", "proj_size", "context_size", "zoneout", "input_dropout"]
        names += ["recurrent_dropout", "candidate_dropout", "precision"]
        options = {n: getattr(self, n) for n in names} | {"dtype": self.dtype.name}
        return ", ".join(
            [repr(self.cell)] * (type(self) is Recurrent)
            + [str(self.input_size), str(self.hidden_size)]
            + [f"{n}={v!r}" for n, v in options.items() if v != default.get(n, False)]
            + [f"device={self._backend.name!r}"] * (self._backend is not backends.CPU)
        )

    def _noise_of_call(self) -> noise.Noise | None:
        """Return the noise of calls inside their steps, or None if all its rates are 0."""
        values = self.zoneout, self.input_dropout, self.recurrent_dropout, self.candidate_dropout
        if noise.none(*values):
            return None
        return noise.of(*values, self.cell, self._states, self._backend)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Parameter: ...  # for `weight_ih_l0` and the like

    def _from_tuple(self, states: tuple[RealArray, ...]) -> StateOf:
        return states if self._states > 1 else states[0]  # type: ignore[return-value]
