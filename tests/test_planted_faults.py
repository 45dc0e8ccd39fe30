"""The faults that mutants.py plants are changes of the sources as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pybind11")

import mutants
from planted_changes import CHANGES, UNNOTICED


def test_every_fault_can_be_planted(tmp_path: Path) -> None:
    """It fails if the text that a fault changes is no longer in its file exactly once."""
    faults = mutants.plant(tmp_path / "copy")
    assert [fault.number for fault in faults] == list(range(1, len(faults) + 1))
    assert len(faults) > len(CHANGES)  # and barriers
    known = {f"{fault.file}: {fault.what}" for fault in faults}
    assert set(UNNOTICED) <= known
