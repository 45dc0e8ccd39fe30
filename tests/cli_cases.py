"""`rnnfast` commands that several tests run."""

from __future__ import annotations

import sys

import pytest

from rnnfast.cli import run


def words(line: str) -> list[str]:
    return line.split()


TINY = words("--hidden-size 8 --batch 4 --seq-len 16 --validate-every 0 --sample-every 0")
COMMAND = [sys.executable, "-m", "rnnfast"]

Run = tuple[int, str, str]
Capture = pytest.CaptureFixture[str]


def rnnfast_(capsys: Capture, *arguments: object) -> Run:
    code = run([str(a) for a in arguments])
    return (code, *capsys.readouterr())


def train(capsys: Capture, *arguments: object) -> Run:
    return rnnfast_(capsys, "train", *TINY, *arguments)


def refused(result: Run) -> str:
    """Return the message of a command that ended with exit code 2 and a single line of error."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("rnnfast: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("rnnfast: error: ").rstrip()
