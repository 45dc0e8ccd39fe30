"""The choice of a kernel, which is pure host code, on descriptions of devices."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from rnnfast import _core, cuda
from rnnfast._engine.known import name_of
from rnnfast.cuda._devices import VIRTUAL
from rnnfast.cuda._explain import DTYPES
from rnnfast.reference import CELLS

# Compiled cells, and Python cells with products in any stage, none, or many in one stage.
CELLS_OF_PLANS = (*CELLS, "mut2", "indrnn", "lstm_fgr")
KERNELS = ("block", "grid", "flags", "cluster", "gemm")
SIZES = [(1, 1), (1, 128), (3, 65), (16, 1024), (64, 512), (200, 96), (1000, 33), (7, 4096)]


def plan(
    cell: str,
    B: int,
    H: int,
    device: str,
    *,
    dtype: str = "float32",
    backward: bool = False,
    kernels: list[str] | None = None,
) -> dict[str, Any]:
    return _core.cuda_plan(
        cell=name_of(cell),
        batch=B,
        hidden=H,
        products=DTYPES[dtype],
        backward=backward,
        device=VIRTUAL[device],
        kernels=kernels,
    )


LARGEST = 2**24  # upper limit of B and H in a plan


@pytest.mark.parametrize("device", VIRTUAL)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(LARGEST, 1), (1, LARGEST), (LARGEST, LARGEST)])
def test_explains_the_largest_sizes(sizes: tuple[int, int], dtype: str, device: str) -> None:
    B, H = sizes
    explained = cuda.explain("nas", 2**31 - 1, B, 2**31 - 1, H, dtype, device=device)
    for p in (explained.forward, explained.backward):
        assert p.slices * p.sub_batches >= 1
        assert p.step_seconds > 0
    assert "because" in str(explained)


@pytest.mark.parametrize("kernel", [None, *KERNELS])
@pytest.mark.parametrize("value", [LARGEST + 1, 2**31 - 1, 2**31, 2**70])
@pytest.mark.parametrize("name", ["B", "H"])
def test_refuses_sizes_beyond_the_largest(name: str, value: int, kernel: str | None) -> None:
    sizes = {"T": 1, "B": 1, "I": 1, "H": 1, name: value}
    with pytest.raises(ValueError, match=f"{name}: expected at most {LARGEST}, got {value}"):
        cuda.explain("lstm", **sizes, device=next(iter(VIRTUAL)), kernel=kernel)
    if value < 2**31:
        with pytest.raises(ValueError, match=f"expected 1 to {LARGEST}, got {value}"):
            plan("lstm", sizes["B"], sizes["H"], next(iter(VIRTUAL)))


@pytest.mark.parametrize("name", ["T", "I"])
def test_refuses_more_steps_or_inputs_than_the_engine_counts(name: str) -> None:
    sizes = {"T": 1, "B": 1, "I": 1, "H": 1, name: 2**31}
    with pytest.raises(ValueError, match=f"{name}: expected at most {2**31 - 1}, got {2**31}"):
        cuda.explain("lstm", **sizes, device=next(iter(VIRTUAL)))


def all_plans(device: str, kernels: list[str] | None = None) -> list[dict[str, Any]]:
    """Yield the plan for every cell, size, precision and pass, except kernels that cannot run."""
    plans = []
    for cell, (B, H), dtype, backward in itertools.product(
        CELLS_OF_PLANS, SIZES, DTYPES, (False, True)
    ):
        try:
            made = plan(cell, B, H, device, dtype=dtype, backward=backward, kernels=kernels)
        except ValueError:
            continue
        plans.append({"cell": cell, "B": B, "H": H, **made})
    return plans


@pytest.mark.parametrize("device", VIRTUAL)
@pytest.mark.parametrize("kernel", [None, *KERNELS])
def test_plans_cover_the_layer_and_fit_the_device(device: str, kernel: str | None) -> None:
    d = VIRTUAL[device]
    for p in all_plans(device, kernel and [kernel]):
        assert kernel in (None, p["kernel"])
        assert (p["slices"] - 1) * p["units"] < p["H"] <= p["slices"] * p["units"]
        assert (p["sub_batches"] - 1) * p["rows"] < p["B"] <= p["sub_batches"] * p["rows"]
        if p["kernel"] == "gemm":
            continue
        blocks = p["slices"] * p["sub_batches"]
        together = blocks if p["cooperative"] else p["cluster"]
        on_one = -(-together // d["multiprocessors"])
        assert p["shared_bytes"] <= d["shared_per_block"]
        assert on_one * (p["shared_bytes"] + 1024) <= d["shared_per_multiprocessor"]
        assert on_one * p["threads"] <= d["threads_per_multiprocessor"]
        assert together <= p["resident"]
        assert p["cluster"] <= d["max_cluster"]
        assert blocks % p["cluster"] == 0
        meets = p["cooperative"] or p["cluster"] > 1
        assert meets or p["slices"] == 1 or p["cell"] == "indrnn", "slices must meet"


def test_every_kernel_is_the_choice_somewhere() -> None:
    chosen = {
        p["kernel"]
        for device in ("H100", "T4", "one multiprocessor")
        for p in all_plans(device, list(KERNELS))
    }
    assert chosen == set(KERNELS)


@pytest.mark.parametrize(
    ("cell", "B", "H", "device", "dtype", "kernel"),
    [
        ("lstm", 64, 512, "H100", "bfloat16", "cluster"),  # 8 clusters of 16
        ("lstm", 16, 1024, "H100", "bfloat16", "flags"),  # too large for a cluster
        ("lstm", 64, 96, "H100", "bfloat16", "block"),  # a multiprocessor holds all the weights
        ("gru", 16, 512, "A100", "float32", "grid"),
        ("lstm", 16, 4096, "H100", "float32", "gemm"),  # 268 MB of weights
        ("lstm", 4, 200, "one multiprocessor", "float32", "gemm"),  # even 640 KB are too much
        ("mut3", 4, 256, "H100", "float32", "grid"),  # exact products use no tensor cores
    ],
)
def test_known_choices(cell: str, B: int, H: int, device: str, dtype: str, kernel: str) -> None:
    assert plan(cell, B, H, device, dtype=dtype, kernels=list(KERNELS))["kernel"] == kernel


@pytest.mark.parametrize(
    ("kernel", "cell", "device", "dtype", "reason"),
    [
        ("flags", "lstm", "H100", "float32", "multiplies only bfloat16"),
        ("flags", "lstm", "T4", "bfloat16", "compute capability 8.0"),
        ("cluster", "lstm", "A100", "bfloat16", "compute capability 9.0"),
        ("block", "gru_reset_before", "T4", "bfloat16", "compute capability 8.0"),
    ],
)
def test_a_refused_kernel_says_why(
    kernel: str, cell: str, device: str, dtype: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        plan(cell, 8, 64, device, dtype=dtype, kernels=[kernel])
    whole = plan(cell, 8, 64, device, dtype=dtype, kernels=list(KERNELS))
    assert f"{kernel} {reason[:8]}" in whole["reason"] or reason in whole["reason"]


def test_what_takes_time_adds_up() -> None:
    for p in all_plans("H100", list(KERNELS)):
        parts = [
            p[f"{n}_seconds"] for n in ("products", "exchange", "synchronisation", "pointwise")
        ]
        assert p["step_seconds"] == pytest.approx(max(sum(parts), p["memory_seconds"]))
        assert all(part >= 0 for part in parts)


@pytest.mark.parametrize("device", cuda.VIRTUAL_DEVICES)
def test_explain_is_a_text_with_all_that_was_planned(device: str) -> None:
    explanation = cuda.explain("gru", 100, 16, 64, 40, device=device)
    text = str(explanation)
    assert device in text
    assert "T = 100, B = 16, I = 64, H = 40" in text
    for p in (explanation.forward, explanation.backward):
        assert f": {p.kernel}\n" in text
        assert p.reason in text
        assert f"{1e6 * p.step_seconds:.2f} us a step" in text


def test_explain_refuses_what_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"device: expected one of H100, A100, .* got 'H900'"):
        cuda.explain("lstm", 1, 1, 1, 1, device="H900")
    with pytest.raises(
        ValueError, match="dtype: expected one of float32, bfloat16, bfloat16x3, got 'int8'"
    ):
        cuda.explain("lstm", 1, 1, 1, 1, "int8", device="H100")
    with pytest.raises(ValueError, match="B: expected at least 1, got 0"):
        cuda.explain("lstm", 1, 0, 1, 1, device="H100")


def test_without_a_device_everything_says_so() -> None:
    reason = cuda.unavailable_reason()
    if reason is None:
        pytest.skip("there is a CUDA device")
    assert not cuda.is_available()
    with pytest.raises(cuda.DeviceError, match="device 'cuda': "):
        cuda.explain("lstm", 1, 1, 1, 1)
