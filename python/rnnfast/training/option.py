"""Declarations of options, which keep default, check, help and flags in one place.

The library's dataclasses, the command line and configuration files are all derived from them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from functools import partial
from typing import Any, TypeVar

from rnnfast._engine import checks

# Sections of the command line's help.
MODEL, TRAINING = "Model", "Training"
FILES, PROGRESS = "Files", "Progress and checkpoints"

Check = Callable[[str, Any], Any]
Kind = TypeVar("Kind", bound=type)

# JSON cannot represent infinity, so 0 stands for "no limit".
non_negative: Check = partial(checks.number, low=0, high=sys.float_info.max, open_high=False)
fraction: Check = partial(checks.number, low=0, high=1, open_high=False)
below_one: Check = partial(checks.number, low=0, high=1, open_high=True)


def one_of(choices: Mapping[str, Any] | tuple[str, ...]) -> Check:
    """Return a check that a value is one of `choices`."""
    return lambda name, value: str(checks.choice(name, value, tuple(choices)))


def option(
    default: Any,
    help: str,  # noqa: A002  (typer's name)
    check: Check,
    *flags: str,
    panel: str = TRAINING,
    command_line: bool = True,
) -> Any:
    """Declare a field of a dataclass of options.

    Args:
        default: The default value; a type, such as `dict`, is called for each instance.
        help: The meaning of the option, as a sentence.
        check: Takes the name and a value, and returns the value in a form that JSON can hold.
        flags: Names on the command line, if they differ from `--name`.
        panel: The section of the command line's help that lists the option.
        command_line: Whether the command line has the option.
    """
    made: Any = {"default_factory": default} if isinstance(default, type) else {"default": default}
    metadata = {"help": help, "check": check, "flags": flags, "panel": panel}
    return field(**made, metadata={**metadata, "command_line": command_line})


def optional(check: Check) -> Check:
    """Return a check that a value is None or passes `check`."""
    return lambda name, value: None if value is None else check(name, value)


def text(name: str, value: Any) -> str:
    """Check that a value is a string, and return it."""
    checks.of_type(name, value, str)
    return str(value)


def check_options(options: Any) -> None:
    """Check every field of a frozen dataclass of options, and store what its check returns.

    Raises:
        ValueError: A value is out of range; the message begins with the field's name.
        TypeError: A value is of the wrong type.
    """
    checked = {
        f.name: f.metadata["check"](f.name, getattr(options, f.name)) for f in fields(options)
    }
    vars(options).update(checked)


def default_of(declared: Field[Any]) -> Any:
    """Return the default of a field."""
    made = declared.default_factory
    return declared.default if made is MISSING else made()


def documented(kind: Kind) -> Kind:
    """Add the options of a dataclass to its docstring as attributes."""
    lines = [
        f"    {f.name}: {f.metadata['help']} Default: {default_of(f)!r}." for f in fields(kind)
    ]
    kind.__doc__ = "\n".join([inspect.cleandoc(f"{kind.__doc__}"), "", "Attributes:", *lines])
    return kind
