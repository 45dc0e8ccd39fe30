"""Configuration files of training runs: the options of the command line in TOML."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from rnnfast import _files
from rnnfast._files import AnyPath
from rnnfast.training.config import CharLMConfig
from rnnfast.training.job import JobOptions
from rnnfast.training.options import TrainingOptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PATHS = ("output", "log", "tensorboard")


class ConfigError(ValueError):
    """A configuration file that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class RunConfig:
    """Checked contents of a configuration file, without defaults for missing options.

    Attributes:
        files: The text files, or None; relative paths start at the configuration file's folder.
        job: Options of `JobOptions`, from the top level of the file.
        model: Options of `CharLMConfig`, from the table `[model]`.
        training: Options of `TrainingOptions`, from the table `[training]`.
    """

    files: list[str] | None
    job: dict[str, Any]
    model: dict[str, Any]
    training: dict[str, Any]


def read_config(path: AnyPath, cell: Callable[[str], Any] | None = None) -> RunConfig:
    """Read a configuration file.

    Args:
        path: A TOML file.
        cell: Turns the name of a cell into the `cell` of `CharLMConfig`; None keeps the name.

    Raises:
        ConfigError: The file cannot be read or is not TOML, or a key is unknown, or its value is of
            the wrong type or out of range.
    """
    tables = _read(path)
    top = {name: tables.pop(name) for name in list(tables) if name not in ("model", "training")}
    files = _files_of(path, top.pop("files", None))
    model, training = (_table(path, name, tables.get(name, {})) for name in ("model", "training"))
    if cell is not None and isinstance(model.get("cell"), str):
        model["cell"] = _named(path, "model.cell", lambda: cell(model["cell"]))
    folder = Path(path).absolute().parent
    config = RunConfig(
        files,
        _checked(path, "", top, JobOptions, ("files", "model", "training")),
        _checked(path, "model.", model, CharLMConfig),
        _checked(path, "training.", training, TrainingOptions),
    )
    config.job.update({n: str(folder / config.job[n]) for n in _PATHS if config.job.get(n)})
    return config


def _read(path: AnyPath) -> dict[str, Any]:
    try:
        with _files.open_to_read(path) as file:
            return dict(tomllib.load(file))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error


def _files_of(path: AnyPath, files: Any) -> list[str] | None:
    if files is None:
        return None
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise ConfigError(f"{path}: files: expected a list of strings, got {files!r}")
    return [str(Path(path).absolute().parent / name) for name in files]


def _table(path: AnyPath, name: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name}: expected a table [{name}], got {table!r}")
    return table


def _checked(
    path: AnyPath, prefix: str, table: Mapping[str, Any], kind: type, others: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Check the keys and values of a table of options of `kind`, separately and together."""
    declared = {f.name: f for f in fields(kind)}
    for name, value in table.items():
        if name not in declared:
            raise ConfigError(f"{path}: {prefix}{name}: {_unknown(name, (*declared, *others))}")
        _named(path, f"{prefix}{name}", partial(declared[name].metadata["check"], name, value))
    _named(path, prefix.removesuffix("."), lambda: kind(**table))
    return dict(table)


def _named(path: AnyPath, key: str, make: Callable[[], Any]) -> Any:
    """Return what `make` returns, turning its errors into a ConfigError that names the key."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        name = key.rpartition(".")[2]
        message = str(error).removeprefix(f"{name}: ")
        raise ConfigError(f"{path}: {key}: {message}") from error


def _unknown(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
    return f"unknown key; {hint}"
