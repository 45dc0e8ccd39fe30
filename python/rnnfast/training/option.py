"""How an option is declared: its default, check, help and flags, in one place.

The library's dataclasses, the command line and configuration files are views of the declaration.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from functools import partial
from typing import Any, TypeVar

from rnnfast._engine import checks

# Parts of the command line's help.
MODEL, TRAINING = "Model", "Training"
FILES, PROGRESS = "Files", "Progress and checkpoints"

Check = Callable[[str, Any], Any]
Kind = TypeVar("Kind", bound=type)

# Numbers that JSON can hold: "no limit" is 0, never infinity.
non_negative: Check = partial(checks.number, low=0, high=sys.float_info.max, open_high=False)
fraction: Check = partial(checks.number, low=0, high=1, open_high=False)
below_one: Check = partial(checks.number, low=0, high=1, open_high=True)


def one_of(choices: Mapping[str, Any] | tuple[str, ...]) -> Check:
    """The check that a value is one of `choices`."""
    return lambda name, value: str(checks.choice(name, value, tuple(choices)))


def option(
    default: Any,
    help: str,  # noqa: A002  (typer's name)
    check: Check,
    *flags: str,
    panel: str = TRAINING,
    command_line: bool = True,
) -> Any:
    """A field of a dataclass of options.

    Args:
        default: its default; a type, such as `dict`, makes a new object for each.
        help: what it means, as a sentence.
        check: takes its name and a value, and returns the value as JSON can hold it.
        flags: its names on the command line, where they are not just `--name`.
        panel: the part of the command line's help that has it.
        command_line: whether the command line has it.
    """
    made: Any = {"default_factory": default} if isinstance(default, type) else {"default": default}
    metadata = {"help": help, "check": check, "flags": flags, "panel": panel}
    return field(**made, metadata={**metadata, "command_line": command_line})


def optional(check: Check) -> Check:
    """The check that a value is None or passes `check`."""
    return lambda name, value: None if value is None else check(name, value)


def text(name: str, value: Any) -> str:
    """The check that a value is a text."""
    checks.of_type(name, value, str)
    return str(value)


def check_options(options: Any) -> None:
    """Checks every field of a frozen dataclass of options, and makes it what its check returns.

    Raises:
        ValueError: a value is out of range; the message begins with the field's name.
        TypeError: a value is of the wrong type.
    """
    checked = {
        f.name: f.metadata["check"](f.name, getattr(options, f.name)) for f in fields(options)
    }
    vars(options).update(checked)


def default_of(declared: Field[Any]) -> Any:
    """The default of a field."""
    made = declared.default_factory
    return declared.default if made is MISSING else made()


def documented(kind: Kind) -> Kind:
    """Adds the options of a dataclass to its docstring, as its attributes."""
    lines = [
        f"    {f.name}: {f.metadata['help']} Default: {default_of(f)!r}." for f in fields(kind)
    ]
    kind.__doc__ = "\n".join([inspect.cleandoc(f"{kind.__doc__}"), "", "Attributes:", *lines])
    return kind
