"""The kernels of the operators, which run the engine on the memory of tensors.

Every call looks up the addresses again, so tensors may move between forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnfast import _core, functional
from rnnfast._engine import noise
from rnnfast._engine.arguments import checked_call, checked_gradients
from rnnfast._engine.backends import CPU
from rnnfast._engine.checks import RealArray
from rnnfast._engine.network import network_options
from rnnfast.torch.network import Network, NoiseMasks, Options, memory_of, states_of

Outputs = tuple[Tensor, list[Tensor], Tensor]
"""y (T, B, D*H), or (T, B, D*P), the final states, and the reserve as bytes."""

_Reals = list[RealArray]
_Arrays = tuple[
    Any, Any, "_Reals | None", "RealArray | None", "RealArray | None", int, "_Reals | None"
]
_tensor: Callable[[RealArray], Tensor] = torch.from_numpy


def forward(
    network: Network, options: Options, keep: bool, packed: functional.Packed | None = None
) -> Outputs:
    """Run a network.

    Args:
        network: The tensors.
        options: The options of the network.
        keep: Whether to return the reserve that `backward` and `states` need, instead of an empty
            tensor.
        packed: The packed weights, if available.
    """
    training = keep or options.draws  # the engine only draws masks in training
    of_call = _of_call(options, training, keep)
    arrays = _arrays(network, options, packed)
    result = _core.forward(of_call, *arrays)
    if result is None:  # an argument must be converted, or is invalid
        result = _core.forward(*_checked(network, options, of_call, arrays))
    y, final, reserve = result
    memory = _tensor(reserve.memory) if keep else torch.empty(0, dtype=torch.uint8)
    return _tensor(y), [_tensor(s) for s in final], memory


def backward(
    network: Network,
    options: Options,
    reserve: Tensor,
    dy: Tensor | None,
    dstate: Sequence[Tensor | None],
    need_dx: bool,
) -> list[Tensor]:
    """Return the gradients of x if `need_dx`, states and context if given, and the weights."""
    core = _restore(network, options, reserve)
    dy_array = None if dy is None else memory_of(dy)
    dstate_arrays = [None if d is None else memory_of(d) for d in dstate]
    dcontext = [np.zeros_like(memory_of(c)) for c in network.context]
    result = _core.backward(core, dy_array, dstate_arrays, need_dx, None, dcontext or None)
    if result is None:  # an argument must be converted, or is invalid
        given = checked_gradients(CPU, core, dy_array, dstate_arrays)
        result = _core.backward(core, *given, need_dx, None, dcontext or None)
    dx, dinitial, dweights = result
    gradients = [dx] if need_dx else []
    gradients += dinitial if network.state else ()
    gradients += dcontext
    gradients += [dw for of_layer in dweights for dw in of_layer if dw is not None]
    return [_tensor(gradient) for gradient in gradients]


def states(network: Network, options: Options, reserve: Tensor) -> list[Tensor]:
    """Return the states beyond h after every step, (T, B, H) each, layer by layer."""
    core = _restore(network, options, reserve)
    return [
        _tensor(core.states_over_time(cell, state))
        for cell in range(options.num_layers * options.num_directions)
        for state in range(1, options.states)
    ]


def dropout_masks(network: Network, options: Options, reserve: Tensor) -> list[Tensor]:
    """Return the masks of the outputs of each layer but the last, (T, B, D*H) each."""
    core = _restore(network, options, reserve)
    return [_tensor(core.dropout_mask(layer)) for layer in range(options.num_layers - 1)]


def noise_masks(network: Network, options: Options, reserve: Tensor) -> NoiseMasks:
    """Return the masks of the noise inside the steps of an earlier call."""
    core = _restore(network, options, reserve)
    layers, cells = options.num_layers, options.num_layers * options.num_directions
    zoneout = [
        [_tensor(core.zoneout_mask(cell, state)) for state in range(options.states)]
        for cell in range(cells)
    ]
    return NoiseMasks(
        zoneout if len(options.zoneout) else None,
        [_tensor(core.input_mask(layer)) for layer in range(layers)],
        [_tensor(core.recurrent_mask(cell)) for cell in range(cells)],
        [_tensor(core.candidate_mask(cell)) for cell in range(cells)]
        if options.candidate_dropout
        else None,
    )


def _of_call(options: Options, training: bool, keep_y: bool) -> _core.NetworkOptions:
    """Return the options in the form of the engine, with PyTorch's number of threads."""
    return network_options(
        options.cell,
        options.num_layers,
        bool(options.bidirectional),  # PyTorch's layers accept values of other types
        options.dropout,
        training,
        options.precision,
        0,
        torch.get_num_threads(),
        keep_y,  # so that users may change the y that they get
        _noise_of(options) if options.has_noise else None,
    )


def _noise_of(options: Options) -> noise.Noise | None:
    return noise.of(
        tuple(options.zoneout) or 0.0,
        options.input_dropout,
        options.recurrent_dropout,
        options.candidate_dropout,
        options.cell,
        states_of(options.cell),
        expects=bool(options.expects),
    )


def _arrays(network: Network, options: Options, packed: functional.Packed | None = None) -> _Arrays:
    """Return the tensors of a network in the form that the functions of `_core` take."""
    x, weights, state, lengths, reset, seed, context = network
    try:
        return (
            memory_of(x),
            packed or options.by_layer([memory_of(w) for w in weights]),
            [memory_of(s) for s in state] if state else None,
            None if lengths is None else memory_of(lengths),
            None if reset is None else memory_of(reset),
            0 if seed is None else int(seed),
            [memory_of(c) for c in context] if context else None,
        )
    except (KeyError, ValueError, TypeError, RuntimeError, BufferError):
        check(network, options)  # raises an error that names the argument
        _check_memory(network)
        raise


def _restore(network: Network, options: Options, reserve: Tensor) -> _core.Reserve:
    """Return the reserve of an earlier call, given its bytes and the other tensors of the call."""
    if reserve.dtype != torch.uint8:
        raise TypeError(f"reserve: expected torch.uint8, got {reserve.dtype}")
    if reserve.data_ptr() % 64:
        reserve = reserve.clone()  # PyTorch aligns the memory that it allocates
    of_call = _of_call(options, True, True)
    arrays, memory = _arrays(network, options), memory_of(reserve)
    call = (of_call, *arrays[:-1], memory)  # without the context, which backward does not read
    restored: _core.Reserve | None = _core.restore(*call)
    if restored is None:
        call = (*_checked(network, options, of_call, arrays)[:-1], memory)
        restored = _core.restore(*call)
        assert restored is not None
    return restored


def _checked(
    network: Network, options: Options, of_call: _core.NetworkOptions, arrays: _Arrays
) -> tuple[Any, ...]:
    """Check and convert the options and arrays of a call that the engine did not accept."""
    check(network, options)
    x, weights, state, lengths, reset, seed, context = arrays
    if isinstance(weights, list):
        weights = [functional.Weights(*w) for w in weights]
    return checked_call(CPU, of_call, x, weights, state, lengths, reset, seed, context)


def check(network: Network, options: Options) -> None:
    """Check properties of tensors that arrays lack, and those that are known while tracing.

    Raises:
        TypeError: The engine does not support the dtype, the device or the layout of a tensor.
        ValueError: An option is invalid, x does not have three axes, or the number of weights is
            wrong.
    """
    of_call = _of_call(options, False, False)
    layers = options.num_layers * options.num_directions
    count = options.weights_per_layer
    if of_call.cell.projects and len(network.weights) == layers * (count + 1):
        count += 1
    if len(network.weights) != layers * count:
        raise ValueError(
            f"weights: expected {count} for each of {layers} layers and directions, "
            f"{layers * count} in total, got {len(network.weights)}"
        )
    real = network.weights[0].dtype
    if real not in (torch.float32, torch.float64):
        raise TypeError(f"weights[0]: expected torch.float32 or torch.float64, got {real}")
    for name, tensor in _named(network):
        dtype = torch.int64 if name in ("lengths", "seed") else real
        if name == "reset":  # of booleans, or of integers that the engine checks
            real_or_complex = tensor.is_floating_point() or tensor.is_complex()
            dtype = torch.bool if real_or_complex else tensor.dtype
        if (tensor.dtype, tensor.device.type, tensor.layout) != (dtype, "cpu", torch.strided):
            raise TypeError(
                f"{name}: expected a dense tensor of {dtype} on the CPU, got one of "
                f"{tensor.dtype} and {tensor.layout} on {tensor.device}"
            )
    if network.x.dim() != 3:
        shape = tuple(network.x.shape)
        raise ValueError(f"x: expected shape (seq_len, batch, input_size), got {shape}")


def _check_memory(network: Network) -> None:
    for name, tensor in _named(network):
        if tensor.numel() and not tensor.data_ptr():
            raise ValueError(
                f"{name}: expected a tensor with memory, got one whose storage has been freed, as "
                "FSDP does with parameters outside of forward and backward"
            )


def _named(network: Network) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of a network with the name of its argument."""
    for name in network._fields:
        value = getattr(network, name)
        if isinstance(value, Tensor):
            yield name, value
        elif value is not None:
            yield from ((f"{name}[{i}]", tensor) for i, tensor in enumerate(value))
