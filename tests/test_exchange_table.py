"""The table of conventions in the documentation is that of the data, and the data is complete."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from exchange_cases import CASES
from rnnfast.exchange import CONVENTIONS

ROOT = Path(__file__).parents[1]


def test_the_page_has_the_table() -> None:
    spec = importlib.util.spec_from_file_location("table", ROOT / "tools" / "exchange_table.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = tool.PAGE.read_text()
    assert tool.written(page) == page, "run python tools/exchange_table.py"


def test_every_row_that_says_so_has_a_case() -> None:
    """Rows checked by hand have golden cases, and those of the tests a library."""
    golden = (ROOT / "tests" / "exchange_golden").glob("*.json")
    by_hand = {
        (one.get("source"), one.get("layers"))
        for path in golden
        for one in json.loads(path.read_text())
    }
    assert {(r.source, r.layers) for r in CONVENTIONS if r.checked == "by hand"} <= by_hand
    sources = {"ncnn", *(name.split()[0].replace("torch", "pytorch") for name in CASES)}
    sources |= {"flax-nnx"} if "nnx" in sources else set()
    assert {r.source for r in CONVENTIONS if r.checked == "tests"} <= sources


def test_rows_are_distinct() -> None:
    names = [(row.source, row.layers) for row in CONVENTIONS]
    assert len(set(names)) == len(names)
    assert {row.checked for row in CONVENTIONS} == {"tests", "by hand", "its equations"}
