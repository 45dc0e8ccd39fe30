"""Equality with PyTorch's nn.RNN, nn.LSTM and nn.GRU: outputs, final states, every gradient."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import cases
import rnnfast
import tolerances
from cases import Case

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

MODULES = {
    "rnn_tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
}


def run_torch(case: Case, d: cases.Data) -> dict[str, np.ndarray]:
    """Return PyTorch's results on the given data of the case."""
    module_type, options = MODULES[case.cell]
    module = module_type(
        case.I, case.H, case.L, bias=case.bias, bidirectional=case.D == 2, **options
    ).to(getattr(torch, case.dtype))
    parameters = dict(module.named_parameters())
    names = [
        [
            f"{kind}_l{k // case.D}" + ("_reverse" if k % case.D else "")
            for kind in cases.KINDS[: 4 if case.bias else 2]
        ]
        for k in range(case.L * case.D)
    ]
    assert sorted(itertools.chain(*names)) == sorted(parameters)
    with torch.no_grad():
        for of_layer, weights in zip(names, d.weights, strict=True):
            for name, w in zip(of_layer, weights, strict=False):
                parameters[name].copy_(torch.tensor(w))

    x = torch.tensor(d.x, requires_grad=True)
    initial = [torch.tensor(s, requires_grad=True) for s in d.state]
    fed = x
    if d.lengths is not None:
        fed = torch.nn.utils.rnn.pack_padded_sequence(x, d.lengths, enforce_sorted=False)
    y, final = module(fed, tuple(initial) if case.cell == "lstm" else initial[0])
    if d.lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=case.T)
    final = final if case.cell == "lstm" else (final,)
    gradients = [torch.tensor(g) for g in (d.dy, *d.dstate)]
    torch.autograd.backward([y, *final], gradients)

    dweights = [
        [parameters[name].grad.numpy() for name in of_layer] + [None] * (5 - len(of_layer))
        for of_layer in names
    ]
    return cases.named(
        y.detach().numpy(),
        [s.detach().numpy() for s in final],
        x.grad.numpy(),
        [s.grad.numpy() for s in initial],
        dweights,
        case.D,
    )


@pytest.mark.parametrize(
    "case",
    [
        Case(cell, T=9, B=6, I=11, H=hidden, L=layers, D=directions, dtype=dtype, bias=bias,
             lengths=lengths)
        for cell, dtype, directions, (layers, hidden, bias), lengths in itertools.product(
            MODULES,
            ("float32", "float64"),
            (1, 2),
            ((1, 64, True), (2, 33, True), (3, 8, False)),
            (False, True),
        )
    ],
    ids=str,
)  # fmt: skip
def test_equals_torch(case: Case) -> None:
    d = cases.make_data(case)
    if d.lengths is not None:  # PyTorch cannot pack empty sequences
        d = d._replace(lengths=np.maximum(d.lengths, 1))
    expected, results = run_torch(case, d), cases.run_engine(case, data=d)
    assert list(results) == list(expected)
    if case.dtype == "float32":  # both sides have errors
        errors = {name: 2 * error for name, error in cases.plain_errors(case).items()}
        cases.assert_close(results, expected, errors, case)
    else:
        for name, values in expected.items():
            scale = np.abs(values).max()
            error = cases.worst(results[name], values)
            assert error <= tolerances.TORCH_RELATIVE_FLOAT64 * scale, f"{name}: {error}"


LAYERS = {
    "rnn_tanh": rnnfast.RNN,
    "rnn_relu": functools.partial(rnnfast.RNN, nonlinearity="relu"),
    "lstm": rnnfast.LSTM,
    "gru": rnnfast.GRU,
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cell", MODULES)
def test_layers_exchange_weights_with_torch(cell: str, bias: bool, batch_first: bool) -> None:
    """PyTorch's weights give a layer the same outputs and gradients, and they convert back."""
    module_type, options = MODULES[cell]
    same = {"num_layers": 2, "bias": bias, "batch_first": batch_first, "bidirectional": True}
    module = module_type(5, 7, **same, **options).double()
    layer = LAYERS[cell](5, 7, **same, dtype=np.float64, seed=1)
    layer.load_state_dict({name: w.numpy() for name, w in module.state_dict().items()})

    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((4, 3, 5)), rng.standard_normal((4, 3, 14))
    given = torch.tensor(x, requires_grad=True)
    expected, final = module(given)
    expected.backward(torch.tensor(dy))
    y, state = layer(x)
    dx, _ = layer.backward(dy)
    pairs = {"y": (y, expected.detach()), "dx": (dx, given.grad)}
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    pairs |= {p.name: (p.grad, gradients.pop(p.name)) for p in layer.parameters()}
    assert not gradients
    states = zip(state, final, strict=True) if cell == "lstm" else [(state, final)]
    pairs |= {f"state[{k}]": (s, f.detach()) for k, (s, f) in enumerate(states)}
    for name, (got, values) in pairs.items():
        error = cases.worst(got, values.numpy())
        scale = values.abs().max().item()
        assert error <= tolerances.TORCH_RELATIVE_FLOAT64 * scale, f"{name}: {error}"

    other = module_type(5, 7, **same, **options).double()
    other.load_state_dict({name: torch.tensor(w) for name, w in layer.state_dict().items()})
    assert torch.equal(other(given)[0], expected)
