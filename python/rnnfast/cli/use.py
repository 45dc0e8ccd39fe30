"""`rnnfast sample` and `rnnfast evaluate`: what a trained model is for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rnnfast.cli.errors import option_errors
from rnnfast.training import CharLM, read_text

Model = Annotated[Path, typer.Argument(help="A checkpoint of `rnnfast train`.", show_default=False)]


def sample(
    model: Model,
    prime: Annotated[
        str, typer.Option(help="Text to go on from; by default the start of a line.")
    ] = "",
    temperature: Annotated[
        float, typer.Option(help="Below 1: safer, above: wilder; 0: always the likeliest.")
    ] = 0.7,
    top_k: Annotated[
        int, typer.Option(help="Draw from the k likeliest characters alone; 0: from all.")
    ] = 0,
    length: Annotated[int, typer.Option(help="Characters to write.")] = 500,
    seed: Annotated[
        int | None, typer.Option(help="Makes the text repeatable.", show_default=False)
    ] = None,
    stop: Annotated[str, typer.Option(help="End after this text.", show_default=False)] = "",
) -> None:
    """Write text with a trained model."""
    with option_errors():
        characters = CharLM.load(model).generate(
            prime, length=length, temperature=temperature, top_k=top_k, stop=stop, seed=seed
        )
    sys.stdout.write(prime)
    for character in characters:
        sys.stdout.write(character)
        if character == "\n":
            sys.stdout.flush()
    sys.stdout.write("\n")


def evaluate(
    model: Model,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="UTF-8 texts.", show_default=False)
    ],
) -> None:
    """Measure how well a model predicts texts, in bits per character."""
    language_model = CharLM.load(model)
    for file in files:
        text = read_text(file)
        bits = language_model.bits_per_character(text)
        typer.echo(f"{file}: {bits:.4f} bits per character ({len(text):,} characters)")
