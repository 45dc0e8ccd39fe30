"""The page of a report: what it shows of a text, its concepts and its units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inspection_cases as made
from report_pages import (  # noqa: F401
    CASE,
    SHOWN,
    TEXT,
    Open,
    browser_fixture,
    centre,
    check_colours,
    classes,
    frames,
    open_report_fixture,
    visible_units,
)


def test_it_opens_with_the_concept_that_a_unit_tells_best(open_report: Open) -> None:
    page = open_report(CASE)
    assert page.text_content("#unit-name") == "l0[2]"
    assert page.input_value("#concept") == "inside quotes"
    assert page.text_content(".cards > .current .name") == "inside quotes"
    assert "8 units, 2 concepts" in page.text_content("#summary")
    cards = [card.text_content() for card in page.query_selector_all(".cards > li")]
    assert cards[0].startswith("inside quotesAUC 1.000l0[2]l0[5]")
    assert cards[0].endswith("yes > +0.25, p < 0.001 · 2 units together: 0.990")
    assert cards[1].startswith("positionR² 0.950l0[3]")
    check_colours(page, 2)
    assert visible_units(page) == SHOWN


def test_a_click_on_a_unit_colours_the_text_by_it(open_report: Open) -> None:
    page = open_report(CASE)
    page.click("[role=option]:has-text('l0[6]')")
    assert page.text_content("#unit-title") == "l0[6]"
    check_colours(page, 6)
    page.click(".cards > li:has-text('position') button.chip:has-text('l0[3]')")
    assert page.input_value("#concept") == "position"
    check_colours(page, 3)
    page.click("#next")
    assert page.text_content("#unit-name") == "l0[5]"
    page.click("#previous")
    page.click("#previous")
    check_colours(page, 2)


def test_the_truth_of_a_concept_is_underlined(open_report: Open) -> None:
    page = open_report(CASE)

    def check(expected: list[str | None]) -> None:
        frames(page)
        drawn = [level is not None for level in classes(page, "[pn][0-9]+")]
        marks = classes(page, "t[1-8]")
        for mark, truth, seen in zip(marks, expected, drawn, strict=True):
            assert not seen or mark == truth

    check(["t8" if inside else None for inside in made.inside_quotes(TEXT)])
    position = CASE.concepts["position"].values
    page.select_option("#concept", "position")
    assert page.text_content("#unit-name") == "l0[2]"
    eighths = np.floor(8 * position / position.max() + 0.5).astype(int)
    check([f"t{eighth}" if eighth else None for eighth in eighths])
    page.uncheck("#underline")
    check([None] * len(TEXT))
    page.check("#underline")
    page.select_option("#concept", "")
    check([None] * len(TEXT))


def test_a_unit_shows_its_line_extremes_and_weights(open_report: Open) -> None:
    page = open_report(CASE)
    line = TEXT.splitlines(keepends=True)[1]
    bars = page.query_selector_all("#curve g")
    assert len(bars) == len(line)
    heights = page.eval_on_selector_all(
        "#curve rect.positive, #curve rect.negative",
        "(all) => all.map((one) => Number(one.getAttribute('height')))",
    )
    start = TEXT.index("line 1")
    values = CASE.activations[start : start + len(line), 2]
    np.testing.assert_allclose(heights, 56 * np.abs(values) / 0.8, atol=0.5 * 56 / 31 + 1e-6)
    assert len(page.query_selector_all("#curve .held")) == made.inside_quotes(line).sum()
    assert len(page.query_selector_all("#curve .threshold")) == 1
    page.click("#curve g:nth-of-type(1)")
    assert page.text_content("#status").startswith("line 2, column 1")
    assert page.text_content("#largest .badge") == "+0.80"
    assert page.text_content("#smallest .badge") == "−0.10"
    places: list[int] = []
    for place in page.query_selector_all("#largest button"):
        place.click()
        assert "inside quotes: yes" in page.text_content("#status")
        places.append(page.evaluate("() => document.querySelector('[data-cursor]').n"))
    assert len(places) == 5
    assert np.abs(np.diff(places)).min() > 40  # each shows another piece of the text
    colour = page.eval_on_selector("#largest .marked", "(one) => one.classList[0]")
    assert colour == "p31"
    weights = [row.text_content() for row in page.query_selector_all("#input-weights li")]
    order = np.argsort(-CASE.input_weights["i"][2])
    largest = order[0]
    char = {"\n": "↵", " ": "␣"}.get(CASE.vocabulary[largest], CASE.vocabulary[largest])
    assert weights[0] == f"{char}+{CASE.input_weights['i'][2][largest]:.2f}"
    page.click("#gates button:has-text('f')")
    assert page.text_content("#input-weights li").endswith(
        f"+{CASE.input_weights['f'][2].max():.2f}"
    )


def test_scores_of_both_kinds_are_compared_by_their_strength(open_report: Open) -> None:
    quotes, position = CASE.concepts["inside quotes"], CASE.concepts["position"]
    concepts = {
        "inside quotes": replace(quotes, score=np.full(8, 0.7)),  # 0.4 of the way from chance
        "position": replace(position, score=np.full(8, 0.5)),
    }
    page = open_report(replace(CASE, concepts=concepts))
    scores = page.eval_on_selector_all(
        "#scores li",
        "(all) => all.map((one) => [one.firstChild.textContent,"
        " Number(one.querySelector('.bar').style.getPropertyValue('--part')).toFixed(2)])",
    )
    assert scores == [["position", "0.50"], ["inside quotes", "0.40"]]


def test_units_without_weights_of_characters_say_so(open_report: Open) -> None:
    case = made.quoting(TEXT)
    case.input_weights["i"][:] = np.nan
    case.output_weights[:] = np.nan
    page = open_report(case)
    assert page.text_content("#input-weights") == "It reads the layer below, not characters."
    assert page.text_content("#output-weights") == "The layer above reads it, not the output."


def test_a_hostile_text_is_shown_as_text(open_report: Open) -> None:
    text = 'a</script><img src=x onerror="alert(1)">\x00\x1b\r\n\U0001f600é\u202eשלום\u200d&lt;\n\n'
    case = made.inspection(text, np.linspace(-1, 1, len(text))[:, None], [])
    page = open_report(replace(case, units=("<b>u</b>",)))
    spelled = page.eval_on_selector_all(".row > span", "(all) => all.map((one) => one.textContent)")
    assert len(spelled) == len(text)
    shown = {"\x00": "␀", "\x1b": "␛", "\r": "␍", "\n": "", "\u202e": "U+202E", "\u200d": "U+200D"}
    assert spelled == [shown.get(char, char) for char in text]
    assert page.query_selector_all("img, b") == []
    assert page.text_content("#unit-title") == "<b>u</b>"
    assert page.text_content("#tells") == "Its largest value, up or down, is 1.00."
    x = [centre(page, text.index(char))[0] for char in "שלום"]
    assert x == sorted(x)  # in the order in which the model reads


def test_no_concepts_and_one_character(open_report: Open) -> None:
    page = open_report(made.inspection("a", np.array([[0.0, 1.0]]), []))
    assert page.input_value("#concept") == ""
    page.focus("#text")
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowLeft", "Enter", ".", "Escape"):
        page.keyboard.press(key)
    assert page.text_content("#status") == "line 1, column 1 · a · l0[1] +1.00"


def test_left_out_units_are_counted(open_report: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnfast.inspection.report.LIMIT", 90_000)
    characters = 10_000
    values = np.random.default_rng(0).uniform(-1, 1, size=(characters, 20))
    page = open_report(made.inspection("ab c\n" * (characters // 5), values, []))
    kept = len(visible_units(page))
    assert 1 <= kept < 20
    assert f"{20 - kept} of 20 units are left out" in page.text_content("#left-out")


def test_a_browser_that_is_too_old_is_told(open_report: Open, browser: Any, tmp_path: Path) -> None:
    del open_report
    CASE.save_html(tmp_path / "report.html")
    page = browser.new_page()
    page.add_init_script("delete globalThis.DecompressionStream")
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("#failure:visible")
    assert "It needs a browser of 2023 or later." in page.text_content("#failure")
    page.close()
