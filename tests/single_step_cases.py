"""Helpers of the tests of single steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import rnnfast  # noqa: E402
import rnnfast.torch as fast  # noqa: E402
from torch_cases import TWINS, assert_near, flat  # noqa: E402

T, B, I, H = 4, 3, 5, 7


def name_of(cell: str | rnnfast.Cell) -> str:
    return cell if isinstance(cell, str) else cell.name


def twins(name: str, *sizes: int, dtype: Any = torch.float64, **options: Any) -> tuple[Any, Any]:
    """Return a cell of PyTorch and ours with the same weights; "ReLU" means an RNN with it."""
    torch.manual_seed(0)
    kind = f"{name if name != 'ReLU' else 'RNN'}Cell"
    theirs = getattr(torch.nn, kind)(*sizes, **TWINS[name], **options).to(dtype)
    ours = getattr(fast, kind)(*sizes, **TWINS[name], **options).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


def sequence(*shape: int, dtype: Any = torch.float64) -> Any:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def loop(cell: Any, x: Any, state: Any = None) -> list[Any]:
    """Return the states after every step."""
    states = []
    for step in x:
        state = cell(step, state)
        states.append(state)
    return states


def start(name: str, *shape: int) -> Any:
    h, c = sequence(*shape), sequence(*shape)
    return (h, c) if name == "LSTM" else h


each_twin = pytest.mark.parametrize("name", TWINS)


def both(name: str, run: Callable[[Any, Any], Any]) -> None:
    """Check that `run(cell, x)` does the same to our cell as to PyTorch's."""
    results = []
    for cell in twins(name, I, H):
        torch.manual_seed(1)
        x = sequence(T, B, I)
        result = run(cell, x)
        results.append([*flat(result), x.grad, *(p.grad for p in cell.parameters())])
    got, expected = results[1], results[0]
    assert [g is None for g in got] == [e is None for e in expected]
    assert_near(got, expected)


def total(states: Any) -> Any:
    return sum((i + 1) * s.square().sum() for i, s in enumerate(flat(states)))
