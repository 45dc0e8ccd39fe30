"""The code in README.md runs and does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.usefixtures("threads")
def test_the_example_learns() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    losses: list[float] = []
    names = {"record": losses.append}
    exec(code.replace("    layer.backward(", "    record(loss)\n    layer.backward("), names)
    assert len(losses) == 100
    assert losses[-1] < 0.1 * losses[0]
