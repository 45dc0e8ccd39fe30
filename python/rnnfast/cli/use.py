"""`rnnfast sample` and `rnnfast evaluate`, which use a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rnnfast import decoding
from rnnfast._engine import checks
from rnnfast.cli.errors import option_errors
from rnnfast.cli.files import DEFAULT_MODEL, Model, Texts, held_out, load, load_first, takes_bytes
from rnnfast.training import UNKNOWN_BITS, CharLM, Checkpoint, read_text
from rnnfast.training.stored import stored_options


def sample(
    model: Model = DEFAULT_MODEL,
    prime: Annotated[
        str, typer.Option(help="Text to continue; by default, the start of a line.")
    ] = "",
    temperature: Annotated[
        float,
        typer.Option(
            help="Below 1 for safer text, above 1 for wilder text; 0 always "
            "takes the most likely character."
        ),
    ] = 0.7,
    top_k: Annotated[
        int, typer.Option(help="Draw only from the k most likely characters; 0 draws from all.")
    ] = 0,
    top_p: Annotated[
        float,
        typer.Option(
            help="Draw only from the most likely characters that sum up to this probability; "
            "1 draws from all."
        ),
    ] = 1.0,
    length: Annotated[int, typer.Option(help="Number of characters to write.")] = 500,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the random numbers; the same seed gives the same text.",
            show_default=False,
        ),
    ] = None,
    stop: Annotated[str, typer.Option(help="Stop after this text.", show_default=False)] = "",
    count: Annotated[int, typer.Option(help="Number of texts to write, side by side.")] = 1,
) -> None:
    """Write text with a trained model."""
    drawing: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    with option_errors():
        language_model = CharLM.from_checkpoint(load(model), model).eval()
        if checks.positive_int("count", count) > 1:
            rows = decoding.sample(
                *language_model.primed(prime, count),
                length=length,
                stop=language_model.vocabulary.encode(stop),
                seed=seed,
                **drawing,
            )
            for number, row in enumerate(rows, 1):
                typer.echo(f"--- sample {number}")
                typer.echo(prime + language_model.vocabulary.decode(row))
            return
        characters = language_model.generate(prime, length=length, stop=stop, seed=seed, **drawing)
    sys.stdout.write(prime)
    for character in characters:
        sys.stdout.write(character)
        if character == "\n":
            sys.stdout.flush()
    sys.stdout.write("\n")


def evaluate(
    model: Model = DEFAULT_MODEL,
    files: Texts = None,
) -> None:
    """Measure how well a model predicts texts, in bits per character."""
    with option_errors():
        checkpoint = load_first(model, "evaluate")
        language_model = CharLM.from_checkpoint(checkpoint, model).eval()
        if not files:
            typer.echo(_held_out(model, checkpoint, language_model))
        for file in files or []:
            text = read_text(file, any_bytes=takes_bytes(checkpoint))
            typer.echo(_measured(file, text, language_model))


def _measured(file: Path, text: str, model: CharLM) -> str:
    unit = model.vocabulary.unit
    known, unknown = model.vocabulary.encode_known(text)
    size = known.size + unknown
    price = f", {unknown:,} of them unknown, at {UNKNOWN_BITS:.2f} bits each" if unknown else ""
    bits = model.bits_per_character(text, UNKNOWN_BITS)
    return f"{file}: {bits:.4f} bits per {unit} ({size:,} {unit}s{price})"


def _held_out(path: Path, checkpoint: Checkpoint, model: CharLM) -> str:
    ids, description = held_out(path, checkpoint, model)
    bits = model.evaluate(ids, streams=stored_options(path, checkpoint).batch)
    return f"{path}: {bits:.4f} bits per {model.vocabulary.unit} ({description})"
