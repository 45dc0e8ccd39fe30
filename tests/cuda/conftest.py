"""The devices that the tests of the CUDA engine run on, each skipped with a reason if missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "cuda_emulator"))

import emulated

from rnnfast.cuda import _engines
from rnnfast.cuda._devices import VIRTUAL
from rnnfast.cuda._engine import Engine

DEVICES = ("emulated", "emulated_ptx", pytest.param("cuda", marks=pytest.mark.gpu))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return a name for `device=` of layers; an emulated device starts as an H100 for each test."""
    name: str = request.param
    reason = emulated.unavailable_reason(name)
    if reason is not None:
        pytest.skip(f"device {name!r}: {reason}")
    yield name
    if name in emulated.MODULES:
        engine(name).extension.set_device(VIRTUAL["H100"])
        engine(name).extension.set_schedule("random", 1)


def engine(device: str) -> Engine:
    """Return the engine of a device."""
    return _engines.named(device)
