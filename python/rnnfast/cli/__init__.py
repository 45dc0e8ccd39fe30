"""The command `rnnfast`: train, sample, evaluate, info, cells, bench."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from rnnfast._version import __version__
from rnnfast.cli import bench, cells, info, train, use
from rnnfast.cli.errors import INTERRUPTED, CommandError
from rnnfast.training import CheckpointError, TextError, TrainingError

# The base of all errors of the command line's syntax; typer does not name it.
_USAGE_ERRORS: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="rnnfast",
    help="Trains character-level language models, and uses them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(use.sample)
app.command("evaluate")(use.evaluate)
app.command("info")(info.info)
app.command("cells")(cells.cells)
app.command("bench")(bench.bench)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"rnnfast {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; errors are one line on standard error.

    Args:
        arguments: those after the command's name; None for the process' own.

    Returns:
        0; 2 for a wrong command line or bad input; 1 for any other failure that is to be
        expected; 128 and the number of the signal that ended training, as for shells: 130 after
        Ctrl-C.
    """
    given = train.with_default_checkpoint(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, standalone_mode=False)
        sys.stdout.flush()
    except (_USAGE_ERRORS, CommandError, TextError, CheckpointError) as error:
        format_message = getattr(error, "format_message", error.__str__)
        return _fail(" ".join(format_message().split("\n")), 2)
    except TrainingError as error:
        return _fail(str(error), 1)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}", 1)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _closed(given)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # which typer turns into an exit
            return _closed(given)
        raise
    except OSError as error:
        _drop_output()
        return _fail(str(error), 1)
    return code if isinstance(code, int) else 0


def _drop_output() -> None:
    """Keeps the interpreter from failing at its exit, when it writes what nobody can read."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _closed(arguments: Sequence[str]) -> int:
    """Ends because nobody reads on: quietly, as in `sample | head`, unless a run is cut short."""
    _drop_output()
    if arguments[:1] != ["train"]:
        return 1
    return _fail("standard output is closed, and nothing more can be written", 1)


def _fail(message: str, code: int) -> int:
    with suppress(OSError):  # standard error may be gone, too
        typer.echo(f"rnnfast: error: {message}", err=True)
    return code


def main() -> NoReturn:
    """The console script."""
    if sys.stdout is None:  # the process began without: what it prints is wanted nowhere
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # models may write what a terminal cannot show
    sys.exit(run())
