"""Bad arguments of optimisers, schedules, parameters and modules are refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnfast
from argument_cases import linear, zeros


def parameters(dtype: str = "float32", name: str = "p") -> list[rnnfast.Parameter]:
    return [rnnfast.Parameter(name, zeros(2, dtype=dtype), zeros(2, dtype=dtype))]


def overlapping(*, value: bool) -> list[rnnfast.Parameter]:
    """Return two parameters whose values, or gradients, share an element."""
    shared = zeros(5)
    pairs = [(part, zeros(3)) for part in (shared[:3], shared[2:])]
    return [
        rnnfast.Parameter(name, *(pair if value else reversed(pair)))
        for name, pair in zip("ab", pairs, strict=True)
    ]


def load_optimizer(**changes: Any) -> None:
    optimizer = rnnfast.SGD(parameters())
    optimizer.load_state_dict(optimizer.state_dict() | changes)


CASES: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    # Optimisers, clipping, schedules
    "no parameters": (
        ValueError,
        "parameters: expected at least one, got none",
        lambda: rnnfast.SGD([]),
    ),
    "parameters of two types": (
        TypeError,
        "parameters: expected one dtype for all, got float32 and float64",
        lambda: rnnfast.Adam(parameters() + parameters("float64")),
    ),
    "a parameter twice": (
        ValueError,
        "parameters: expected arrays that do not overlap, as each is updated on its own, got p "
        "twice",
        lambda: rnnfast.Adam(parameters() * 2),
    ),
    "lr": (
        ValueError,
        "lr: expected at least 0, got -0.1",
        lambda: rnnfast.Adagrad(parameters(), -0.1),
    ),
    "lr nan": (
        ValueError,
        "lr: expected at least 0, got nan",
        lambda: rnnfast.Adagrad(parameters(), float("nan")),
    ),
    "lr type": (
        TypeError,
        "lr: expected a number, got str",
        lambda: rnnfast.SGD(parameters(), "0.1"),  # type: ignore[arg-type]
    ),
    "betas": (
        ValueError,
        "betas[1]: expected a number in [0, 1), got 1",
        lambda: rnnfast.AdamW(parameters(), betas=(0.9, 1.0)),
    ),
    "alpha": (
        ValueError,
        "alpha: expected a number in [0, 1], got 1.1",
        lambda: rnnfast.RMSprop(parameters(), alpha=1.1),
    ),
    "nesterov": (
        ValueError,
        "nesterov: expected a momentum above 0, got 0",
        lambda: rnnfast.SGD(parameters(), nesterov=True),
    ),
    "optimiser state": (
        ValueError,
        "state_dict['buffers']: missing 'mean.p', 'square.p'; unexpected 'sum.p'",
        lambda: rnnfast.Adam(parameters()).load_state_dict(
            rnnfast.Adagrad(parameters()).state_dict()
        ),
    ),
    "optimiser state shape": (
        ValueError,
        "sum.p: expected shape of the parameter = (2,), got (3,)",
        lambda: rnnfast.Adagrad(parameters()).load_state_dict(
            {"steps": 1, "lr": 0.1, "buffers": {"sum.p": zeros(3)}}
        ),
    ),
    "max_norm": (
        ValueError,
        "max_norm: expected at least 0, got -1",
        lambda: rnnfast.clip_grad_norm_(parameters(), -1),
    ),
    "clip_value": (
        ValueError,
        "clip_value: expected at least 0, got -1",
        lambda: rnnfast.clip_grad_value_(parameters(), -1),
    ),
    "every": (
        ValueError,
        "every: expected at least 1, got 0",
        lambda: rnnfast.StepDecay(rnnfast.SGD(parameters()), every=0),
    ),
    "warmup": (
        ValueError,
        "warmup: expected at least 0 and below total = 10, got 10",
        lambda: rnnfast.CosineDecay(rnnfast.SGD(parameters()), 10, warmup=10),
    ),
    "factor": (
        ValueError,
        "factor: expected a number in [0, 1), got 1",
        lambda: rnnfast.ReduceOnPlateau(rnnfast.SGD(parameters()), factor=1),
    ),
    "parameters that overlap": (
        ValueError,
        "got a and b in the same memory",
        lambda: rnnfast.Adam(overlapping(value=True)),
    ),
    "gradients that overlap": (
        ValueError,
        "got a.grad and b.grad in the same memory",
        lambda: rnnfast.clip_grad_norm_(overlapping(value=False), 1.0),
    ),
    "a value that is its gradient": (
        ValueError,
        "got p and p.grad in the same memory",
        lambda: rnnfast.SGD([rnnfast.Parameter("p", same := zeros(2), same)]),
    ),
    "an array for parameters": (
        TypeError,
        "parameters[0]: expected a module, or a list of modules and parameters, such as "
        "`layer.parameters()`, got ndarray",
        lambda: rnnfast.Adam(zeros(2, 2)),  # type: ignore[arg-type]
    ),
    "a state dict for parameters": (
        TypeError,
        "parameters: expected a module, or a list of modules and parameters, such as "
        "`layer.parameters()`, got dict",
        lambda: rnnfast.Adam(linear().state_dict()),  # type: ignore[arg-type]
    ),
    "lr infinite": (
        ValueError,
        "lr: expected a finite number, got inf",
        lambda: rnnfast.SGD(parameters(), np.inf),
    ),
    "lr set to nan": (
        ValueError,
        "lr: expected at least 0, got nan",
        lambda: setattr(rnnfast.SGD(parameters()), "lr", np.nan),
    ),
    "betas that are one number": (
        TypeError,
        "betas: expected two numbers, got 0.9",
        lambda: rnnfast.Adam(parameters(), betas=0.9),  # type: ignore[arg-type]
    ),
    "betas negative": (
        ValueError,
        "betas[0]: expected a number in [0, 1), got -0.1",
        lambda: rnnfast.Adam(parameters(), betas=(-0.1, 0.9)),
    ),
    "optimiser state steps": (
        TypeError,
        "state_dict['steps']: expected an integer, got float",
        lambda: load_optimizer(steps=2.5),
    ),
    "optimiser state steps negative": (
        ValueError,
        "state_dict['steps']: expected at least 0, got -1",
        lambda: load_optimizer(steps=-1),
    ),
    "optimiser state lr": (
        ValueError,
        "state_dict['lr']: expected at least 0, got nan",
        lambda: load_optimizer(lr=np.nan),
    ),
    "optimiser state type": (
        TypeError,
        "state_dict: expected a dict, got str",
        lambda: rnnfast.SGD(parameters()).load_state_dict("sgd.json"),  # type: ignore[arg-type]
    ),
    "schedule of no optimiser": (
        TypeError,
        "optimizer: expected an optimiser, got Linear",
        lambda: rnnfast.ExponentialDecay(linear(), 0.9),  # type: ignore[arg-type]
    ),
    "plateau of no optimiser": (
        TypeError,
        "optimizer: expected an optimiser, got float",
        lambda: rnnfast.ReduceOnPlateau(0.1),  # type: ignore[arg-type]
    ),
    "patience": (
        TypeError,
        "patience: expected an integer, got str",
        lambda: rnnfast.ReduceOnPlateau(rnnfast.SGD(parameters()), patience="9"),  # type: ignore[arg-type]
    ),
    "warmup type": (
        TypeError,
        "warmup: expected an integer, got float",
        lambda: rnnfast.CosineDecay(rnnfast.SGD(parameters()), 10, 2.5),  # type: ignore[arg-type]
    ),
    "schedule state": (
        TypeError,
        "state_dict['steps']: expected an integer, got float",
        lambda: rnnfast.ExponentialDecay(rnnfast.SGD(parameters()), 0.5).load_state_dict(
            {"base_lr": 1.0, "steps": 1.5}
        ),
    ),
    # Parameters and modules
    "parameter value": (
        TypeError,
        "p.value: expected an array, got list",
        lambda: rnnfast.Parameter("p", [1.0], zeros(1)),  # type: ignore[arg-type]
    ),
    "parameter value dtype": (
        TypeError,
        "p.value.dtype: expected float32 or float64, got int64",
        lambda: rnnfast.Parameter("p", np.zeros(1, int), zeros(1)),
    ),
    "parameter gradient dtype": (
        TypeError,
        "p.grad: expected float32, like value, got float64",
        lambda: rnnfast.Parameter("p", zeros(1), zeros(1, dtype="float64")),
    ),
    "parameter gradient shape": (
        ValueError,
        "p.grad: expected shape of value = (1,), got (2,)",
        lambda: rnnfast.Parameter("p", zeros(1), zeros(2)),
    ),
    "parameter order": (
        ValueError,
        "p.value: expected C order, got strides (4, 8)",
        lambda: rnnfast.Parameter("p", zeros(3, 2).T, zeros(2, 3)),
    ),
    "parameter assigned a shape": (
        ValueError,
        "weight: expected shape of the parameter = (6, 4), got (4, 6)",
        lambda: setattr(linear(), "weight", zeros(4, 6)),
    ),
    "parameter assigned a parameter": (
        TypeError,
        "weight: expected an array to copy into the parameter, got another Parameter",
        lambda: setattr(linear(), "weight", linear().weight),
    ),
    "gradient assigned None": (
        TypeError,
        "weight.grad: expected an array of real numbers, got dtype object",
        lambda: setattr(linear().weight, "grad", None),
    ),
    "state dict type": (
        TypeError,
        "state_dict: expected a dict, got str",
        lambda: linear().load_state_dict("model.safetensors"),  # type: ignore[arg-type]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str) -> None:
    error, message, call = CASES[name]
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_an_optimiser_takes_modules_and_parameters_in_one_list() -> None:
    layer, one, other = rnnfast.GRU(2, 3, seed=1), linear(), linear()
    optimizer = rnnfast.Adam([layer, one, other.weight])
    expected = [*layer.parameters(), *one.parameters(), other.weight]
    assert [id(p.value) for p in optimizer.parameters] == [id(p.value) for p in expected]
    assert rnnfast.clip_grad_norm_([layer, one], 1.0) == 0
    with pytest.raises(ValueError, match="weight twice"):
        rnnfast.Adam([one, one.weight])
