"""`rnnfast train`: from text files to a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import rnnfast
from rnnfast._engine import checks
from rnnfast._engine.known import COMPILED
from rnnfast.cli.cells import HELP, chosen_cell
from rnnfast.cli.errors import CommandError, option_errors
from rnnfast.cli.files import DEFAULT_MODEL, load, takes_bytes, text_of
from rnnfast.cli.progress import LiveProgress
from rnnfast.training import (
    OPTIMIZERS,
    SCHEDULES,
    ByteVocabulary,
    CharLM,
    CharLMConfig,
    PrintProgress,
    Trainer,
    TrainingOptions,
    Vocabulary,
)
from rnnfast.training.checkpoint import check_output
from rnnfast.training.stored import stored_source

_MODEL, _RUN = CharLMConfig(), TrainingOptions()
_MODEL_OPTIONS = [field.name for field in fields(CharLMConfig)]
_RUN_OPTIONS = [field.name for field in fields(TrainingOptions)]
_LIMITS = ("steps", "epochs", "minutes")
_DEFAULT_MINUTES = 3.0


def _option(panel: str, text: str, default: object = False, *names: str) -> Any:
    """An option that is None unless given: its default is the library's, here for the help."""
    shown = default if isinstance(default, bool) else str(default)
    return typer.Option(*names, help=text, show_default=shown, rich_help_panel=panel)


def _model(text: str, default: object, *names: str) -> Any:
    return _option("Model", text, default, *names)


def _run(text: str, default: object = False, *names: str) -> Any:
    return _option("Training", text, default, *names)


def _report(text: str, default: object) -> Any:
    return _option("Progress and checkpoints", text, default)


def train(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="UTF-8 texts; without any, the sources of Python's own standard library.",
            show_default=False,
        ),
    ] = None,
    cell: Annotated[
        str | None,
        _model(
            f"Recurrent cell: {', '.join(COMPILED)}, {HELP}.",
            _MODEL.cell,
        ),
    ] = None,
    hidden_size: Annotated[
        int | None,
        _model("Width of a recurrent layer.", _MODEL.hidden_size, "--hidden-size", "--width"),
    ] = None,
    num_layers: Annotated[
        int | None, _model("Recurrent layers.", _MODEL.num_layers, "--num-layers", "--layers")
    ] = None,
    embedding_size: Annotated[
        int | None, _model("Size of the characters' vectors; 0: one-hot.", _MODEL.embedding_size)
    ] = None,
    dropout: Annotated[
        float | None, _model("Dropout between recurrent layers.", _MODEL.dropout)
    ] = None,
    precision: Annotated[
        str | None,
        _model(f"Of the recurrent products: {', '.join(checks.PRECISIONS)}.", _MODEL.precision),
    ] = None,
    of_bytes: Annotated[
        bool,
        _option("Model", "Read bytes, not characters: any file will do.", False, "--bytes"),
    ] = False,
    seq_len: Annotated[int | None, _run("Characters of a sequence.", _RUN.seq_len)] = None,
    batch: Annotated[
        int | None, _run("Sequences side by side.", _RUN.batch, "--batch", "--batch-size")
    ] = None,
    optimizer: Annotated[str | None, _run(f"{', '.join(OPTIMIZERS)}.", _RUN.optimizer)] = None,
    learning_rate: Annotated[
        float | None,
        _run("Learning rate at the start.", _RUN.learning_rate, "--learning-rate", "--lr"),
    ] = None,
    schedule: Annotated[
        str | None,
        _run(f"How the learning rate falls over the run: {', '.join(SCHEDULES)}.", _RUN.schedule),
    ] = None,
    decay: Annotated[
        float | None, _run("Factor of the learning rate after each epoch.", _RUN.decay)
    ] = None,
    clip_norm: Annotated[
        float | None, _run("Largest norm of the gradients; 0: no limit.", _RUN.clip_norm)
    ] = None,
    clip_value: Annotated[
        float | None, _run("Largest element of the gradients; 0: no limit.", _RUN.clip_value)
    ] = None,
    steps: Annotated[int | None, _run("End after so many steps.")] = None,
    epochs: Annotated[int | None, _run("End after so many passes over the text.")] = None,
    minutes: Annotated[
        float | None,
        _run("End after so much time.", f"{_DEFAULT_MINUTES}, if no other limit is given"),
    ] = None,
    validation: Annotated[
        float | None, _run("Part of the text, at its end, to validate on.", _RUN.validation)
    ] = None,
    seed: Annotated[int | None, _run("Seed of the weights and of dropout.", 0)] = None,
    threads: Annotated[int | None, _run("Threads to use.", "all CPUs")] = None,
    device: Annotated[str | None, _run("Where to train: cpu, cuda.", "cpu")] = None,
    output: Annotated[
        Path | None,
        _option("Files", "Checkpoint to write.", DEFAULT_MODEL, "--output", "-o"),
    ] = None,
    overwrite: Annotated[
        bool, _option("Files", "Replace an existing OUTPUT.", False, "--overwrite")
    ] = False,
    resume: Annotated[
        Path | None,
        _option(
            "Files",
            f"Go on with the run of this checkpoint, by default {DEFAULT_MODEL}, to a further "
            "limit if need be.",
            False,
            "--resume",
        ),
    ] = None,
    validate_every: Annotated[
        int | None, _report("Steps between validations; 0: only at the end.", _RUN.validate_every)
    ] = None,
    sample_every: Annotated[
        int | None, _report("Steps between samples; 0: only at the end.", _RUN.sample_every)
    ] = None,
    sample_length: Annotated[
        int | None, _report("Characters of a sample; 0: no samples.", _RUN.sample_length)
    ] = None,
    checkpoint_every: Annotated[
        int | None, _report("Steps between checkpoints; 0: only at the end.", _RUN.checkpoint_every)
    ] = None,
) -> None:
    """Train a character-level language model on text files.

    Ctrl-C ends the run after the step at hand and saves it; --resume goes on.
    """
    given = {name: v for name, v in locals().items() if v is not None and v is not False}
    with option_errors():
        if threads is not None:
            rnnfast.set_num_threads(checks.threads("threads", threads))
        _check_limits(given)
        trainer = _resumed(resume, given) if resume else _new(given)
    _go(trainer)


def _check_limits(given: dict[str, Any]) -> None:
    """Refuses limits of 0, which would mean none to the library: to leave one out does that."""
    for name in ("steps", "epochs"):
        if name in given:
            checks.positive_int(name, given[name])
    if "minutes" in given and not given["minutes"] > 0:
        raise CommandError(f"minutes: expected more than 0, got {given['minutes']:g}")


def _new(given: dict[str, Any]) -> Trainer:
    output = given.get("output", DEFAULT_MODEL)
    check_output(output)
    if output.exists() and "overwrite" not in given:
        raise CommandError(
            f"{output} exists: give --resume {output} to go on with it, --overwrite to replace it, "
            "or another --output"
        )
    if "cell" in given:
        given = given | {"cell": chosen_cell(given["cell"])}
    run = _chosen(given, _RUN_OPTIONS)
    if not any(limit in run for limit in _LIMITS):
        run["minutes"] = _DEFAULT_MINUTES
    config, options = CharLMConfig(**_chosen(given, _MODEL_OPTIONS)), TrainingOptions(**run)
    files = [str(file.absolute()) for file in given.get("files", [])]
    of_bytes = "of_bytes" in given
    text = text_of(files, any_bytes=of_bytes)
    vocabulary = ByteVocabulary() if of_bytes else Vocabulary(text)
    model = CharLM(vocabulary, config, seed=given.get("seed", 0), device=given.get("device"))
    return Trainer(model, text, options, output=output, source=files)


def _resumed(path: Path, given: dict[str, Any]) -> Trainer:
    fixed = [name for name in (*_MODEL_OPTIONS, "of_bytes", "seed") if name in given]
    if fixed:
        name = fixed[0].removeprefix("of_")
        raise CommandError(f"{name}: cannot change when a run is resumed")
    run = _chosen(given, _RUN_OPTIONS)
    if any(limit in run for limit in _LIMITS):
        run = dict.fromkeys(_LIMITS, 0) | run  # new limits take the place of all old ones
    files = [str(file.absolute()) for file in given.get("files", [])]
    checkpoint = load(path)
    if checkpoint.training and not files:
        files = stored_source(path, checkpoint)
    text = text_of(files, any_bytes=takes_bytes(checkpoint))
    trainer = Trainer.resume(
        path, text, output=given.get("output"), device=given.get("device"), **run
    )
    if trainer.done >= 1:
        raise CommandError(
            f"{path}: the run is finished, at step {trainer.step}; "
            "give a larger --steps, --epochs or --minutes to go on"
        )
    return trainer


def _chosen(given: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def with_default_checkpoint(arguments: Sequence[str]) -> list[str]:
    """Gives `--resume` its default, as options of typer have none where a value may be missing."""
    followers = [*arguments[1:], "-"]
    return [
        f"--resume={DEFAULT_MODEL}" if name == "--resume" and after.startswith("-") else name
        for name, after in zip(arguments, followers, strict=False)
    ]


def _go(trainer: Trainer) -> None:
    model = trainer.model
    typer.echo(
        f"{model.config.cell}, {model.config.parameters(len(model.vocabulary)):,} parameters, "
        f"{len(model.vocabulary)} different {model.vocabulary.unit}s, "
        f"text: {', '.join(trainer.source) or 'the Python standard library'}"
    )
    try:
        _run_showing_progress(trainer)
        if trainer.interrupted_by is not None:
            typer.echo(f"stopped at step {trainer.step}; go on with: --resume {trainer.output}")
    except OSError:
        if trainer.interrupted_by is None:
            raise
        # The terminal is closed, and the run saved.
    if trainer.interrupted_by is not None:
        raise typer.Exit(128 + trainer.interrupted_by)


def _run_showing_progress(trainer: Trainer) -> None:
    console = Console()
    if console.is_terminal:
        with LiveProgress(console) as progress:
            trainer.callbacks.append(progress)
            trainer.run()
    else:
        trainer.callbacks.append(PrintProgress())
        trainer.run()
