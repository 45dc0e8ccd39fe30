"""Compare the public names of rnnfast and their arguments with the list in docs/api/names.txt.

    python tools/check_api.py [--write]

A difference is a change of the interface that users see: check that it is meant, update the
changelog, then write the new list with --write. Needs torch and scikit-learn for the packages that
build on them.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

API = Path(__file__).resolve().parents[1] / "docs" / "api"
NAMES = API / "names.txt"


def packages() -> list[str]:
    """Return the packages that have a page in docs/api."""
    pages = sorted(page.stem for page in API.glob("*.md"))
    return ["rnnfast", *(f"rnnfast.{page}" for page in pages if page != "rnnfast")]


def arguments(function: Any) -> str:
    """Return the arguments of a function with their defaults, without types."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a class that C code makes
        return "(...)"
    kept = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else Shown(p.default))
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    return str(signature.replace(parameters=kept, return_annotation=signature.empty))


class Shown:
    """A default whose text does not depend on the process: no addresses."""

    def __init__(self, value: Any) -> None:
        self._text = repr(value).split(" at 0x")[0]

    def __repr__(self) -> str:
        return self._text


def members(kind: type) -> Iterator[str]:
    """Yield the public members of a class, without those of its public base classes."""
    inherited = {name for base in kind.__mro__[1:] if public(base) for name in dir(base)}
    for name in sorted(dir(kind)):
        if name.startswith("_") and name != "__call__":
            continue
        if name in inherited and name not in vars(kind):
            continue
        member = inspect.getattr_static(kind, name)
        function = getattr(member, "__func__", member)
        yield f"{name}{arguments(function)}" if inspect.isfunction(function) else name


def public(kind: type) -> bool:
    """Return whether a class has lines of its own in the list, or belongs to another library."""
    if not kind.__module__.startswith("rnnfast"):
        return True
    return any(getattr(sys.modules[p], kind.__name__, None) is kind for p in packages())


def lines(package: str) -> Iterator[str]:
    """Yield a line for each public name of a package, and for each member of its classes."""
    module = sys.modules[package]
    for name in sorted(module.__all__):
        value = getattr(module, name)
        if inspect.isclass(value):
            yield f"{package}.{name}{arguments(value)}"
            for member in members(value):
                yield f"{package}.{name}.{member}"
        elif callable(value):
            yield f"{package}.{name}{arguments(value)}"
        else:
            yield f"{package}.{name}"


def main(*, write: bool) -> int:
    """Run the check, or write the list."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    for package in packages():
        importlib.import_module(package)
    new = "".join(f"{line}\n" for package in packages() for line in lines(package))
    if write:
        NAMES.write_text(new, encoding="utf-8")
        return 0
    old = NAMES.read_text(encoding="utf-8") if NAMES.exists() else ""
    difference = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), NAMES.name, "now"
    )
    sys.stdout.writelines(difference)
    return 0 if old == new else 1


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--write"]):
        sys.exit("usage: check_api.py [--write]")
    sys.exit(main(write=bool(sys.argv[1:])))
