"""The file of a report: its size, its data and its safety; views in notebooks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inspection_cases as made
from rnnfast.inspection import packing, report

TEXT = 'say "one" and "two"\nthen "three" here\n'
HOSTILE = 'a</script><script>alert(1)</script><img src=x onerror=alert(1)>"&amp;"\x00\x1b\r\n'


class Elements(HTMLParser):
    """Collects the elements of a page, as a browser finds them, with their contents."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, content = self.found[-1]
            self.found[-1] = tag, attributes, content + data

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}, ""))

    def content(self, name: str) -> str:
        return next(
            content for _, attributes, content in self.found if attributes.get("id") == name
        )


def written(inspection: Any, path: Path, **options: Any) -> tuple[str, dict[str, Any], Any]:
    """Return the page, its facts and the steps of its units (U, N)."""
    inspection.save_html(path, **options)
    page = path.read_text(encoding="utf-8")
    return page, *data_of(page)


def data_of(page: str) -> tuple[dict[str, Any], Any]:
    """Return the facts of a page and the steps of its units (U, N)."""
    elements = Elements(page)
    facts = json.loads(zlib.decompress(base64.b64decode(elements.content("facts"))))
    steps = zlib.decompress(base64.b64decode(elements.content("values")))
    return facts, np.frombuffer(steps, np.uint8).reshape(len(facts["units"]), -1)


def test_the_file_has_the_text_the_values_and_the_truth(tmp_path: Path) -> None:
    inspection = made.quoting(TEXT)
    _, facts, steps = written(inspection, tmp_path / "report.html")
    assert facts["text"] == TEXT
    assert facts["left_out"] == 0
    assert {unit["name"] for unit in facts["units"]} == set(inspection.units)
    for unit, row in zip(facts["units"], steps, strict=True):
        values = inspection.activations[:, inspection.units.index(unit["name"])]
        # Half a step of rounding, and 5 digits of the scale.
        error = np.abs((row.astype(float) - 31) / 31 * unit["scale"] - values).max()
        assert error <= unit["scale"] * (0.5 / 31 + 1e-4), unit
    quotes, position = facts["concepts"]
    assert quotes["truth"] == made.inside_quotes(TEXT).astype(int).tolist()
    assert position["truth"] == inspection.concepts["position"].values.tolist()
    assert quotes["threshold"] == [0.25] * 8
    assert position["threshold"] == [None] * 8
    assert quotes["probe"] == {"units": ["l0[0]", "l0[1]"], "score": 0.99}


def test_units_come_in_the_order_of_their_best_place(tmp_path: Path) -> None:
    _, facts, _ = written(made.quoting(TEXT), tmp_path / "report.html")
    # Units 2 and 3 are the best for a concept, and 2 tells its own better. Second are 5, and 0 in a
    # draw with the others.
    assert [unit["name"] for unit in facts["units"]][:4] == ["l0[2]", "l0[3]", "l0[5]", "l0[0]"]
    assert [facts["concepts"][unit["best"]]["name"] for unit in facts["units"]][:3] == [
        "inside quotes",
        "position",
        "inside quotes",
    ]


def test_the_shown_weights_are_the_largest_and_the_smallest(tmp_path: Path) -> None:
    inspection = made.quoting(TEXT)
    inspection.output_weights[2] = np.nan  # as of a unit below the last layer
    _, facts, _ = written(inspection, tmp_path / "report.html")
    weights = inspection.input_weights["f"][2]
    order = np.argsort(-weights)
    shown = facts["gates"][1]["weights"][0]
    assert [column for column, _ in shown] == [*order[:6].tolist(), *order[-6:].tolist()]
    np.testing.assert_allclose(
        [weight for _, weight in shown], weights[[c for c, _ in shown]], 1e-4
    )
    assert facts["outputs"][0] is None
    assert facts["outputs"][1] is not None


@settings(max_examples=50, deadline=None)
@given(text=st.text(min_size=1, max_size=40))
def test_any_text_comes_through(text: str) -> None:
    inspection = made.inspection(text, np.zeros((len(text), 1)), [])
    facts, steps = data_of(report.report_html(inspection, 0, len(text)))
    assert facts["text"] == text
    assert steps.tolist() == [[31] * len(text)]


def test_halves_of_a_character_stay_two_characters(tmp_path: Path) -> None:
    text = "\ud83d\ude00\U0001f600"
    _, facts, _ = written(
        made.inspection(text, np.zeros((3, 1)), [], vocabulary="a\ud83d"), tmp_path / "report.html"
    )
    assert facts["text"] == "\ufffd\ufffd\U0001f600"
    assert facts["vocabulary"] == ["a", "\ufffd"]


def test_a_text_cannot_leave_its_place(tmp_path: Path) -> None:
    inspection = made.quoting(HOSTILE)
    concept = replace(inspection.concepts["position"], name=HOSTILE)
    inspection = replace(inspection, concepts={HOSTILE: concept}, units=(HOSTILE,) * 8)
    page, _, _ = written(inspection, tmp_path / "report.html")
    usual, _, _ = written(made.quoting("a"), tmp_path / "usual.html")
    structure = [(tag, attributes.get("id")) for tag, attributes, _ in Elements(page).found]
    assert structure == [(t, a.get("id")) for t, a, _ in Elements(usual).found]
    assert "alert(1)" not in page


def test_the_page_may_load_nothing_and_run_nothing_else(tmp_path: Path) -> None:
    page, _, _ = written(made.quoting(TEXT), tmp_path / "report.html")
    found = Elements(page).found
    policy = next(a["content"] for tag, a, _ in found if tag == "meta" and "http-equiv" in a)
    style = next(content for tag, _, content in found if tag == "style")
    script = next(c for tag, a, c in found if tag == "script" and a["type"] == "module")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for code in (style, script):
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}


def walks(characters: int, units: int) -> Any:
    """Return values that change slowly and saturate, as those of memory cells do."""
    rng = np.random.default_rng(1)
    steps = rng.normal(scale=0.3, size=(characters, units)).astype(np.float32)
    held = np.where(rng.random(steps.shape) < 0.9, 0, steps)
    return np.tanh(np.cumsum(held, axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "walks"])
def test_a_report_is_smaller_than_5_mb(kind: str, tmp_path: Path) -> None:
    characters, units = 20_000, 512
    rng = np.random.default_rng(0)
    values = (
        rng.uniform(-1, 1, size=(characters, units))
        if kind == "noise"
        else walks(characters, units)
    )
    truth = rng.random(characters) < 0.3
    concepts = [made.concept(f"c{k}", truth, rng.random(units)) for k in range(15)]
    text = "".join(rng.choice(list("abcdefghij\n"), size=characters))
    vocabulary = "".join(map(chr, range(32, 132)))
    inspection = made.inspection(text, values, concepts, vocabulary=vocabulary)
    _, facts, steps = written(inspection, tmp_path / "report.html")
    size = (tmp_path / "report.html").stat().st_size
    assert size <= report.LIMIT
    assert facts["left_out"] + len(facts["units"]) == units == facts["total"]
    names = {unit["name"] for unit in facts["units"]}
    if kind == "noise":
        # Of 5 MB, 3.75 MB are left by base64: 6 bits for each of 20,000 values are 15 kB a unit.
        assert 200 < len(names) < 250
        assert size > 0.97 * report.LIMIT
    else:
        assert len(names) == units
    for concept in concepts:
        assert {inspection.units[u] for u in concept.ranking[:10]} <= names
    assert steps.shape == (len(names), characters)


@settings(deadline=None)
@given(rows=st.lists(st.binary(min_size=20, max_size=20), max_size=8), limit=st.integers(16, 300))
def test_as_many_rows_are_kept_as_fit(rows: list[bytes], limit: int) -> None:
    array = np.array([list(row) for row in rows], dtype=np.uint8).reshape(len(rows), 20)
    packed, kept = packing.deflate_rows(array, limit)
    assert len(packed) <= limit
    assert zlib.decompress(packed) == b"".join(rows[:kept])
    if kept < len(rows):  # one more row takes at most its bytes and the headers of two blocks
        assert len(packed) + 20 + 32 > limit


def test_the_part_that_is_shown(tmp_path: Path) -> None:
    text = "0123456789" * 10
    values = np.arange(100.0)[:, None] / 100
    inspection = made.inspection(text, values, [], held_out=70)
    path = tmp_path / "report.html"
    for options, start, stop in (
        ({}, 0, 100),
        ({"length": 10}, 70, 80),
        ({"length": 50}, 50, 100),
        ({"start": 95, "length": 50}, 95, 100),
        ({"start": 3, "length": 4}, 3, 7),
    ):
        _, facts, steps = written(inspection, path, **options)
        assert (facts["start"], facts["text"]) == (start, text[start:stop])
        assert steps.shape == (1, stop - start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length: expected at least 1, got 0"),
        ({"length": 1e4}, "length: expected an integer, got float"),
        ({"start": 38}, "start: expected at most 37, got 38"),
        ({"start": -1}, "start: expected at least 0, got -1"),
    ],
)
def test_a_part_outside_the_text_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        made.quoting(TEXT).save_html(tmp_path / "report.html", **options)
    assert not list(tmp_path.iterdir())


def test_too_long_a_part_is_refused(tmp_path: Path) -> None:
    characters = 5_000_000
    values = np.random.default_rng(0).uniform(-1, 1, size=(characters, 1))
    inspection = made.inspection("ab" * (characters // 2), values, [])
    with pytest.raises(ValueError, match=r"length: expected so few characters that .* 5,000,000"):
        inspection.save_html(tmp_path / "report.html", length=characters)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    inspection = made.quoting(TEXT)
    inspection.activations[3, 1] = np.nan
    with pytest.raises(
        ValueError, match=r"activations: expected finite values, got nan in l0\[1\]"
    ):
        inspection.save_html(tmp_path / "report.html")


def test_concepts_that_no_unit_surely_tells_come_last(tmp_path: Path) -> None:
    inspection = made.quoting(TEXT)
    concepts = dict(inspection.concepts)
    unsure = np.full(8, 0.2)
    concepts["inside quotes"] = replace(concepts["inside quotes"], p_value=unsure)
    _, facts, _ = written(replace(inspection, concepts=concepts), tmp_path / "report.html")
    assert [concept["name"] for concept in facts["concepts"]] == ["position", "inside quotes"]
    assert {unit["best"] for unit in facts["units"]} == {0}
    concepts["position"] = replace(concepts["position"], p_value=unsure)
    _, facts, _ = written(replace(inspection, concepts=concepts), tmp_path / "report.html")
    assert {unit["best"] for unit in facts["units"]} == {None}
