"""The documentation page on users' own cells quotes the library's error messages exactly.

`test_docs.py` runs the page's other examples.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rnnfast import cells
from rnnfast.reference import tape
from rnnfast.traced import LIMITS

PAGE = (Path(__file__).parent.parent / "docs" / "your_own_cell.md").read_text(encoding="utf-8")
ERRORS = re.findall(r"^```py\n(.*?)^```\n\n^```text\n(.*?)\n```", PAGE, re.M | re.S)


@pytest.mark.parametrize(("code", "message"), ERRORS, ids=[f"{k}" for k in range(len(ERRORS))])
def test_errors_are_those_of_the_page(code: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        exec(compile(code, "mine.py", "exec"), {"__name__": "mine"})
    assert str(caught.value) == message


def test_every_example_of_an_error_has_its_message() -> None:
    assert len(ERRORS) == PAGE.count("```py\n") == PAGE.count("```text\n") >= 8


def test_the_vocabulary_is_in_one_place_and_on_the_page() -> None:
    for name in tape.__all__:
        assert getattr(cells, name) is getattr(tape, name)
        assert re.search(rf"\b{name}\b", PAGE), name


def test_the_limits_are_those_of_the_page() -> None:
    words = re.sub(r"\s+", " ", PAGE)
    assert (
        f"up to {LIMITS['stages']} stages of products, {LIMITS['gates']} gates, "
        f"{LIMITS['states']} states and {LIMITS['params']} rows of parameters"
    ) in words
