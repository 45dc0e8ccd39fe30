"""What nvcc made of the kernels for every architecture; see tools/check_kernels.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import check_kernels
from check_kernels import Kernel


def test_registers_stack_and_instructions() -> None:
    program = check_kernels.cuobjdump()
    if program is None:
        pytest.skip("there is no cuobjdump: install nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm")
    module = importlib.util.find_spec("rnnfast._cuda")
    if module is None or module.origin is None:
        pytest.skip("rnnfast was built without CUDA")
    table, wrong = check_kernels.check(program, [Path(module.origin)])
    print(table)
    assert not wrong, "\n".join(wrong)


FORWARD = "_ZN7rnnfast4cuda18forward_mma_kernelINS_4LstmELb0ENS0_15ClusterExchangeEEEvv"


@pytest.mark.parametrize(
    ("changes", "found", "message"),
    [
        ({"stack": 8}, {"HMMA", "STAS", "SYNCS"}, "8 bytes of stack"),
        ({"local": 4}, {"HMMA", "STAS", "SYNCS"}, "4 of local memory"),
        ({"registers": 256}, {"HMMA", "STAS", "SYNCS"}, "256 registers"),
        ({}, {"HMMA", "STAS", "SYNCS", "STL"}, "STL: local memory"),
        ({}, {"HMMA", "SYNCS"}, "no STAS"),
        ({}, set(), "no instructions found"),
    ],
)
def test_each_fault_is_named(changes: dict[str, int], found: set[str], message: str) -> None:
    right = {"name": FORWARD, "architecture": 90, "registers": 200, "stack": 0, "local": 0}
    good = Kernel(**right)  # type: ignore[arg-type]
    assert not list(check_kernels.problems(good, {"HMMA", "STAS", "SYNCS", "LDS"}))
    bad = Kernel(**(right | changes))  # type: ignore[arg-type]
    assert message in next(iter(check_kernels.problems(bad, found)))
