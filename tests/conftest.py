"""Shared fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rnnfast


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back after a test that sets it."""
    before = rnnfast.get_num_threads()
    yield
    rnnfast.set_num_threads(before)
