"""The page of a report: a span that is selected, and the places where the same units are on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import inspection_cases as made
from report_pages import (  # noqa: F401
    CASE,
    TEXT,
    Open,
    browser_fixture,
    centre,
    check_colours,
    is_in_view,
    open_report_fixture,
)

QUIET = replace(CASE, activations=CASE.activations * np.isin(np.arange(8), [2, 5]))  # no noise


def quoted_spans() -> list[tuple[int, int]]:
    """Return the spans from a quote that opens to the last character before it closes."""
    edges = np.flatnonzero(np.diff(made.inside_quotes(TEXT).astype(int), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def expected_matches(span: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the other quoted spans, those of the most similar length first, at most 40."""
    length = span[1] - span[0]
    others = [one for one in quoted_spans() if one != span]
    return sorted(others, key=lambda one: abs(one[1] - one[0] - length))[:40]


def marked(page: Any, name: str) -> list[tuple[int, int]]:
    """Return the spans of characters of a class."""
    numbers = page.eval_on_selector_all(f".row > [data-{name}]", "(all) => all.map((one) => one.n)")
    flags = np.zeros(len(TEXT) + 1, dtype=int)
    flags[numbers] = 1
    edges = np.flatnonzero(np.diff(flags, prepend=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def check_matches(page: Any, span: tuple[int, int]) -> None:
    chips = [chip.text_content() for chip in page.query_selector_all("#chosen button")]
    assert chips == ["l0[2] +", "l0[5] −"]
    expected = expected_matches(span)
    agree = [badge.text_content() for badge in page.query_selector_all("#matches .badge")]
    assert len(agree) == len(expected)
    assert set(agree) == {"2/2"}
    assert marked(page, "match") == sorted(expected)


def test_matches_of_a_span_that_the_keyboard_selects(open_report: Open) -> None:
    page = open_report(QUIET)
    page.focus("#text")
    span = quoted_spans()[0]
    for _ in range(span[1] - span[0] - 1):
        page.keyboard.press("Shift+ArrowRight")
    assert marked(page, "chosen") == [span]
    page.keyboard.press("Enter")
    check_matches(page, span)
    first = page.text_content("#matches li button")
    assert '"one' in first
    where = expected_matches(span)[0][0]
    page.focus("#matches li button")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.querySelector('[data-cursor]').n") == where
    assert is_in_view(page, "[data-cursor]", "#text")
    page.focus("#text")
    page.keyboard.press("Escape")
    assert marked(page, "chosen") == marked(page, "match") == []
    assert page.is_hidden("#match-controls")


def test_matches_of_a_span_that_the_mouse_selects(open_report: Open) -> None:
    page = open_report(QUIET)
    span = quoted_spans()[1]
    x, y = centre(page, span[0])
    page.mouse.move(x - 4, y)
    page.mouse.down()
    x, y = centre(page, span[1] - 1)
    page.mouse.move(x + 3, y, steps=5)
    page.mouse.up()
    assert marked(page, "chosen") == [span]
    page.click("#find")
    check_matches(page, span)
    assert page.text_content("#match-summary") in ("40 best matches", "40 matches")
    page.click("#chosen button:has-text('l0[5]')")
    check_colours(page, 5)
    # With a limit above 0.8 of the largest value, nothing changes: values are parts of the largest.
    page.fill("#on-above", "0.95")
    assert page.query_selector_all("#matches li") == []
    page.click("#find")
    check_matches(page, span)


def test_units_that_are_on_outside_do_not_count(open_report: Open) -> None:
    page = open_report(QUIET)
    page.focus("#text")
    for _ in range(2):  # two of four characters in quotes: both units are on to the right of it
        page.keyboard.press("Shift+ArrowRight")
    chips = [chip.text_content() for chip in page.query_selector_all("#chosen button")]
    assert chips == []
    assert page.text_content("#chosen-title").startswith("No unit is on all over it.")
    page.uncheck("#off-outside")
    chips = [chip.text_content() for chip in page.query_selector_all("#chosen button")]
    assert chips == ["l0[2] +", "l0[5] −"]


def test_matches_on_which_fewer_units_agree_come_last(open_report: Open) -> None:
    text = 'a "one" b "two" c "six" d "seven"\n'
    case = made.quoting(text)
    activations = case.activations * np.isin(np.arange(8), [2, 5])
    activations[text.index('"two') : text.index('" c'), 5] = 0.1  # one of the units is off here
    page = open_report(replace(case, activations=activations))
    page.focus("#text")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    found = [match.text_content() for match in page.query_selector_all("#matches li")]
    assert found == [
        '2/2a "one" b "two" c "six" d "seven"↵',
        '2/2…"one" b "two" c "six" d "seven"↵',
        '1/2a "one" b "two" c "six" d …',
    ]
