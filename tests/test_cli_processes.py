"""The command `rnnfast` as a process: signals, terminals, and readers that go away."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_cases import COMMAND, TINY, Capture, train
from rnnfast.training import CharLMTrainer, load_checkpoint

pytestmark = pytest.mark.usefixtures("folder_with_a_text")

# Make standard input the controlling terminal of the session, then become the command.
WITH_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def start_training(folder: Path, *command: str) -> subprocess.Popen[str]:
    """Start a run that goes on for minutes, and wait for its first line."""
    process = subprocess.Popen(
        [*command, *COMMAND, "train", "text.txt", *TINY, "--minutes", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("gru, ")
    time.sleep(0.5)
    return process


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_saves_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = start_training(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, "")
    last = out.splitlines()[-1]
    assert last.startswith("stopped at step ")
    assert last.endswith(f"--resume {(tmp_path / 'model.safetensors').resolve()}")
    resumed = CharLMTrainer.resume(
        tmp_path / "model.safetensors", (tmp_path / "text.txt").read_text()
    )
    assert resumed.step > 0
    assert [file.name for file in tmp_path.glob(".*")] == []


def test_signals_that_are_ignored_do_not_end_training(tmp_path: Path) -> None:
    process = start_training(tmp_path, "sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh")
    for number in (signal.SIGINT, signal.SIGHUP):  # as nohup does, and scripts for background jobs
        process.send_signal(number)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_terminal_that_is_closed_does_not_lose_the_run(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", WITH_TERMINAL, *COMMAND, "train", "text.txt", *TINY]
    process = subprocess.Popen(
        [*command, "--minutes", "5"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    seen = b""
    while b"step" not in seen:
        seen += os.read(ours, 65536)
    os.close(ours)
    assert process.wait(timeout=60) == 128 + signal.SIGHUP
    resumed = CharLMTrainer.resume(
        tmp_path / "model.safetensors", (tmp_path / "text.txt").read_text()
    )
    assert resumed.step > 0


CLOSED = "rnnfast: error: standard output is closed, so nothing more can be written\n"


def test_a_reader_of_progress_that_goes_away_does_not_lose_the_run(tmp_path: Path) -> None:
    process = start_training(tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == CLOSED
    assert process.wait(timeout=60) == 1
    process.stderr.close()
    assert load_checkpoint(tmp_path / "model.safetensors").training["step"] > 0


def test_a_terminal_sees_live_progress(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "train", "text.txt", *TINY, "--steps", "200"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # how Linux reports that the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "\x1b[" in text
    assert "100%" in text
    assert "sample at step 200" in text
    assert "bits/char" in text


def test_a_reader_of_samples_may_go_away(tmp_path: Path, capsys: Capture) -> None:
    assert train(capsys, "text.txt", "--steps", 1)[0] == 0
    command = [*COMMAND, "sample", "model.safetensors", "--length", "200000"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
    process.stderr.close()


def test_a_process_without_standard_output_does_its_work(tmp_path: Path) -> None:
    for rest in ("info", f"train text.txt {' '.join(TINY)} --steps 2", "sample --length 9"):
        command = ["sh", "-c", f'"$0" -m rnnfast {rest} >&-', sys.executable]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stderr) == (0, ""), rest
    assert load_checkpoint(tmp_path / "model.safetensors").training["step"] == 2


def test_characters_that_the_terminal_cannot_show_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "greek.txt").write_text("αβγδ" * 500)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (
        ["train", "greek.txt", *TINY, "--steps", "5"],
        ["sample", "model.safetensors", "--length", "10"],
    ):
        done = subprocess.run(
            [*COMMAND, *arguments], capture_output=True, cwd=tmp_path, env=environment, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"??" in done.stdout


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import rnnfast_command; rnnfast_command.main()", "info"]
    for setting in ({"RNNFAST_ISA": "avx3"}, {"RNNFAST_NUM_THREADS": "two"}):
        environment = {**os.environ, **setting}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(
            f"rnnfast: error: environment variable {next(iter(setting))}: "
        )
        assert done.stderr.count("\n") == 1
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "cells" in done.stdout
