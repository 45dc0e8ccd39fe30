"""Shared fixtures, and the switch that runs the tests of layers on a device.

    RNNFAST_TEST_DEVICE=emulated pytest

makes that device the default of layers, and moves the weights of functional calls there. What the
device does not do is skipped with its own message; so are the files of NOT_OF_DEVICES.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnnfast
from rnnfast import _backend

DEVICE = os.environ.get("RNNFAST_TEST_DEVICE", "cpu")
# Files that look into the CPU's engine, by why nothing of them is about a device.
NOT_OF_DEVICES = {
    "test_dispatch.py": "instruction sets of the CPU",
    "test_threads.py": "threads of the CPU",
}
# What a device refuses, by the words of its message.
REFUSALS = ("expected float32 on device", "recompute: expected False on device")


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back after a test that sets it."""
    before = rnnfast.get_num_threads()
    yield
    rnnfast.set_num_threads(before)


if DEVICE != "cpu":
    _backend.get(DEVICE)  # the message, if it cannot be used, comes before any test
    _backend.default_name = DEVICE

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
        """Turns a device's refusals into skips."""
        reason = NOT_OF_DEVICES.get(Path(item.path).name)
        if reason is not None:
            pytest.skip(f"of the CPU alone: {reason}")
        try:
            yield
        except (TypeError, ValueError) as error:
            if any(words in str(error) for words in REFUSALS):
                pytest.skip(str(error))
            raise
