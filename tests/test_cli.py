"""The command `rnnfast`: what it does, what it prints, and what it refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import rnnfast
from cli_cases import Capture, refused, rnnfast_, train, words
from rnnfast._engine.known import COMPILED
from rnnfast.training import CharLM, load_checkpoint

pytestmark = pytest.mark.usefixtures("folder_with_a_text")


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
    os.mkfifo("fifo")
    Path("link").symlink_to("fifo")
    for arguments, message in [
        (("--cell", "lsmt"), "got 'lsmt'; did you mean 'lstm' or 'slstm'"),
        (("--optimizer", "adan"), "optimizer: expected one of adam, "),
        (("--schedule", "wild"), "schedule: expected one of constant, "),
        (("--hidden-size", 0), "hidden_size: expected at least 1, got 0"),
        (("--num-layers", 0), "num_layers: expected at least 1, got 0"),
        (("--dropout", 0.5), "dropout: expected 0 with num_layers = 1"),
        (("--batch", 0), "batch: expected at least 1, got 0"),
        (("--steps", -1), "steps: expected at least 1, got -1"),
        (("--steps", 0), "steps: expected at least 1, got 0"),
        (("--epochs", 0), "epochs: expected at least 1, got 0"),
        (("--minutes", 0), "minutes: expected more than 0, got 0"),
        (("--minutes", "nan"), "minutes: expected more than 0, got nan"),
        (("--steps", 5, "--minutes", -1), "minutes: expected more than 0, got -1"),
        (("--threads", 0), "threads: expected at least 1, got 0"),
        (("--threads", 10**30), "threads: expected at most 1024, got 1000"),
        (("-o", "gone/model.safetensors"), "cannot be written"),
        (("-o", "."), "cannot be written: it is a directory"),
        (("-o", "fifo"), "fifo: cannot be written: it is a FIFO, not a regular file"),
        (("-o", "link"), "link: cannot be written: it is a FIFO, not a regular file"),
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
        ("latin.txt", "latin.txt: is not UTF-8: byte 0xe9 at offset 3"),
        ("empty.txt", "empty.txt: the text is empty"),
        ("short.txt", "a sequence for each stream, got 9"),
    ]:
        assert message in refused(train(capsys, file))
    huge = ("text.txt", "--hidden-size", 99_999_999_999)
    assert "GiB of memory, but this machine has" in refused(train(capsys, *huge))
    assert not Path("model.safetensors").exists()


def test_train_takes_the_names_of_other_libraries_for_its_options(capsys: Capture) -> None:
    arguments = words("text.txt --steps 1 --lr 0.01 --batch-size 3 --seq-len 9 --hidden-size 5")
    assert rnnfast_(capsys, "train", *arguments)[0] == 0
    options = load_checkpoint("model.safetensors").training["options"]
    assert (options["learning_rate"], options["batch"]) == (0.01, 3)


def test_resume_without_a_value_goes_on_with_the_default_output(
    capsys: Capture, model: Path
) -> None:
    assert rnnfast_(capsys, "train", "--resume", "--steps", 5)[0] == 0
    assert "the run ended at step 5" in refused(rnnfast_(capsys, "train", "--resume"))
    model.unlink()
    assert refused(rnnfast_(capsys, "train", "--resume")) == (
        "model.safetensors does not exist in this folder; create it with `rnnfast train`, or name "
        "another file"
    )


def test_a_model_of_bytes_reads_any_file(capsys: Capture) -> None:
    Path("any").write_bytes(bytes(range(256)) * 20)
    code, out, _ = train(capsys, "any", "--bytes", "--steps", 3, "--validation", 0.2)
    assert code == 0
    assert "256 different bytes" in out
    assert "bits/byte" in out
    assert rnnfast_(capsys, "train", "--resume", "--steps", 4)[0] == 0
    assert "bytes: cannot be changed" in refused(rnnfast_(capsys, "train", "--resume", "--bytes"))
    code, out, _ = rnnfast_(capsys, "sample", "--prime", "日本", "--length", 50, "--seed", 1)
    assert (code, out[:2]) == (0, "日本")
    Path("other").write_text("日本")
    code, out, _ = rnnfast_(capsys, "evaluate", "model.safetensors", "other", "any")
    assert code == 0
    assert [line.split(" bits per ")[1] for line in out.splitlines()] == [
        "byte (6 bytes)",
        "byte (5,120 bytes)",
    ]
    assert "256 bytes" in rnnfast_(capsys, "info", "model.safetensors")[1]
    assert "(the last 1,024 bytes of " in rnnfast_(capsys, "evaluate")[1]


def test_train_does_not_replace_a_file_unasked(capsys: Capture) -> None:
    Path("model.safetensors").write_text("precious")
    arguments = ("text.txt", "--steps", 1)
    assert "model.safetensors exists; use --resume" in refused(train(capsys, *arguments))
    assert Path("model.safetensors").read_text() == "precious"
    assert train(capsys, *arguments, "--overwrite")[0] == 0
    assert CharLM.load("model.safetensors")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("text.txt --overwrite --output text.txt", "output"),
        ("text.txt --overwrite --log text.txt", "log"),
        ("text.txt --log model.safetensors", "log"),
    ],
)
def test_train_writes_no_file_that_it_reads_or_writes_already(
    capsys: Capture, options: str, name: str
) -> None:
    before = Path("text.txt").read_bytes()
    message = refused(train(capsys, *words(options), "--steps", 1))
    assert message.startswith(f"{name}: expected a file of its own, got ")
    assert Path("text.txt").read_bytes() == before


def test_resume_refuses(capsys: Capture, model: Path) -> None:
    def resume(*arguments: object) -> str:
        return refused(rnnfast_(capsys, "train", "--resume", *arguments))

    assert "the run ended at step 3" in resume(model)
    assert "hidden_size: cannot be changed" in resume(model, "--hidden-size", 9)
    assert "seed: cannot be changed" in resume(model, "--seed", 9)
    assert "batch: cannot be changed" in resume(model, "--batch", 9)
    assert "steps: expected at least 1, got 0" in resume(model, "--steps", 0)
    assert "minutes: expected more than 0, got 0" in resume(model, "--minutes", 0)
    assert "cannot be read: No such file" in resume("gone.safetensors")
    assert "not a checkpoint" in resume("text.txt")
    Path("text.txt").write_text("changed")
    assert "was trained on a different text" in resume(model, "--steps", 9)


def test_divergence_is_one_line_and_exit_code_1(capsys: Capture) -> None:
    diverging = words("text.txt --optimizer sgd --clip-norm 0 --schedule constant --overwrite")
    Path("model.safetensors").write_text("the last good one")
    for rest, message in (
        ("--cell rnn_relu --learning-rate 1e30 --validation 0", "the loss is "),
        ("--learning-rate 1e5 --steps 1", " bits per character, but guessing costs only "),
        ("--learning-rate 1e300 --steps 1 --checkpoint-every 1", " is not finite; "),
    ):
        code, _, err = train(capsys, *diverging, *words(rest))
        assert code == 1
        assert err.startswith("rnnfast: error: training diverged at step ")
        assert message in err
        assert err.count("\n") == 1
        assert Path("model.safetensors").read_text() == "the last good one"


# ---- sample, evaluate, info


def test_sample_writes_the_prime_and_repeats_with_its_seed(capsys: Capture, model: Path) -> None:
    arguments = ("sample", model, "--prime", "def f", "--length", 30, "--seed", 5)
    code, one, err = rnnfast_(capsys, *arguments)
    assert (code, err) == (0, "")
    assert one.startswith("def f")
    assert len(one) == len("def f") + 30 + 1
    assert rnnfast_(capsys, *arguments)[1] == one
    arguments = (*arguments[:1], *arguments[2:])  # no model: the default output is used
    assert rnnfast_(capsys, *arguments)[1] == one
    likeliest = ("--temperature", 0, "--length", 9)
    greedy = rnnfast_(capsys, "sample", model, *likeliest)[1]
    assert rnnfast_(capsys, "sample", model, "--top-k", 1, "--length", 9)[1] == greedy
    assert rnnfast_(capsys, "sample", model, "--top-p", 0, "--length", 9)[1] == greedy
    stopped = rnnfast_(capsys, "sample", model, *likeliest, "--stop", greedy[0])[1]
    assert stopped == greedy[0] + "\n"


def test_sample_writes_several_texts(capsys: Capture, model: Path) -> None:
    arguments = ("sample", model, "--prime", "def f", "--length", 30, "--seed", 5)
    one = rnnfast_(capsys, *arguments)[1]
    code, out, err = rnnfast_(capsys, *arguments, "--count", 3)
    assert (code, err) == (0, "")
    texts = re.split(r"^--- sample \d\n", out, flags=re.M)
    assert (texts[0], texts[1], len(texts), len(set(texts))) == ("", one, 4, 4)
    stopped = rnnfast_(capsys, *arguments, "--count", 2, "--top-k", 1, "--stop", one[5])[1]
    assert stopped.startswith("--- sample 1\ndef f")


def test_sample_refuses(capsys: Capture, model: Path) -> None:
    assert "character 'é' (U+00E9) at position 3" in refused(
        rnnfast_(capsys, "sample", model, "--prime", "café")
    )
    assert "temperature: expected" in refused(
        rnnfast_(capsys, "sample", model, "--temperature", -1)
    )
    assert "cannot be read" in refused(rnnfast_(capsys, "sample", "gone.safetensors"))
    assert "not a checkpoint" in refused(rnnfast_(capsys, "sample", "text.txt"))
    assert "top_k: expected" in refused(rnnfast_(capsys, "sample", model, "--top-k", -1))
    assert "length: expected" in refused(rnnfast_(capsys, "sample", model, "--length", -1))
    assert "seed: expected" in refused(rnnfast_(capsys, "sample", model, "--seed", -1))
    assert "top_p: expected" in refused(rnnfast_(capsys, "sample", model, "--top-p", 2))
    assert "count: expected" in refused(rnnfast_(capsys, "sample", model, "--count", 0))
    model.unlink()
    for command in ("sample", "evaluate"):
        assert "does not exist in this folder" in refused(rnnfast_(capsys, command))


def test_evaluate_prints_bits_per_character(capsys: Capture, model: Path) -> None:
    code, out, err = rnnfast_(capsys, "evaluate", model, "text.txt")
    bits = CharLM.load(model).bits_per_character(Path("text.txt").read_text())
    assert (code, err) == (0, "")
    assert out == f"text.txt: {bits:.4f} bits per character (6,000 characters)\n"
    Path("greek.txt").write_text("αβγ")
    counted = "20.0848 bits per character (3 characters, 3 of them unknown, at 20.08 bits each)"
    assert rnnfast_(capsys, "evaluate", model, "greek.txt") == (0, f"greek.txt: {counted}\n", "")
    Path("short.txt").write_text("i")
    assert "at least 2 characters" in refused(rnnfast_(capsys, "evaluate", model, "short.txt"))


def test_evaluate_says_that_the_model_comes_first(capsys: Capture, model: Path) -> None:
    hint = "; the first argument is the model: rnnfast evaluate model.safetensors text.txt"
    for arguments in (["text.txt"], ["text.txt", "text.txt"], ["text.txt", model]):
        message = refused(rnnfast_(capsys, "evaluate", *arguments))
        assert message.startswith("text.txt: is not a checkpoint")
        assert message.endswith(hint)
    assert "first argument" not in refused(rnnfast_(capsys, "evaluate", "gone.safetensors"))


def test_evaluate_without_a_text_takes_what_was_held_out(capsys: Capture, model: Path) -> None:
    bits = load_checkpoint(model).training["validation_bits"]
    expected = (
        f"model.safetensors: {bits:.4f} bits per character (the last 300 characters of "
        f"{Path('text.txt').resolve()}, held out)\n"
    )
    assert rnnfast_(capsys, "evaluate") == (0, expected, "")
    assert rnnfast_(capsys, "evaluate", model) == (0, expected, "")
    Path("text.txt").write_text("changed")
    assert "was trained on a different text" in refused(rnnfast_(capsys, "evaluate"))
    Path("text.txt").unlink()
    assert "text.txt: cannot be read" in refused(rnnfast_(capsys, "evaluate"))
    CharLM.load(model).save(model)
    assert "does not say what it was trained on" in refused(rnnfast_(capsys, "evaluate"))


def test_evaluate_says_where_nothing_was_held_out(capsys: Capture) -> None:
    assert train(capsys, "text.txt", "--steps", 1, "--validation", 0)[0] == 0
    assert "was trained on all of its text" in refused(rnnfast_(capsys, "evaluate"))


def test_info_tells_of_the_machine_and_of_models(capsys: Capture, model: Path) -> None:
    code, out, err = rnnfast_(capsys, "info")
    assert (code, err) == (0, "")
    assert rnnfast.__version__ in out
    assert rnnfast.cpu_info()["isa"] in out
    assert all(cell in out for cell in COMPILED)
    code, out, err = rnnfast_(capsys, "info", model)
    assert (code, err) == (0, "")
    assert "gru" in out
    assert "validation loss" in out
    CharLM.load(model).save(model)
    assert "validation loss" not in rnnfast_(capsys, "info", model)[1]
    assert "not a checkpoint" in refused(rnnfast_(capsys, "info", "text.txt"))


def test_info_tells_the_steps_made_not_the_limit(capsys: Capture, model: Path) -> None:
    assert rnnfast_(capsys, "train", "--resume", model, "--epochs", 1)[0] == 0
    training = load_checkpoint(model).training
    out = rnnfast_(capsys, "info", model)[1]
    assert re.search(rf"^steps made +{training['step']:,} in \d+:\d\d$", out, re.MULTILINE)
    assert re.search(r"^option steps +0$", out, re.MULTILINE)
    assert re.search(r"^option epochs +1$", out, re.MULTILINE)


def test_help_and_version(capsys: Capture) -> None:
    for arguments in ([], ["--help"], ["train", "-h"]):
        code, out, err = rnnfast_(capsys, *arguments)
        assert (code, err) == (0, "")
        assert "Usage: " in out
    assert rnnfast_(capsys, "--version")[1] == f"rnnfast {rnnfast.__version__}\n"
    assert "sampel" in refused(rnnfast_(capsys, "sampel"))
