"""The command `rnnfast`: what it does, what it prints, and how it refuses."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rnnfast
from rnnfast import functional
from rnnfast.cli import run
from rnnfast.training import CharLM, Trainer, load_checkpoint, stdlib_text


def words(line: str) -> list[str]:
    return line.split()


TINY = words("--hidden-size 8 --batch 4 --seq-len 16 --validate-every 0 --sample-every 0")
COMMAND = [sys.executable, "-m", "rnnfast"]

Run = tuple[int, str, str]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _few_threads_in_a_folder_of_its_own(
    threads: None,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rnnfast.set_num_threads(1)
    monkeypatch.setenv("RNNFAST_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(stdlib_text(6000))


def rnnfast_(capsys: Capture, *arguments: object) -> Run:
    code = run([str(a) for a in arguments])
    return (code, *capsys.readouterr())


def train(capsys: Capture, *arguments: object) -> Run:
    return rnnfast_(capsys, "train", *TINY, *arguments)


def refused(result: Run) -> str:
    """The message of a command that ended with exit code 2, and with one line of error alone."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("rnnfast: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("rnnfast: error: ").rstrip()


@pytest.fixture
def model(capsys: Capture) -> Path:
    assert train(capsys, "text.txt", "--steps", 3)[0] == 0
    return Path("model.safetensors")


# ---- train


def test_train_prints_plain_lines_and_writes_a_model(capsys: Capture) -> None:
    code, out, err = rnnfast_(
        capsys,
        *words("train text.txt --cell gru --layers 2 --width 8 --embedding-size 5 --dropout 0.1"),
        *words("--batch 4 --seq-len 16 --optimizer rmsprop --learning-rate 0.01"),
        *words("--schedule linear --precision bfloat16"),
        *words("--decay 0.9 --clip-norm 0 --clip-value 1 --steps 4 --validate-every 2 --seed 3"),
        *words("--sample-every 3 --sample-length 20 --checkpoint-every 3 --validation 0.2"),
        *words("--threads 1 -o other.safetensors"),
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("gru, ")
    assert lines[0].endswith("text.txt")
    assert sum(line.startswith("step 2, ") and "validation" in line for line in lines) == 1
    assert "--- sample at step 3" in lines
    assert lines[-1] == f"step 4: saved {Path('other.safetensors').resolve()}"
    assert "\x1b" not in out
    checkpoint = load_checkpoint("other.safetensors")
    assert checkpoint.model["config"] == {
        "cell": "gru",
        "hidden_size": 8,
        "num_layers": 2,
        "embedding_size": 5,
        "dropout": 0.1,
        "dtype": "float32",
        "precision": "bfloat16",
    }
    options = checkpoint.training["options"]
    assert (options["optimizer"], options["schedule"], options["decay"]) == (
        "rmsprop",
        "linear",
        0.9,
    )
    assert (options["clip_norm"], options["clip_value"], options["minutes"]) == (0, 1, 0)


def test_train_without_a_file_reads_the_standard_library(capsys: Capture) -> None:
    code, out, _ = train(capsys, "--steps", 1, "--validation", 0.001)
    assert code == 0
    assert "text: the Python standard library" in out
    assert load_checkpoint("model.safetensors").training["source"] == []
    assert rnnfast_(capsys, "train", "--resume", "model.safetensors", "--steps", 2)[0] == 0


def test_train_resumes_bit_by_bit_from_any_folder(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = ("text.txt", "--schedule", "constant")
    assert train(capsys, *constant, "--steps", 8, "-o", "whole.safetensors")[0] == 0
    assert train(capsys, *constant, "--minutes", 60, "--steps", 4)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, out, _ = rnnfast_(capsys, "train", "--resume", "../model.safetensors", "--steps", 8)
    assert code == 0
    assert "step 8: saved" in out
    whole, parts = CharLM.load("../whole.safetensors"), CharLM.load("../model.safetensors")
    for p, q in zip(whole.parameters(), parts.parameters(), strict=True):
        assert p.value.tobytes() == q.value.tobytes(), p.name


def test_train_refuses_what_is_wrong_before_it_reads_the_text(capsys: Capture) -> None:
    gone = "gone.txt"
    for arguments, message in [
        (("--cell", "lsmt"), f"expected one of {', '.join(functional.cells())}, got 'lsmt'"),
        (("--optimizer", "adan"), "optimizer: expected one of adam, "),
        (("--schedule", "wild"), "schedule: expected one of constant, "),
        (("--hidden-size", 0), "hidden_size: expected at least 1, got 0"),
        (("--num-layers", 0), "num_layers: expected at least 1, got 0"),
        (("--dropout", 0.5), "dropout: acts between recurrent layers"),
        (("--batch", 0), "batch: expected at least 1, got 0"),
        (("--steps", -1), "steps: expected at least 1, got -1"),
        (("--threads", 0), "threads: expected at least 1, got 0"),
        (("-o", "gone/model.safetensors"), "cannot be written"),
        (("-o", "."), "cannot be written: it is a directory"),
        (("--hidden-size", "big"), "Invalid value for '--hidden-size'"),
        (("--colour", "red"), "--colour"),
    ]:
        assert message in refused(train(capsys, gone, *arguments))


def test_train_refuses_texts(capsys: Capture) -> None:
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("empty.txt").touch()
    Path("short.txt").write_text("too short")
    for file, message in [
        ("gone.txt", "gone.txt: cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        ("latin.txt", "latin.txt: not UTF-8: byte 0xe9 at offset 3"),
        ("empty.txt", "empty.txt: the text is empty"),
        ("short.txt", "9 characters are shorter than a sequence"),
    ]:
        assert message in refused(train(capsys, file))
    assert not Path("model.safetensors").exists()


def test_train_does_not_replace_a_file_unasked(capsys: Capture) -> None:
    Path("model.safetensors").write_text("precious")
    arguments = ("text.txt", "--steps", 1)
    assert "model.safetensors exists: give --resume" in refused(train(capsys, *arguments))
    assert Path("model.safetensors").read_text() == "precious"
    assert train(capsys, *arguments, "--overwrite")[0] == 0
    assert CharLM.load("model.safetensors")


def test_resume_refuses(capsys: Capture, model: Path) -> None:
    def resume(*arguments: object) -> str:
        return refused(rnnfast_(capsys, "train", "--resume", *arguments))

    assert "the run is finished, at step 3" in resume(model)
    assert "hidden_size: cannot change" in resume(model, "--hidden-size", 9)
    assert "seed: cannot change" in resume(model, "--seed", 9)
    assert "batch: cannot change" in resume(model, "--batch", 9)
    assert "cannot be read: No such file" in resume("gone.safetensors")
    assert "not a checkpoint" in resume("text.txt")
    Path("text.txt").write_text("changed")
    assert "was trained on another text" in resume(model, "--steps", 9)


def test_divergence_is_one_line_and_exit_code_1(capsys: Capture) -> None:
    code, _, err = train(
        capsys,
        *words("text.txt --cell rnn_relu --optimizer sgd --learning-rate 1e30 --clip-norm 0"),
    )
    assert code == 1
    assert err.startswith("rnnfast: error: the loss is ")
    assert err.count("\n") == 1


# ---- sample, evaluate, info


def test_sample_writes_the_prime_and_repeats_with_its_seed(capsys: Capture, model: Path) -> None:
    arguments = ("sample", model, "--prime", "def f", "--length", 30, "--seed", 5)
    code, one, err = rnnfast_(capsys, *arguments)
    assert (code, err) == (0, "")
    assert one.startswith("def f")
    assert len(one) == len("def f") + 30 + 1
    assert rnnfast_(capsys, *arguments)[1] == one
    likeliest = ("--temperature", 0, "--length", 9)
    greedy = rnnfast_(capsys, "sample", model, *likeliest)[1]
    assert rnnfast_(capsys, "sample", model, "--top-k", 1, "--length", 9)[1] == greedy
    stopped = rnnfast_(capsys, "sample", model, *likeliest, "--stop", greedy[0])[1]
    assert stopped == greedy[0] + "\n"


def test_sample_refuses(capsys: Capture, model: Path) -> None:
    assert "character 'é' (U+00E9) at position 3" in refused(
        rnnfast_(capsys, "sample", model, "--prime", "café")
    )
    assert "temperature: expected" in refused(
        rnnfast_(capsys, "sample", model, "--temperature", -1)
    )
    assert "cannot be read" in refused(rnnfast_(capsys, "sample", "gone.safetensors"))
    assert "not a checkpoint" in refused(rnnfast_(capsys, "sample", "text.txt"))
    assert "MODEL" in refused(rnnfast_(capsys, "sample")).upper()


def test_evaluate_prints_bits_per_character(capsys: Capture, model: Path) -> None:
    code, out, err = rnnfast_(capsys, "evaluate", model, "text.txt")
    bits = CharLM.load(model).bits_per_character(Path("text.txt").read_text())
    assert (code, err) == (0, "")
    assert out == f"text.txt: {bits:.4f} bits per character (6,000 characters)\n"
    Path("greek.txt").write_text("αβγ")
    assert "character 'α'" in refused(rnnfast_(capsys, "evaluate", model, "greek.txt"))
    assert "FILE" in refused(rnnfast_(capsys, "evaluate", model)).upper()


def test_info_tells_of_the_machine_and_of_models(capsys: Capture, model: Path) -> None:
    code, out, err = rnnfast_(capsys, "info")
    assert (code, err) == (0, "")
    assert rnnfast.__version__ in out
    assert rnnfast.cpu_info()["isa"] in out
    assert all(cell in out for cell in functional.cells())
    code, out, err = rnnfast_(capsys, "info", model)
    assert (code, err) == (0, "")
    assert "gru" in out
    assert "validation loss" in out
    CharLM.load(model).save(model)
    assert "validation loss" not in rnnfast_(capsys, "info", model)[1]
    assert "not a checkpoint" in refused(rnnfast_(capsys, "info", "text.txt"))


def test_help_and_version(capsys: Capture) -> None:
    for arguments in ([], ["--help"], ["train", "-h"]):
        code, out, err = rnnfast_(capsys, *arguments)
        assert (code, err) == (0, "")
        assert "Usage: " in out
    assert rnnfast_(capsys, "--version")[1] == f"rnnfast {rnnfast.__version__}\n"
    assert "sampel" in refused(rnnfast_(capsys, "sampel"))


# ---- as a process


def test_interrupt_saves_and_ends_cleanly(tmp_path: Path) -> None:
    command = [*COMMAND, "train", "text.txt", *TINY, "--minutes", "5"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("gru, ")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    last = out.splitlines()[-1]
    assert last.startswith("stopped at step ")
    assert last.endswith(f"--resume {(tmp_path / 'model.safetensors').resolve()}")
    resumed = Trainer.resume(tmp_path / "model.safetensors", (tmp_path / "text.txt").read_text())
    assert resumed.step > 0
    assert [file.name for file in tmp_path.glob(".*")] == []


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
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "\x1b[" in text
    assert "100%" in text
    assert "sample at step 200" in text
    assert "bits/char" in text


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path, capsys: Capture) -> None:
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
