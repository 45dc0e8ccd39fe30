"""`prepack`: layers that keep their weights packed give the same bits as others."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import rnnfast.torch as fast  # noqa: E402
from torch_cases import CELLS, flat, gradients  # noqa: E402

SIZES = 5, 7, 2  # I, H, L


def pair(cell: str = "lstm", dtype: Any = torch.float32, **options: Any) -> tuple[Any, Any]:
    """Return two layers with the same weights, the second of them prepacked."""
    torch.manual_seed(0)
    plain = fast.Recurrent(cell, *SIZES, bidirectional=True, dtype=dtype, **options).eval()
    kept = copy.deepcopy(plain)
    fast.prepack(kept)
    return plain, kept


def check(plain: Any, kept: Any, x: Any = None) -> None:
    x = torch.randn(4, 3, 5, dtype=next(plain.parameters()).dtype) if x is None else x
    with torch.no_grad():
        got, expected = flat(kept(x)), flat(plain(x))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_same_bits(cell: str, dtype: Any) -> None:
    plain, kept = pair(cell, dtype)
    check(plain, kept)
    check(plain, kept)
    lengths = torch.tensor([2, 4, 1])
    x = torch.nn.utils.rnn.pack_padded_sequence(
        torch.randn(4, 3, 5, dtype=dtype), lengths, enforce_sorted=False
    )
    check(plain, kept, x)
    if dtype == torch.float32:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            check(plain, kept)


def test_it_packs_once(packs: list[str]) -> None:
    plain, kept = pair()
    for _ in range(3):
        check(plain, kept)
    assert packs == ["lstm"]


def in_place(layer: Any) -> None:
    with torch.no_grad():
        layer.weight_hh_l1.mul_(0.5)


def step(layer: Any) -> None:
    layer(torch.ones(2, 1, 5))[0].sum().backward()
    torch.optim.SGD(layer.parameters(), 0.1).step()


def load(layer: Any) -> None:
    layer.load_state_dict({k: v + 0.25 for k, v in layer.state_dict().items()})


def other_memory(layer: Any) -> None:
    for _ in range(2):  # the second copy may lie where the first weights were
        layer.bias_hh_l0.data = layer.bias_hh_l0.data * 2


def other_strides(layer: Any) -> None:
    layer.weight_hh_l0.data = layer.weight_hh_l0.data.T.contiguous().T + 1


def other_parameter(layer: Any) -> None:
    layer.weight_ih_l0 = torch.nn.Parameter(layer.weight_ih_l0.detach() - 1)


def other_type(layer: Any) -> None:
    layer.double()


@pytest.mark.parametrize(
    "change", [in_place, step, load, other_memory, other_strides, other_parameter, other_type]
)
def test_it_sees_changes(change: Callable[[Any], None], packs: list[str]) -> None:
    plain, kept = pair()
    check(plain, kept)
    change(plain)
    change(kept)
    check(plain, kept)
    assert len(packs) == 2


def test_training_goes_on(packs: list[str]) -> None:
    plain, kept = pair(dropout=0.5)
    plain.train()
    kept.train()
    x = torch.randn(4, 3, 5)
    found = []
    for layer in (plain, kept):
        torch.manual_seed(1)
        found.append(gradients(layer(x), list(layer.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    for layer in (plain, kept):  # dropout without gradients
        torch.manual_seed(1)
        with torch.no_grad():
            found.append(flat(layer(x)))
    assert all(torch.equal(a, b) for a, b in zip(*found[2:], strict=True))
    assert not packs


def test_what_nobody_counts_is_not_kept(packs: list[str]) -> None:
    with torch.inference_mode():
        plain, kept = pair()
        check(plain, kept)
        in_place(plain)
        in_place(kept)
        check(plain, kept)
    assert not packs


def test_copies_and_files_have_no_weights_packed() -> None:
    plain, kept = pair()
    check(plain, kept)
    copied = copy.deepcopy(kept)
    in_place(copied)
    check(plain, kept)
    file = io.BytesIO()
    torch.save(kept, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    check(plain, loaded)
    check(plain, torch.compile(kept, backend="eager", fullgraph=True))


def test_off_and_restored(packs: list[str]) -> None:
    model = torch.nn.Sequential(fast.GRU(5, 7))
    fast.prepack(model)
    fast.prepack(model, enabled=False)
    with torch.no_grad():
        model(torch.ones(2, 5))
    assert not packs
    fast.prepack(model)
    fast.restore(model)
    assert b"rnnfast" not in _saved(model)


def _saved(model: Any) -> bytes:
    file = io.BytesIO()
    torch.save(model, file)
    return file.getvalue()


def test_wrong_input_is_refused_as_ever() -> None:
    _, kept = pair()
    with torch.no_grad(), pytest.raises(ValueError, match="input: expected"):
        kept(torch.ones(2, 3, 4))
