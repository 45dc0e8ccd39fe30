"""The page of a report: keyboards, phones, contrast and speed."""

from __future__ import annotations

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
    is_in_view,
    open_report_fixture,
    visible_units,
)

RATIOS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const over = (...colours) => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((v) => {
      const part = v / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
  };
  const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((p, q) => p - q);
    return (light + 0.05) / (dark + 0.05);
  };
  const page = getComputedStyle(document.body).backgroundColor;
  const levels = [...Array(31).keys()].flatMap((k) => [`p${k + 1}`, `n${k + 1}`]).map((level) => {
    const span = document.createElement('span');
    span.className = level;
    document.getElementById('text').append(span);
    const style = getComputedStyle(span);
    const found = ratio(over(page, style.backgroundColor), over(page, style.color));
    span.remove();
    return found;
  });
  const grounds = (element) => {
    const all = [];
    for (let one = element; one; one = one.parentElement) {
      all.unshift(getComputedStyle(one).backgroundColor);
    }
    return all;
  };
  const kinds = 'h1, h2, h3, p, button, label, .quiet, .badge, select';
  const texts = [...document.querySelectorAll(kinds)]
    .filter((one) => one.checkVisibility() && !one.disabled)
    .map((one) => {
      const behind = grounds(one);
      return [ratio(over(...behind), over(...behind, getComputedStyle(one).color)), one.outerHTML];
    });
  return { levels, texts };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(scheme: str, open_report: Open) -> None:
    page = open_report(CASE, color_scheme=scheme)
    page.focus("#text")
    page.keyboard.press("Shift+ArrowRight")
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 27)"}[scheme]
    found = page.evaluate(RATIOS)
    assert len(found["levels"]) == 62
    assert min(found["levels"]) >= 4.5  # of WCAG 2.2, level AA
    assert len(found["texts"]) > 30
    worst, element = min(found["texts"])
    assert worst >= 4.5, element


def test_a_phone_shows_all_without_scrolling_sideways(open_report: Open) -> None:
    size = {"width": 390, "height": 844}
    page = open_report(CASE, viewport=size, is_mobile=True, has_touch=True)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    for section in ("#reading", "#unit", "#ranking", "#curve", "#units"):
        assert page.is_visible(section)
    page.tap("#next")
    check_colours(page, 3)
    page.evaluate("() => document.querySelectorAll('.row')[2].scrollIntoView()")
    x, y = centre(page, TEXT.index("\t") + 2)
    page.touchscreen.tap(x, y)
    assert page.text_content("#status").startswith("line 3, column 3")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_all_controls_have_names_and_can_be_reached_by_tab(open_report: Open) -> None:
    page = open_report(CASE)
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        one = page.evaluate(
            "() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " const label = e.getAttribute('aria-label') || e.labels?.[0]?.textContent.trim()"
            " || document.getElementById(e.getAttribute('aria-labelledby'))?.textContent"
            " || e.textContent.trim(); return [e.id, e.tagName, label, s.outlineStyle]; }"
        )
        if one[1] == "BODY":
            break
        reached.add(one[0])
        assert one[2], one
        assert one[3] != "none", one  # the focus is visible
    controls = {"previous", "next", "underline", "concept", "text", "curve", "filter", "units"}
    assert controls <= reached


COLOURINGS = 5
COLOURING = """(times) => {
  for (let k = 0; k < times; k++) {
    document.getElementById('next').click();
    document.getElementById('text').getBoundingClientRect();  // computes styles and layout
  }
}"""


def busy(session: Any) -> float:
    """Return for how many seconds of CPU time the page has been busy, whatever else runs."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")


@pytest.mark.parametrize("kind", ["lines", "one line"])
def test_20_000_characters_are_recoloured_in_100_ms(kind: str, open_report: Open) -> None:
    rng = np.random.default_rng(0)
    text = ("".join(rng.choice(list("abcdefg "), size=59)) + "\n "[kind == "one line"]) * 334
    text = text[:20_000]
    values = rng.uniform(-1, 1, size=(len(text), 16))
    page = open_report(
        made.inspection(text, values, [made.concept("c", values[:, 0] > 0, np.ones(16))])
    )
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = busy(session)
    page.evaluate(COLOURING, COLOURINGS)
    assert 0 < busy(session) - before < 0.1 * COLOURINGS


def test_the_keyboard_moves_through_units(open_report: Open) -> None:
    page = open_report(CASE)
    page.focus("#units")
    page.keyboard.press("ArrowDown")
    assert page.text_content("#unit-name") == SHOWN[1]
    assert page.get_attribute("#units", "aria-activedescendant") == "unit-1"
    assert page.get_attribute("#unit-1", "aria-selected") == "true"
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    assert page.text_content("#unit-name") == SHOWN[-1]
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    assert page.text_content("#unit-name") == SHOWN[0]
    page.keyboard.press(".")
    check_colours(page, 3)
    page.keyboard.press(",")
    page.keyboard.press(",")
    assert page.text_content("#unit-name") == SHOWN[-1]
    page.fill("#filter", "quotes")
    assert "l0[2]" in visible_units(page)
    assert "l0[3]" not in visible_units(page)
    page.focus("#units")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert page.text_content("#unit-name") == "l0[5]"
    page.focus("#filter")
    page.keyboard.type(".,.")
    assert page.text_content("#unit-name") == "l0[5]"  # a letter of the filter is no key


def test_the_chosen_unit_is_in_view(open_report: Open) -> None:
    page = open_report(made.inspection("ab", np.zeros((2, 200)), []))
    page.focus("#units")
    for key in ("End", "ArrowUp", "ArrowUp", "Home", "ArrowDown"):
        page.keyboard.press(key)
        assert is_in_view(page, "[role=option][aria-selected=true]", "#units")


def test_the_keyboard_moves_through_the_text(open_report: Open) -> None:
    page = open_report(CASE)
    page.focus("#text")

    def check(line: int, column: int, char: str, n: int) -> None:
        quoted = "yes" if made.inside_quotes(TEXT)[n] else "no"
        value = "+0.80" if quoted == "yes" else "−0.10"
        place = f"line {line}, column {column}"
        parts = (place, char, f"l0[2] {value}", f"inside quotes: {quoted}")
        assert page.text_content("#status") == " · ".join(parts)
        assert page.evaluate("() => document.querySelector('[data-cursor]').n") == n

    start = TEXT.index("line 1")
    opening = TEXT.index('"')
    check(2, 13, '"', opening)  # where the concept first changes
    page.keyboard.press("ArrowRight")
    check(2, 14, "o", opening + 1)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    check(2, 12, "␣", opening - 1)
    page.keyboard.press("Home")
    check(2, 1, "l", start)
    page.keyboard.press("ArrowDown")
    check(3, 1, "⇥", TEXT.index("\t"))
    page.keyboard.press("End")
    check(3, 6, "↵", TEXT.index("\t") + 5)
    page.keyboard.press("ArrowUp")
    check(2, 6, "1", start + 5)
    page.keyboard.press("PageUp")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    check(1, 1, "n", 0)
    for _ in range(12):
        page.keyboard.press("PageDown")
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.querySelector('[data-cursor]').n") == len(TEXT) - 1
    assert is_in_view(page, "[data-cursor]", "#text")
    check_colours(page, 2)


def test_a_long_line_has_rows_and_columns(open_report: Open) -> None:
    text = "x" * 900 + "\n" + "y" * 10
    page = open_report(made.inspection(text, np.zeros((len(text), 1)), []))
    page.focus("#text")
    for end, start in ((400, 401), (800, 801)):
        page.keyboard.press("End")
        assert page.text_content("#status").startswith(f"line 1, column {end} · x")
        page.keyboard.press("ArrowRight")
        assert page.text_content("#status").startswith(f"line 1, column {start} · x")
    page.keyboard.press("End")
    assert page.text_content("#status").startswith("line 1, column 901 · ↵")
    page.keyboard.press("ArrowDown")
    assert page.text_content("#status").startswith("line 2, column 10 · y")
