"""Annotations of texts: what is true at each character, in whole texts and in cut ones."""

from __future__ import annotations

import io
import random
import sysconfig
import tokenize
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pygments", reason="pygments is not installed")

from rnnfast.inspection import annotate, guess_language

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def shown(text: str, language: str, name: str) -> str:
    """Return the values of an annotation, a sign for each character of the text."""
    values = annotate(text, language)[name]
    assert values.shape == (len(text),)
    if values.dtype == bool:
        return "".join("#" if value else "." for value in values)
    return "".join(DIGITS[value] if value else "." for value in values)


# ---- any text


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("position in line", "ab\n  cd\n\ne", "12.1234..1"),
        ("line length so far", "ab\n  cd\n\ne", "12...12..1"),
        ("indentation", "    a\n\n  b\n\tc", "....444442228"),
        ("position in word", "a_1, bc", "123..12"),
        ("after a capital", "aB Cé É", ".#.#..#"),
        ("in a word of capitals", "ABC AbC A", ".##......"),
        ("in a number", "1,024.5. x2 3", "#######.....#"),
        ("in a URL", "(https://a.b/c) www.d", "........######.....##"),
        ("inside quotes", 'a "b" “c”.', "..##..##.."),
        ("inside quotes", 'a "b\n\nc "d', "..###...##"),
        ("depth of brackets", "(a [b]) ) (", "111221....1"),
        ("depth of brackets", "(a\n\nb", "1111."),
        ("end of sentence", 'A. "B c" d?! E', "..##........#."),
        ("position in sentence", "A b. C", "1234.1"),
        ("line of paragraph", "a\nb\n\nc\nd", ".112..11"),
    ],
)
def test_annotations_of_any_text(name: str, text: str, expected: str) -> None:
    assert shown(text, "prose", name) == expected


@given(st.text(alphabet='aB1 \n\t.,(")]“”_é', max_size=40))
def test_nothing_is_known_before_it_is_read(text: str) -> None:
    whole = annotate(text, "prose")
    for n in range(1, len(text) + 1):
        for name, values in annotate(text[:n], "prose").items():
            known_later = name == "in a number"  # 3.1 is a number once there is a digit after "."
            assert known_later or values[-1] == whole[name][n - 1], (name, n)


# ---- programs: below each line of a text, the values of an annotation (its line end included)

PYTHON = [
    "def f(x):",
    '    """Say \'it\'."""',
    '    if x["a"] == r\'b\\\'\' and f"{x:3}":  # "no"',
    "        return (1.5,",
    "            'y')",
    'y = 3 if q else "a',
    "w = 1",
]
C = [
    "#include <a.h>",
    '/* a "b" */',
    "int f(int x) { // one",
    "  if (x > 3 && g(\"a)\")) { return 'c'; }",
    '  for (i = 0; i < 3; i++) y[i] = "\\"";',
    "}",
]
LATEX = [
    "\\begin{document} A $x$, 50\\% of \\$5 \\[ y % $no",
    "\\] \\begin{align*} a \\end{align*}",
    "\\begin{itemize} ``Hi'' \\end{itemize}",
]
VALUES = {
    ("python", "in a number"): [
        "..........",
        "....................",
        "..............................................",
        "................###..",
        ".................",
        "....#..............",
        "....#",
    ],
    ("python", "inside quotes"): [
        "..........",
        "....##############..",
        ".........##.......####.......######...........",
        ".....................",
        "............##...",
        "................##.",
        ".....",
    ],
    ("python", "inside a comment"): [
        "..........",
        "....................",
        ".......................................######.",
        ".....................",
        ".................",
        "...................",
        ".....",
    ],
    ("python", "inside an if head"): [
        "..........",
        "....................",
        "......##############################..........",
        ".....................",
        ".................",
        "...................",
        ".....",
    ],
    ("python", "depth of brackets"): [
        ".....11...",
        "....................",
        "........1111..................................",
        "...............111111",
        "111111111111111..",
        "...................",
        ".....",
    ],
    ("python", "depth of blocks"): [
        "..........",
        "....1111111111111111",
        "1111111111111111111111111111111111111111111111",
        "111111112222222222222",
        "22222222222222222",
        "...................",
        ".....",
    ],
    ("python", "inside single quotes"): [
        "..........",
        "....................",
        ".........##.......####.......######...........",
        ".....................",
        "............##...",
        "................##.",
        ".....",
    ],
    ("python", "end of statement"): [
        ".........#",
        "####...............#",
        "####.........................................#",
        "########.............",
        "................#",
        "..................#",
        ".....",
    ],
    ("c", "in a number"): [
        "...............",
        "............",
        "......................",
        "..........#.............................",
        "...........#......#....................",
        ".",
    ],
    ("c", "inside quotes"): [
        "...............",
        "............",
        "......................",
        ".................###.............##.....",
        ".................................###...",
        ".",
    ],
    ("c", "inside a comment"): [
        "...............",
        ".#########..",
        "................#####.",
        "........................................",
        ".......................................",
        ".",
    ],
    ("c", "inside an if head"): [
        "...............",
        "............",
        "......................",
        "....##################..................",
        ".......................................",
        ".",
    ],
    ("c", "depth of brackets"): [
        "...............",
        "............",
        ".....111111..111111111",
        "1111122222222222333332112222222222222211",
        "111111222222222222222222111221111111111",
        ".",
    ],
    ("c", "depth of blocks"): [
        "...............",
        "............",
        ".............111111111",
        "1111111111111111111111112222222222222211",
        "111111111111111111111111111111111111111",
        ".",
    ],
    ("c", "end of statement"): [
        "...............",
        "............",
        ".............##.......",
        "........................##..........####",
        "##...................................##",
        "#",
    ],
    ("latex", "inside quotes"): [
        "...............................................",
        ".................................",
        ".................####...............",
    ],
    ("latex", "inside a comment"): [
        ".........................................#####.",
        ".................................",
        "....................................",
    ],
    ("latex", "in a formula"): [
        "...................##................##########",
        "#...............###############..",
        "....................................",
    ],
    ("latex", "in an environment"): [
        "...............................................",
        "................###############..",
        "..............#####################.",
    ],
    ("latex", "depth of environments"): [
        "...............................................",
        "................111111111111111..",
        "..............111111111111111111111.",
    ],
    ("latex", "depth of brackets"): [
        "......111111111......................1111111111",
        "1........1111111........1111111..",
        "......11111111.............11111111.",
    ],
    ("latex", "end of sentence"): [
        "...............................................",
        ".................................",
        "....................................",
    ],
}
TEXTS = {"python": PYTHON, "c": C, "latex": LATEX}


@pytest.mark.parametrize(("language", "name"), VALUES)
def test_annotations_of_programs(language: str, name: str) -> None:
    lines = TEXTS[language]
    values, found = shown("\n".join(lines), language, name), []
    for line in lines:
        found.append(values[: len(line) + 1])
        values = values[len(line) + 1 :]
    assert found == VALUES[language, name]


@pytest.mark.parametrize("language", ["python", "c"])
def test_inside_is_a_depth_of_at_least_one(language: str) -> None:
    found = annotate("\n".join(TEXTS[language]), language)
    for inside, depth in (("brackets", "brackets"), ("a block", "blocks")):
        assert (found[f"inside {inside}"] == (found[f"depth of {depth}"] >= 1)).all()


def test_three_quotes_are_told_from_one() -> None:
    text = "\n".join(PYTHON)
    quotes = annotate(text, "python")
    both = quotes["inside triple quotes"] | quotes["inside single quotes"]
    assert (both == quotes["inside quotes"]).all()
    prose = quotes["inside triple quotes"] | quotes["inside a comment"]
    assert (prose == quotes["in a comment or triple quotes"]).all()
    assert shown(text, "python", "inside triple quotes").count("#") == 14


def test_other_languages_are_those_of_pygments() -> None:
    text = 'fn main() { let x = "a"; /* b */ if (x) { 1 } }'
    assert shown(text, "rust", "inside quotes") == shown(text, "c", "inside quotes")
    assert shown(text, "rust", "inside a comment").index("#") == text.index("/*") + 1
    assert shown(text, "rust", "depth of blocks")[-3:] == "11."


# ---- against Python's own tokenizer


def modules(count: int) -> list[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    found = [path for path in sorted(folder.glob("*.py")) if path.stat().st_size > 20_000]
    return [path.read_text("utf-8") for path in random.Random(1).sample(found, count)]


def by_tokenize(source: str) -> dict[str, np.ndarray]:
    """Return annotations of a module that has no errors, by its tokens."""
    starts = np.cumsum([0, *map(len, source.splitlines(keepends=True))])
    result = {
        name: np.zeros(len(source), int)
        for name in ("inside quotes", "inside a comment", "depth of brackets", "depth of blocks")
    }
    opened, blocks, new = [], 0, True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        start, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if kind == "FSTRING_START":  # since Python 3.12
            opened.append(end - len(token.string.lstrip("rRfFbBuU")))
        elif kind == "FSTRING_END":
            result["inside quotes"][opened.pop() : end - 1] = 1
        elif kind == "STRING" and not opened:
            first = end - len(token.string.lstrip("rRfFbBuU"))
            result["inside quotes"][first : end - 1] = 1
        elif kind == "COMMENT":
            result["inside a comment"][start:end] = 1
        elif kind == "OP" and token.string in "([{}])" and not opened:
            result["depth of brackets"][start:] += 1 if token.string in "([{" else -1
        if kind in ("INDENT", "DEDENT"):
            blocks += 1 if kind == "INDENT" else -1
        elif kind == "NEWLINE":
            new = True
        elif new and kind not in ("NL", "COMMENT"):
            result["depth of blocks"][start:] = blocks
            new = False
    return result


def test_python_is_annotated_as_its_tokenizer_sees_it() -> None:
    for source in modules(3):
        found = annotate(source, "python")
        for name, expected in by_tokenize(source).items():
            wrong = np.flatnonzero(found[name] != expected)
            assert not wrong.size, (name, source[max(0, wrong[0] - 60) : wrong[0] + 20])


def test_a_text_may_begin_inside_a_docstring_or_a_comment() -> None:
    (source,) = modules(1)
    whole = annotate(source, "python")["inside triple quotes"]
    inside = np.flatnonzero(whole[: len(source) // 2])
    for cut in (inside[inside.size // 2], inside[-1] + 50):
        found = annotate(source[cut:], "python")["inside triple quotes"]
        assert (found == whole[cut:]).all()
    assert shown("a */ b /* c", "c", "inside a comment") == "###.....###"


def test_a_bracket_that_is_missing_counts_only_to_the_next_definition() -> None:
    assert shown("f(\ndef g():\n", "python", "depth of brackets") == ".11.....1..."
    assert shown("f((\n}\ng", "c", "depth of brackets") == ".1221.."


def test_what_is_known_of_a_program_is_known_when_it_is_read() -> None:
    """Only the kind of an opening quote, or of a number, may depend on the next few characters."""
    (source,) = modules(1)
    source = source[:4000]
    whole = annotate(source, "python")
    places = random.Random(0).sample(range(200, len(source)), 60)
    early = [annotate(source[: n + 1], "python") for n in places]
    for name, values in whole.items():
        same = [found[name][-1] == values[n] for n, found in zip(places, early, strict=True)]
        assert np.mean(same) >= 0.95, name


# ---- languages


def test_the_documentation_lists_every_annotation() -> None:
    page = (Path(__file__).parent.parent / "docs" / "inspection.md").read_text()
    for language in ("prose", "python", "c", "latex"):
        for name in annotate("a", language):
            assert f"`{name}`" in page, name


def test_languages_are_guessed() -> None:
    (module,) = modules(1)
    assert guess_language(module) == "python"
    assert guess_language("\n".join(C)) == "c"
    assert guess_language("\n".join(LATEX)) == "latex"
    assert guess_language("It was a dark and stormy night.\nThe rain fell; it fell.") == "prose"
    names = {"a.py": "python", "b.h": "c", "c.tex": "latex", "d.txt": "prose", "e.rs": "rust"}
    assert {name: guess_language("", name) for name in names} == names
    assert guess_language(module, "without_an_ending") == "python"


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match="language: expected python, c, latex, prose or another"):
        annotate("a", "klingon")
    with pytest.raises(TypeError, match="text: expected str, got bytes"):
        annotate(b"a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="language: expected str, got int"):
        annotate("a", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["prose", "python", "c", "latex"])
def test_short_texts_are_annotated(language: str) -> None:
    for text in ("", "a", '"', "$", "if", "/*", "\n\n"):
        for values in annotate(text, language).values():
            assert values.shape == (len(text),)
