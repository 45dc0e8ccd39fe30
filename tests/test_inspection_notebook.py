"""Views of inspections in notebooks: they need no script, and stay small."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

import inspection_cases as made

TEXT = 'say "one" and "two"\nthen "three" here\n'


class Balanced(HTMLParser):
    """Checks that elements are closed in order, and collects the kinds of elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.kinds: set[str] = set()
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.open.append(tag)
        self.kinds.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html))


def test_an_inspection_shows_the_ranking_and_coloured_text() -> None:
    view = made.quoting(TEXT)._repr_html_()
    assert Balanced(view).kinds <= {"div", "p", "table", "tr", "th", "td", "span", "u"}
    rows = [
        [text_of(cell) for cell in re.findall("<td[^>]*>(.*?)</td>", row)]
        for row in re.findall("<tr>(.*?)</tr>", view)
    ]
    others = "l0[5], l0[0], l0[1], l0[3]"
    assert rows[1] == ["inside quotes", "l0[2]", "AUC 1.000", "> +0.25", "< 0.001", others]
    assert rows[2][:4] == ["position", "l0[3]", "R² 0.950", ""]
    # The best unit is 0.8 in quotes, its largest value, and -0.1 elsewhere.
    assert '<span style="background:#f0604a99"><u>&quot;one</u></span>' in view
    assert '<span style="background:#3f96e81f">&quot; and </span>' in view


def test_a_prompt_shows_the_ranking_and_not_the_text() -> None:
    inspection = made.quoting(TEXT)
    first, header, *rows = repr(inspection).splitlines()
    assert first == "Inspection of 8 units, 2 concepts, 38 characters"
    assert re.split("  +", header) == ["concept", "best unit", "score", "threshold", "p", "next"]
    assert rows[0].startswith("inside quotes  l0[2]      AUC 1.000  > +0.25    < 0.001  l0[5], ")
    first, header, *rows = repr(inspection.concepts["inside quotes"]).splitlines()
    assert first == "Concept 'inside quotes' (yes/no)"
    assert re.split("  +", rows[0]) == ["2", "AUC 1.000", "> +0.25", "< 0.001"]
    assert len(rows) == 8


def test_a_view_stays_below_200_kb() -> None:
    rng = np.random.default_rng(0)
    characters, units = 30_000, 64
    concepts = [
        made.concept(f"concept {k}", rng.random(characters) < 0.5, rng.random(units))
        for k in range(60)
    ]
    text = "".join(rng.choice(list('&<"'), size=characters))
    values = rng.uniform(-1, 1, size=(characters, units))
    view = made.inspection(text, values, concepts, held_out=10_000)._repr_html_()
    assert 50_000 < len(view.encode()) < 200_000
    assert "64 units, 60 concepts, 30,000 characters; the 25 that units tell best:" in view
    best = max(concepts, key=lambda one: one.score.max())
    assert view.index(best.name) == view.index("concept ", view.index("</th></tr>"))


def test_pieces_come_from_where_held_out_text_varies_most() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(2000))
    values = np.zeros(2000, dtype=bool)
    values[100:200:2] = True  # livelier, but not held out
    values[1500:1600:3] = True
    activations = np.zeros((2000, 1))
    case = made.inspection(
        text, activations, [made.concept("c", values, np.ones(1))], held_out=1000
    )
    view = case._repr_html_()
    assert text[1550] in view
    assert text[150] not in view


def test_texts_are_escaped() -> None:
    text = 'a</div><script>alert(1)</script>\x00\x1b\ud83d"\r\n'
    inspection = made.quoting(text)
    concept = replace(inspection.concepts["inside quotes"], name="<b>")
    view = replace(inspection, concepts={"<b>": concept})._repr_html_()
    assert Balanced(view).kinds <= {"div", "p", "table", "tr", "th", "td", "span", "u"}
    assert text_of(view).endswith('a</div><script>alert(1)</script>␀␛?"␍\n')
    assert Balanced(concept._repr_html_()).kinds <= {"div", "p", "b", "table", "tr", "th", "td"}


def test_a_concept_shows_its_best_units_and_probes() -> None:
    concept = made.quoting(TEXT).concepts["inside quotes"]
    view = concept._repr_html_()
    Balanced(view)
    assert text_of(view).startswith("inside quotes (yes/no)unitscorethresholdp2AUC 1.000> +0.25")
    assert "5</td>" in view
    assert text_of(view).endswith(
        "score by the number of units of a linear probe: 1: 0.900, 2: 0.990"
    )
    assert "probe" not in replace(concept, probe=None)._repr_html_()


@pytest.mark.parametrize("length", [1, 5])
def test_short_texts_and_no_concepts(length: int) -> None:
    none = made.inspection("a" * length, np.zeros((length, 2)), [])
    assert Balanced(none._repr_html_()).kinds <= {"div", "p", "table", "tr", "th"}
    values = np.ones(length, dtype=bool)
    one = made.inspection(
        "a" * length, np.zeros((length, 2)), [made.concept("c", values, np.array([np.nan, 0.5]))]
    )
    assert "AUC 0.500" in one._repr_html_()
