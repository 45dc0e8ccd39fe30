"""The command `rnnfast`, which trains and uses language models, and looks into models and files."""

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
from rnnfast.cli import bench, cells, info, inspect, inspect_weights, plot, train, use
from rnnfast.cli.errors import INTERRUPTED, CommandError
from rnnfast.training import CheckpointError, TextError, TrainingError

# The base class of all syntax errors of the command line, which typer does not export.
_USAGE_ERRORS: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="rnnfast",
    help="Train character-level language models and use them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sample")(use.sample)
app.command("evaluate")(use.evaluate)
app.command("inspect")(inspect.inspect)
app.command("inspect-weights")(inspect_weights.inspect_weights)
app.command("info")(info.info)
app.command("plot")(plot.plot)
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
    """Run the command and return its exit code; print an error as one line on standard error.

    Args:
        arguments: The arguments after the name of the command; None for those of the process.

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
    """Keep the interpreter from failing at exit, when it flushes output that cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _closed(arguments: Sequence[str]) -> int:
    """Handle closed output: quietly, as in `sample | head`, unless it cuts a training run short."""
    _drop_output()
    if arguments[:1] != ["train"]:
        return 1
    return _fail("standard output is closed, so nothing more can be written", 1)


def _fail(message: str, code: int) -> int:
    with suppress(OSError):  # standard error may be gone, too
        typer.echo(f"rnnfast: error: {message}", err=True)
    return code


def main() -> NoReturn:
    """Run the command as the console script."""
    if sys.stdout is None:  # the process was started without standard output
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # models may write what a terminal cannot show
    sys.exit(run())
