"""`rnnfast inspect`: which units of a trained model tell what about a text."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rnnfast import _files
from rnnfast.cli.errors import CommandError, option_errors, output_errors
from rnnfast.cli.files import (
    DEFAULT_MODEL,
    Model,
    Texts,
    check_unread,
    held_out,
    load_first,
    takes_bytes,
)
from rnnfast.inspection import Concept, Inspection, guess_language
from rnnfast.inspection import inspect as inspect_model
from rnnfast.training import CharLM, Checkpoint, UnknownCharacterError, read_text
from rnnfast.training.stored import stored_source

_NEXT = 2  # units shown after the best
_WIDTH = 150  # columns of a table that goes to a file
_UNITS = 10  # shown with the concept that they tell best


def inspect(
    model: Model = DEFAULT_MODEL,
    files: Texts = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="python, c, latex, prose or another that pygments knows.",
            show_default="by the names of the files, or the text",
        ),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            help="The value of the units to look at, such as h, c or i of an LSTM.",
            show_default="tanh of the second state, or else h",
        ),
    ] = None,
    characters: Annotated[
        int, typer.Option(min=1, help="Read at most so many characters of the texts.")
    ] = 200_000,
    probe: Annotated[
        bool, typer.Option(help="Find out how few units together tell a concept.")
    ] = True,
    baseline: Annotated[
        bool,
        typer.Option("--baseline", help="Show the best unit of an untrained model beside it."),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a report for the browser there.", show_default=False),
    ] = None,
) -> None:
    """Find units of a model that tell something about texts, such as "inside quotes".

    Thresholds are chosen on the first half of the text, and scores are of the second: the area
    under the ROC curve (AUC) for yes/no, R2 of a linear function for counts.
    """
    if html is not None:
        check_unread("html", html, [model, *(files or [])])
        with output_errors(html):
            _files.check_output(html)
    with option_errors():
        checkpoint = load_first(model, "inspect")
        language_model = CharLM.from_checkpoint(checkpoint, model).eval()
        texts, names, what = _texts(model, checkpoint, language_model, files or [])
        language = _language(texts, names) if language is None else language
        texts = _cut(texts, characters)
        for name, text in zip(names if files else [], texts, strict=False):
            _check_known(language_model, name, text)
        found = _inspected(language_model, texts, language, value, probe=probe)
        untrained = None
        if baseline:
            made = CharLM(language_model.vocabulary, language_model.config, seed=0).eval()
            untrained = _inspected(made, texts, language, value, probe=False, quiet=True)
    if html is not None:
        with output_errors(html):
            found.save_html(html)
    typer.echo(f"{model}: {what} ({len(found.text):,} characters, as {language})")
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(_ranking(found, untrained))
    console.print(_best_units(found))


def _texts(
    path: Path, checkpoint: Checkpoint, model: CharLM, files: list[Path]
) -> tuple[list[str], list[str], str]:
    """Return the texts, the names of the files that they are of, and what they are."""
    if files:
        any_bytes = takes_bytes(checkpoint)
        names = [str(file) for file in files]
        return [read_text(file, any_bytes=any_bytes) for file in files], names, ", ".join(names)
    ids, description = held_out(path, checkpoint, model)
    return [model.vocabulary.decode(ids)], stored_source(path, checkpoint), description


def _check_known(model: CharLM, name: str, text: str) -> None:
    """Check that a model knows all characters of a file."""
    try:
        model.vocabulary.encode(text)
    except UnknownCharacterError as error:
        raise CommandError(f"{name}: {str(error).removeprefix('text: ')}") from error


def _cut(texts: list[str], characters: int) -> list[str]:
    """Return the first `characters` characters of some texts."""
    result = []
    for text in texts:
        result.append(text[:characters])
        characters -= len(result[-1])
        if not characters:
            break
    return result


def _language(texts: list[str], names: list[str]) -> str:
    """Return the language of all texts.

    Args:
        texts: One text for each name, or a single one.
        names: The files that the texts are of; none for a text that no file names.
    """
    pairs = zip(texts * len(names) if len(texts) == 1 else texts, names, strict=True)
    languages = {guess_language(text, name) for text, name in pairs} or {guess_language(texts[0])}
    if len(languages) > 1:
        raise CommandError(
            f"language: the texts are of several, {', '.join(sorted(languages))}: give --language, "
            "or inspect them one by one"
        )
    return languages.pop()


def _inspected(
    model: CharLM,
    texts: list[str],
    language: str,
    value: str | None,
    *,
    probe: bool,
    quiet: bool = False,
) -> Inspection:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = inspect_model(model, texts, language=language, value=value, probe=probe)
        except ImportError as error:  # of an optional package
            raise CommandError(str(error)) from error
    if not quiet:
        for warning in caught:
            typer.echo(f"rnnfast: {warning.message}", err=True)
    return found


def _measure(concept: Concept) -> str:
    return "AUC" if concept.kind == "yes/no" else "R2"


def _ranking(found: Inspection, untrained: Inspection | None) -> Table:
    """Return the table of the best units of each concept."""
    table = Table(title="Best units of each concept, on held-out text", title_justify="left")
    for heading in ("concept", "unit", "score", "when", "p", "next", "probe"):
        table.add_column(heading, no_wrap=True)
    if untrained is not None:
        table.add_column("untrained", no_wrap=True)
    for concept in found.concepts.values():
        best, *rest = concept.ranking[: 1 + _NEXT]
        row = [
            concept.name,
            found.units[best],
            f"{_measure(concept)} {concept.score[best]:.3f}",
            _condition(concept, int(best)),
            f"{concept.p_value[best]:.3f}",
            ", ".join(f"{found.units[unit]} {concept.score[unit]:.3f}" for unit in rest),
            _probe(concept),
        ]
        if untrained is not None:
            row.append(f"{untrained.concepts[concept.name].score.max():.3f}")
        table.add_row(*row)
    return table


def _condition(concept: Concept, unit: int) -> str:
    """Return the values by which a unit says yes, or for a count its direction."""
    if concept.kind == "count":
        return f"{'rises' if concept.sign[unit] > 0 else 'falls'} (ρ {concept.spearman[unit]:.2f})"
    return f"{'>' if concept.sign[unit] > 0 else '<'} {concept.threshold[unit]:.2f}"


def _probe(concept: Concept) -> str:
    if concept.probe is None:
        return ""
    needed = concept.probe.needed
    return f"{concept.probe.scores[needed]:.3f} by {len(concept.probe.units[needed])}"


def _best_units(found: Inspection) -> Table:
    """Return the table of the units that tell a concept best."""
    table = Table(title="Units that tell most", title_justify="left")
    for heading in ("unit", "concept", "score"):
        table.add_column(heading, no_wrap=True)
    named = ((unit, found.concept_of(unit)) for unit in range(len(found.units)))
    pairs = [(unit, found.concepts[name]) for unit, name in named if name is not None]
    for unit, concept in sorted(pairs, key=lambda pair: -pair[1].strength[pair[0]])[:_UNITS]:
        score = f"{_measure(concept)} {concept.score[unit]:.3f}"
        table.add_row(found.units[unit], concept.name, score)
    return table
