"""`rnnfast info`: facts about this machine or about a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import rnnfast
from rnnfast import cuda
from rnnfast._engine.known import COMPILED
from rnnfast._version import __version__
from rnnfast.cells import ZOO
from rnnfast.training import ByteVocabulary, CharLM, Vocabulary, load_checkpoint
from rnnfast.training.callbacks import format_time


def info(
    model: Annotated[Path | None, typer.Argument(help="A checkpoint.", show_default=False)] = None,
) -> None:
    """Show information about this machine, or about a checkpoint."""
    facts = _machine() if model is None else _model(model)
    width = max(map(len, facts))
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"{name:{width}}  {text}")


def _machine() -> dict[str, Any]:
    reason = cuda.unavailable_reason()
    return {
        "rnnfast": __version__,
        **rnnfast.cpu_info(),
        "cuda": "available" if reason is None else f"not available: {reason}",
        "cells": [*COMPILED, f"and {len(ZOO) - len(COMPILED)} others: rnnfast cells"],
    }


def _model(path: Path) -> dict[str, Any]:
    checkpoint = load_checkpoint(path)
    model = CharLM.from_checkpoint(checkpoint, path)
    facts = {
        **checkpoint.model["config"],
        "parameters": f"{model.config.parameters(len(model.vocabulary)):,}",
        "vocabulary": _vocabulary(model.vocabulary),
    }
    training = checkpoint.training
    if training:
        facts["trained on"] = training["source"] or "no file"
        facts["steps made"] = f"{training['step']:,} in {format_time(training['seconds'])}"
        facts |= {
            name: f"{training[key]:.4f} bits per {model.vocabulary.unit}"
            for name, key in (
                ("training loss", "training_bits"),
                ("validation loss", "validation_bits"),
            )
            if training[key] is not None
        }
        facts |= {f"option {name}": value for name, value in training["options"].items()}
    return facts


def _vocabulary(vocabulary: Vocabulary) -> str:
    if isinstance(vocabulary, ByteVocabulary):
        return f"{len(vocabulary)} bytes"
    if vocabulary.unit == "token":
        return f"{len(vocabulary)} tokens"
    return f"{len(vocabulary)} characters: {vocabulary.characters!r}"
