"""The page of a report in a headless Chromium: what it shows, and that it can be used.

One browser serves the file. Messages in its console fail a test, as do requests to anything but the
file itself.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inspection_cases as made

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no Chromium", allow_module_level=True)

Open = Callable[..., Any]
TEXT = "".join(
    f'line {n}: say "one" and "four" or "seven" then\n\tnone\n' if n % 3 else f"nothing {n}\n"
    for n in range(60)
)
CASE = made.quoting(TEXT)
QUIET = replace(CASE, activations=CASE.activations * np.isin(np.arange(8), [2, 5]))  # no noise
SHOWN = ["l0[2]", "l0[3]", "l0[5]", "l0[0]", "l0[1]", "l0[4]", "l0[6]", "l0[7]"]  # their order


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Chromium has no sandbox for root, as whom containers run.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_report(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Yield a function that writes the report of an inspection and opens it on a new page."""
    contexts, complaints = [], []

    def open_page(inspection: Any, **options: Any) -> Any:
        path = tmp_path / "report.html"
        inspection.save_html(path)
        options = {"viewport": {"width": 1400, "height": 900}, "color_scheme": "light"} | options
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend(foreign(request.url)))
        page.goto(path.as_uri())
        page.wait_for_selector("#unit-name:not(:empty)")
        frames(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def foreign(url: str) -> list[str]:
    return [] if url.startswith(("file:", "blob:")) else [url]


def frames(page: Any) -> None:
    """Wait until the page has drawn what changed."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def classes(page: Any, pattern: str) -> list[str | None]:
    """Return the class of each character that matches a pattern; None for those without one."""
    found = page.eval_on_selector_all(".row > span", "(all) => all.map((one) => one.className)")
    matches = [re.search(rf"\b{pattern}\b", names) for names in found]
    return [match[0] if match else None for match in matches]


def levels(unit: int) -> list[str]:
    """Return what the page should show as the level of each character."""
    values = CASE.activations[:, unit]
    steps = np.rint(31 * values / np.abs(values).max()).astype(int)
    return [f"{'n' if step < 0 else 'p'}{abs(step)}" for step in steps]


def check_colours(page: Any, unit: int) -> None:
    frames(page)
    shown = classes(page, "[pn][0-9]+")
    assert sum(level is not None for level in shown) > 300
    for got, expected in zip(shown, levels(unit), strict=True):
        assert got in (None, expected)


def visible_units(page: Any) -> list[str]:
    found = page.eval_on_selector_all(
        "[role=option]:not([hidden])", "(all) => all.map((one) => one.firstChild.textContent)"
    )
    assert isinstance(found, list)
    return found


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


def is_in_view(page: Any, selector: str, box: str) -> bool:
    """Return whether an element lies within the height of a box that scrolls."""
    inside = page.evaluate(
        "(names) => { const [one, box] = names.map((name) =>"
        " document.querySelector(name).getBoundingClientRect());"
        " return box.top <= one.top && one.bottom <= box.bottom; }",
        [selector, box],
    )
    return bool(inside)


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


def centre(page: Any, n: int) -> tuple[float, float]:
    """Return the place on screen of the centre of a character."""
    box = page.evaluate(
        f"() => {{ const b = document.querySelectorAll('.row > span')[{n}].getBoundingClientRect();"
        " return [b.x, b.y, b.width, b.height]; }"
    )
    return box[0] + box[2] / 2, box[1] + box[3] / 2


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
