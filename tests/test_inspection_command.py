"""`rnnfast inspect`: what it prints, for files and for what was held out, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from cli_cases import Capture, refused, rnnfast_, train
from planted_unit import model_with_a_quote_unit, text_with_quotes
from rnnfast.training import stdlib_text

pytestmark = pytest.mark.usefixtures("folder_with_a_text")


@pytest.fixture
def planted() -> Path:
    """Return the file of a model whose unit 3 knows quotes, beside a text with quotes."""
    model_with_a_quote_unit(16, 3).save("planted.safetensors")
    Path("quotes.txt").write_text(text_with_quotes(3000))
    return Path("planted.safetensors")


def row_of(out: str, name: str) -> list[str]:
    """Return the cells of the row that begins with a name."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    return next(row for row in rows if row and row[0] == name)


def test_the_best_units_of_each_concept_are_printed(capsys: Capture, planted: Path) -> None:
    code, out, err = rnnfast_(capsys, "inspect", planted, "quotes.txt", "--baseline")
    assert code == 0
    assert out.startswith("planted.safetensors: quotes.txt (3,000 characters, as prose)\n")
    _, unit, score, when, p, following, probe, untrained = row_of(out, "inside quotes")
    assert (unit, score, p, probe) == ("l0[3]", "AUC 1.000", "0.005", "1.000 by 1")
    assert when == "> 0.38"  # between 0, before the first quote, and tanh(1)
    assert following.count("l0[") == 2
    assert 0.5 <= float(untrained) < 0.9
    assert row_of(out, "position in word")[2].startswith("R2 ")
    assert row_of(out, "position in word")[3].startswith(("rises (ρ 0.", "falls (ρ -0."))
    assert row_of(out, "l0[3]") == ["l0[3]", "inside quotes", "AUC 1.000"]
    assert "\x1b" not in out
    assert err.startswith("rnnfast: annotations: left out, as they do not vary in both parts")
    assert err.count("\n") == 1


def test_several_files_and_no_more_characters_than_asked_for(
    capsys: Capture, planted: Path
) -> None:
    files = ("quotes.txt", "quotes.txt", "--no-probe")
    code, out, _ = rnnfast_(capsys, "inspect", planted, *files, "--characters", 4000)
    assert code == 0
    assert "quotes.txt, quotes.txt (4,000 characters, as prose)" in out
    code, out, _ = rnnfast_(capsys, "inspect", planted, *files, "--characters", 1000)
    assert "(1,000 characters, as prose)" in out
    assert row_of(out, "inside quotes")[6] == ""


def test_another_value_can_be_looked_at(capsys: Capture, planted: Path) -> None:
    arguments = ("quotes.txt", "--no-probe", "--value", "c")
    code, out, _ = rnnfast_(capsys, "inspect", planted, *arguments)
    assert code == 0
    assert row_of(out, "inside quotes")[3] == "> 0.50"  # between 0, before the first quote, and 1


def test_a_report_is_written(capsys: Capture, planted: Path) -> None:
    files = ("quotes.txt", "--no-probe", "--html")
    assert rnnfast_(capsys, "inspect", planted, *files, "report.html")[0] == 0
    assert Path("report.html").read_text().startswith("<!doctype html>")
    message = refused(rnnfast_(capsys, "inspect", planted, *files, "gone/report.html"))
    assert message.startswith("gone/report.html: cannot be written")


def test_a_report_never_replaces_what_is_read(capsys: Capture, planted: Path) -> None:
    for file in (planted, Path("quotes.txt")):
        before = file.read_bytes()
        arguments = ("quotes.txt", "--no-probe", "--html", file.absolute())
        message = refused(rnnfast_(capsys, "inspect", planted, *arguments))
        assert message.startswith(f"html: expected a file of its own, got {file.absolute()}")
        assert file.read_bytes() == before


def test_a_character_that_the_model_lacks_is_said_to_be_in_its_file(
    capsys: Capture, planted: Path
) -> None:
    Path("windows.txt").write_bytes(b'a "b"\r\n')
    message = refused(rnnfast_(capsys, "inspect", planted, "quotes.txt", "windows.txt"))
    assert message.startswith(r"windows.txt: character '\r' (U+000D) at position 5 (line 1,")


def test_what_is_left_out_is_said_without_probes_too(capsys: Capture, planted: Path) -> None:
    _, _, err = rnnfast_(capsys, "inspect", planted, "quotes.txt", "--no-probe", "--baseline")
    assert err.startswith("rnnfast: annotations: left out")
    assert err.count("\n") == 1


def test_without_a_file_the_held_out_text_is_read(capsys: Capture) -> None:
    Path("code.py").write_text(stdlib_text(30_000))
    assert train(capsys, "code.py", "--steps", 2, "--validation", 0.1)[0] == 0
    code, out, _ = rnnfast_(capsys, "inspect", "model.safetensors", "--no-probe")
    assert code == 0
    assert ": the last 3,000 characters of " in out
    assert "code.py, held out (3,000 characters, as python)\n" in out
    assert row_of(out, "depth of blocks")


def test_the_language_is_guessed_or_given(capsys: Capture, planted: Path) -> None:
    text = Path("quotes.txt").read_text()
    Path("a.c").write_text(text)
    Path("b.py").write_text(text)
    message = refused(rnnfast_(capsys, "inspect", planted, "a.c", "b.py"))
    assert message.startswith("language: the texts are of several, c, python: give --language")
    given = ("--language", "prose", "--no-probe")
    assert ", as prose)" in rnnfast_(capsys, "inspect", planted, "a.c", "b.py", *given)[1]
    message = refused(rnnfast_(capsys, "inspect", planted, "a.c", "--language", "klingon"))
    assert message.startswith("language: expected python, c, latex, prose or another")


def test_what_cannot_be_inspected_is_refused(
    capsys: Capture, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("short.txt").write_text("ab")
    short = refused(rnnfast_(capsys, "inspect", planted, "short.txt"))
    assert short.startswith("text: expected at least 100 characters in each part")
    hint = "the first argument is the model: rnnfast inspect model.safetensors quotes.txt"
    assert hint in refused(rnnfast_(capsys, "inspect", "quotes.txt"))
    assert "name a text" in refused(rnnfast_(capsys, "inspect", planted))
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    missing = refused(rnnfast_(capsys, "inspect", planted, "quotes.txt"))
    assert missing.startswith("probe: needs the package scikit-learn, which is not installed")
    monkeypatch.setitem(sys.modules, "pygments.lexers", None)
    python = ("quotes.txt", "--language", "python", "--no-probe")
    missing = refused(rnnfast_(capsys, "inspect", planted, *python))
    assert missing.startswith("language: 'python' needs the package pygments, which is not")
