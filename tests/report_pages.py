"""Reports in a headless Chromium, for tests that import the fixtures `browser` and `open_report`.

One browser serves a file of tests. Messages in its console fail a test, as do requests to anything
but the report itself.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inspection_cases as made

Open = Callable[..., Any]
TEXT = "".join(
    f'line {n}: say "one" and "four" or "seven" then\n\tnone\n' if n % 3 else f"nothing {n}\n"
    for n in range(60)
)
CASE = made.quoting(TEXT)
SHOWN = ["l0[2]", "l0[3]", "l0[5]", "l0[0]", "l0[1]", "l0[4]", "l0[6]", "l0[7]"]  # their order


@pytest.fixture(name="browser", scope="module")
def browser_fixture() -> Iterator[Any]:
    """Yield a headless Chromium that playwright drives."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        # Chromium has no sandbox for root, as whom containers run, and hangs with a sanitizer.
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox"],
            env={**os.environ, "LD_PRELOAD": ""},
        )
        yield browser
        browser.close()


@pytest.fixture(name="open_report")
def open_report_fixture(browser: Any, tmp_path: Path) -> Iterator[Open]:
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


def is_in_view(page: Any, selector: str, box: str) -> bool:
    """Return whether an element lies within the height of a box that scrolls."""
    inside = page.evaluate(
        "(names) => { const [one, box] = names.map((name) =>"
        " document.querySelector(name).getBoundingClientRect());"
        " return box.top <= one.top && one.bottom <= box.bottom; }",
        [selector, box],
    )
    return bool(inside)


def centre(page: Any, n: int) -> tuple[float, float]:
    """Return the place on screen of the centre of a character."""
    box = page.evaluate(
        f"() => {{ const b = document.querySelectorAll('.row > span')[{n}].getBoundingClientRect();"
        " return [b.x, b.y, b.width, b.height]; }"
    )
    return box[0] + box[2] / 2, box[1] + box[3] / 2
