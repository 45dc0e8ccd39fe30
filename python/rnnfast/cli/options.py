"""Options of the command line, as the library's dataclasses declare them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Optional, get_args, get_type_hints

import typer

from rnnfast.training.option import default_of


def with_options(
    kinds: tuple[type, ...], shown: Mapping[str, str | bool], helps: Mapping[str, str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that dataclasses declare, which it receives as `**options`.

    An option that is not given is None, so that the library applies its default.

    Args:
        kinds: The dataclasses.
        shown: What the help says of defaults, where that is not the declared one.
        helps: The help of options, where that is not the declared one.
    """

    def declare(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        written = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        declared = [p for kind in kinds for p in _parameters(kind, shown, helps)]
        first, *rest = (p.replace(kind=p.KEYWORD_ONLY) for p in written)
        command.__signature__ = inspect.Signature([first, *declared, *rest])  # type: ignore[attr-defined]
        return command

    return declare


def _parameters(
    kind: type, shown: Mapping[str, str | bool], helps: Mapping[str, str]
) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        declared, default = field.metadata, default_of(field)
        if not declared["command_line"]:
            continue
        hint = hints[field.name]
        value = next(iter(get_args(hint)), hint)  # of `int | None`, int
        made = typer.Option(
            *(declared["flags"] or (f"--{field.name.replace('_', '-')}",)),
            help=helps.get(field.name, declared["help"]),
            show_default=shown.get(
                field.name, default if isinstance(default, bool) else str(default)
            ),
            rich_help_panel=declared["panel"],
        )
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[Optional[value], made],  # noqa: UP045  (a value, not a type)
        )
