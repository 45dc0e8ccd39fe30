"""`rnnfast train`: from text files to a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

import rnnfast
from rnnfast._engine import checks
from rnnfast._engine.known import COMPILED
from rnnfast.cli.cells import HELP, chosen_cell
from rnnfast.cli.errors import CommandError, option_errors
from rnnfast.cli.files import DEFAULT_MODEL, check_unread, load, takes_bytes, text_of
from rnnfast.cli.options import with_options
from rnnfast.training import (
    ByteVocabulary,
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    CSVLog,
    JobOptions,
    TensorBoardLog,
    TrainingOptions,
    Vocabulary,
    progress,
    read_config,
)
from rnnfast.training.checkpoint import check_output
from rnnfast.training.option import FILES
from rnnfast.training.stored import stored_source

_MODEL_OPTIONS = [field.name for field in fields(CharLMConfig)]
_RUN_OPTIONS = [field.name for field in fields(TrainingOptions)]
_LIMITS = ("steps", "epochs", "minutes")
_DEFAULT_MINUTES = 3.0
_SHOWN: dict[str, str | bool] = {
    "steps": False,
    "epochs": False,
    "minutes": f"{_DEFAULT_MINUTES}, if no other limit is given",
    "threads": "all CPUs",
    "device": "cpu",
    "log": False,
    "tensorboard": False,
}
_HELPS = {"cell": f"Recurrent cell: {', '.join(COMPILED)}, {HELP}."}


@with_options((CharLMConfig, TrainingOptions, JobOptions), _SHOWN, _HELPS)
def train(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="UTF-8 texts; by default, the source code of Python's standard library.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="TOML file with options; options on the command line override it.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace OUTPUT and LOG if they exist, and hide older events of TENSORBOARD.",
            rich_help_panel=FILES,
        ),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            help=f"Continue the run of this checkpoint (by default {DEFAULT_MODEL}), with a "
            "higher limit if it has ended.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    **options: Any,
) -> None:
    """Train a character-level language model on text files.

    Ctrl-C ends the run after the current step and saves it; --resume continues it.
    """
    given = _given(options)
    if files:
        given["files"] = [str(file.absolute()) for file in files]
    with option_errors():
        if resume and config:
            raise CommandError(
                "config: cannot be combined with --resume, as the checkpoint contains the options"
            )
        if config:
            given = _configured(config) | given
        if "threads" in given:
            rnnfast.set_num_threads(checks.threads("threads", given["threads"]))
        _check_limits(given)
        trainer = _resumed(resume, given) if resume else _new(given, overwrite)
        if "log" in given:
            others = [path for path in (trainer.output, resume) if path is not None]
            check_unread("log", given["log"], [*others, *trainer.source])
            if not (resume or overwrite) and Path(given["log"]).exists():
                raise CommandError(
                    f"{given['log']} exists; use --overwrite to replace it, or another --log"
                )
            trainer.callbacks.append(CSVLog(given["log"]))
        if "tensorboard" in given:
            board = TensorBoardLog(given["tensorboard"])
            if board.has_events and not (resume or overwrite):
                raise CommandError(
                    f"{board.folder} already contains events; use --overwrite to hide them, or "
                    "another --tensorboard"
                )
            trainer.callbacks.append(board)
    _go(trainer)


def _configured(path: Path) -> dict[str, Any]:
    """Return the options of a configuration file, in the form of the command line."""

    def cell(name: str) -> Any:
        try:
            return chosen_cell(name)
        except CommandError as error:
            raise ValueError(str(error)) from error

    found = read_config(path, cell)
    files = {} if found.files is None else {"files": found.files}
    return _given({**files, **found.job, **found.model, **found.training})


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in options.items() if v is not None and v is not False}


def _check_limits(given: dict[str, Any]) -> None:
    """Refuse limits of 0, which the library takes for no limit: leave the option out for that."""
    for name in ("steps", "epochs"):
        if name in given:
            checks.positive_int(name, given[name])
    if "minutes" in given and not given["minutes"] > 0:
        raise CommandError(f"minutes: expected more than 0, got {given['minutes']:g}")


def _new(given: dict[str, Any], overwrite: bool) -> CharLMTrainer:
    output = Path(given.get("output", DEFAULT_MODEL))
    check_output(output)
    if output.exists() and not overwrite:
        raise CommandError(
            f"{output} exists; use --resume {output} to continue its run, --overwrite to replace "
            "it, or another --output"
        )
    if isinstance(given.get("cell"), str):
        given = given | {"cell": chosen_cell(given["cell"])}
    run = _chosen(given, _RUN_OPTIONS)
    if not any(limit in run for limit in _LIMITS):
        run["minutes"] = _DEFAULT_MINUTES
    config, options = CharLMConfig(**_chosen(given, _MODEL_OPTIONS)), TrainingOptions(**run)
    files, of_bytes = given.get("files", []), "bytes" in given
    check_unread("output", output, files)
    text = text_of(files, any_bytes=of_bytes)
    vocabulary = ByteVocabulary() if of_bytes else Vocabulary(text)
    model = CharLM(vocabulary, config, seed=given.get("seed", 0), device=given.get("device"))
    return CharLMTrainer(model, text, options, output=output, source=files)


def _resumed(path: Path, given: dict[str, Any]) -> CharLMTrainer:
    fixed = [name for name in (*_MODEL_OPTIONS, "bytes", "seed") if name in given]
    if fixed:
        raise CommandError(f"{fixed[0]}: cannot be changed when a run is resumed")
    run = _chosen(given, _RUN_OPTIONS)
    if any(limit in run for limit in _LIMITS):
        run = dict.fromkeys(_LIMITS, 0) | run  # new limits replace all old limits
    files = given.get("files", [])
    checkpoint = load(path)
    if checkpoint.training and not files:
        files = stored_source(path, checkpoint)
    check_unread("output", given.get("output", path), files)
    text = text_of(files, any_bytes=takes_bytes(checkpoint))
    trainer = CharLMTrainer.resume(
        path, text, output=given.get("output"), device=given.get("device"), **run
    )
    if trainer.done >= 1:
        raise CommandError(
            f"{path}: the run ended at step {trainer.step}; give a larger --steps, --epochs or "
            "--minutes to continue it"
        )
    return trainer


def _chosen(given: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def with_default_checkpoint(arguments: Sequence[str]) -> list[str]:
    """Add the default value of `--resume`, as typer has no options with optional values."""
    followers = [*arguments[1:], "-"]
    return [
        f"--resume={DEFAULT_MODEL}" if name == "--resume" and after.startswith("-") else name
        for name, after in zip(arguments, followers, strict=False)
    ]


def _go(trainer: CharLMTrainer) -> None:
    model = trainer.model
    typer.echo(
        f"{model.config.cell}, {model.config.parameters(len(model.vocabulary)):,} parameters, "
        f"{len(model.vocabulary)} different {model.vocabulary.unit}s, "
        f"text: {', '.join(trainer.source) or 'the Python standard library'}"
    )
    try:
        trainer.callbacks.append(progress())
        trainer.run()
        if trainer.interrupted_by is not None:
            typer.echo(f"stopped at step {trainer.step}; continue with --resume {trainer.output}")
        elif trainer.stopped == "stopped":
            typer.echo(
                f"ended at step {trainer.step}, as the validation loss has stopped improving"
            )
    except OSError:
        if trainer.interrupted_by is None:
            raise
        # The terminal is closed, and the run saved.
    if trainer.interrupted_by is not None:
        raise typer.Exit(128 + trainer.interrupted_by)
