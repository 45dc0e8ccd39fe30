"""Options of training runs: declared once; read from files, the command line and the library."""

from __future__ import annotations

import csv
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cli_cases import Capture, refused, rnnfast_, train, words
from rnnfast.cli.train import train as command
from rnnfast.training import (
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    ConfigError,
    CSVLog,
    JobOptions,
    Record,
    RunOptions,
    TrainingOptions,
    load_checkpoint,
    read_config,
)
from training_cases import SMALL, TEXT, VOCABULARY, options

pytestmark = pytest.mark.usefixtures("folder_with_a_text")

RUN = """
files = ["text.txt"]
output = "out.safetensors"
log = "log.csv"
seed = 3

[model]
cell = "lstm"
hidden_size = 8

[training]
steps = 4
batch = 4
seq_len = 16
optimizer = "rmsprop"
optimizer_options = {momentum = 0.5}
validate_every = 2
sample_every = 0
log_every = 1
"""


def table(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(path).read_text().splitlines()))


@pytest.mark.parametrize("kind", [CharLMConfig, TrainingOptions, RunOptions, JobOptions])
def test_options_are_documented_and_on_the_command_line_as_declared(kind: type) -> None:
    on_the_command_line = inspect.signature(command).parameters
    text = inspect.getdoc(kind)
    assert text is not None
    for field in fields(kind):
        declared = field.metadata
        assert f"\n    {field.name}: {declared['help']} Default: " in text
        assert (field.name in on_the_command_line) == declared["command_line"]


def test_a_run_of_a_file_has_the_bits_of_one_of_the_command_line(capsys: Capture) -> None:
    Path("runs").mkdir()
    Path("runs/run.toml").write_text(RUN.replace('"text.txt"', '"../text.txt"'))
    code, out, err = rnnfast_(capsys, "train", "--config", "runs/run.toml", "--width", 9)
    assert (code, err) == (0, "")
    given = "--cell lstm --width 9 --seed 3 --steps 4 --batch 4 --seq-len 16 --optimizer rmsprop"
    rest = "--validate-every 2 --sample-every 0 --log-every 1"
    assert rnnfast_(capsys, "train", "text.txt", *words(f"{given} {rest}"))[0] == 0
    of_file = load_checkpoint("runs/out.safetensors")
    other = load_checkpoint("model.safetensors")
    assert of_file.model == other.model
    assert of_file.training["options"].pop("optimizer_options") == {"momentum": 0.5}
    assert other.training["options"].pop("optimizer_options") == {}
    assert of_file.training["options"] == other.training["options"]
    rows = table("runs/log.csv")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row["validation_loss"]) for row in rows] == [False, True, False, True]
    assert f"{float(rows[-1]['validation_loss']):.3f} bits/char" in out


def test_a_config_is_there_for_the_library() -> None:
    Path("run.toml").write_text(RUN)
    config = read_config("run.toml")
    assert config.files == [str(Path("text.txt").absolute())]
    assert config.job == {
        "output": str(Path("out.safetensors").absolute()),
        "log": str(Path("log.csv").absolute()),
        "seed": 3,
    }
    assert CharLMConfig(**config.model) == CharLMConfig("lstm", 8)
    assert TrainingOptions(**config.training).optimizer_options == {"momentum": 0.5}
    Path("empty.toml").touch()
    empty = read_config("empty.toml")
    assert (empty.files, empty.job, empty.model, empty.training) == (None, {}, {}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nstepz = 4", "training.stepz: unknown key; did you mean 'steps'?"),
        ("[training]\nsteps = 'ten'", "training.steps: expected an integer, got str"),
        ("[training]\nsteps = 1.0", "training.steps: expected an integer, got float"),
        ("[training]\nsteps = -1", "training.steps: expected at least 0, got -1"),
        ("[training]\noptimizer = 'adan'", "training.optimizer: expected one of adam, "),
        (
            "[training]\noptimizer_options = {momentun = 1}",
            "training: optimizer_options: ",
        ),
        ("[model]\ncell = 'lsmt'", "model.cell: expected a name"),
        ("[model]\ncell = 3", "model.cell: expected"),
        ("[model]\ncell = 'gone.py:mine'", "model.cell: expected FILE.py:NAME, got a file"),
        ("[model]\ndropout = 0.5", "model: dropout: expected 0 with num_layers = 1"),
        ("[modle]\ncell = 'gru'", "modle: unknown key; did you mean 'model'?"),
        ("training = 3", "training: expected a table [training], got 3"),
        ("colour = 'red'", "colour: unknown key; expected one of bytes, seed, threads, "),
        ("files = 'text.txt'", "files: expected a list of strings, got 'text.txt'"),
        ("output = 3", "output: expected str, got int"),
        ("bytes = 1", "bytes: expected True or False, got 1"),
        ("threads = 0", "threads: expected at least 1, got 0"),
        ("seed = ", "is not valid TOML: "),
        ("a = '\xe9'", "is not valid TOML: "),
    ],
)
def test_a_wrong_config_is_one_line_that_names_the_file_and_the_key(
    capsys: Capture, text: str, message: str
) -> None:
    Path("run.toml").write_text(text, encoding="latin-1")
    error = refused(rnnfast_(capsys, "train", "--config", "run.toml"))
    assert error.startswith(f"run.toml: {message}")


def test_configs_are_refused(capsys: Capture) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        read_config("gone.toml")
    assert train(capsys, "text.txt", "--steps", 1)[0] == 0
    Path("run.toml").write_text(RUN)
    error = refused(rnnfast_(capsys, "train", "--config", "run.toml", "--resume"))
    assert error.startswith("config: cannot be combined with --resume")


# ---- early stopping, the best checkpoints and logs of language models


def run(steps: int, **rest: Any) -> CharLMTrainer:
    changes = {"validate_every": 2, "log_every": 3, "schedule": "constant"} | rest.pop("run", {})
    model = CharLM(VOCABULARY, SMALL, seed=1)
    return CharLMTrainer(model, TEXT, options(steps=steps, **changes), **rest)


def test_a_log_of_a_resumed_run_is_that_of_one_in_one_piece() -> None:
    run(12, callbacks=[CSVLog("whole.csv")]).run()
    run(6, output="parts.safetensors", callbacks=[CSVLog("parts.csv")]).run()
    with Path("parts.csv").open("a") as file:
        file.write("7,steps,of,which,no,checkpoint,knows,,\n")
    CharLMTrainer.resume("parts.safetensors", TEXT, steps=12, callbacks=[CSVLog("parts.csv")]).run()
    whole, parts = table("whole.csv"), table("parts.csv")
    assert tuple(whole[0]) == Record._fields
    assert [row["step"] for row in whole] == ["2", "3", "4", "6", "8", "9", "10", "12"]
    for name in ("step", "epoch", "loss", "validation_loss", "gradient_norm", "clip_share"):
        assert [row[name] for row in whole] == [row[name] for row in parts], name


def test_patience_and_the_best_checkpoints_of_a_language_model(capsys: Capture) -> None:
    code, out, err = train(
        capsys,
        *words("text.txt --optimizer sgd --learning-rate 0 --steps 50 --patience 2"),
        *words("--validate-every 3 --keep-best 2 --log-every 5"),
    )
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "ended at step 9, as the validation loss has stopped improving"
    kept = sorted(path.name for path in Path().glob("*.safetensors"))
    assert kept == ["model.safetensors", "model.step3.safetensors", "model.step6.safetensors"]
    assert load_checkpoint("model.step3.safetensors").training["step"] == 3
    code, out, _ = rnnfast_(capsys, "train", "--resume", "--steps", 60, "--patience", 5)
    assert (code, "ended at step 18" in out) == (0, True)  # the two validations before it count
    assert "patience: expected data to validate on" in refused(
        train(capsys, "text.txt", "--overwrite", "--validation", 0, "--patience", 1)
    )


def test_a_log_is_not_replaced_unasked(capsys: Capture) -> None:
    Path("log.csv").write_text("precious")
    arguments = ("text.txt", "--steps", 1, "--log", "log.csv")
    assert "log.csv exists; use --overwrite" in refused(train(capsys, *arguments))
    assert Path("log.csv").read_text() == "precious"
    assert "gone is not a directory" in refused(
        train(capsys, "text.txt", "--steps", 1, "--log", "gone/log.csv")
    )
    assert train(capsys, *arguments, "--overwrite")[0] == 0
    assert Path("log.csv").read_text().startswith("step,epoch,seconds,loss,")
    assert rnnfast_(capsys, "train", "--resume", "--steps", 2, "--log", "log.csv")[0] == 0
    assert [line.split(",")[0] for line in Path("log.csv").read_text().split()] == [
        "step",
        "1",
        "2",
    ]


def test_accumulation_resumes_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    accumulate = {"accumulate": 3, "validate_every": 0}
    whole = run(10, run=accumulate)
    whole.run()
    path = tmp_path / "m.safetensors"
    run(5, run=accumulate, output=path).run()
    resumed = CharLMTrainer.resume(path, TEXT, steps=10)
    assert (resumed.step, resumed.epoch) == (5, 15 / len(whole.batches.batches))
    resumed.run()
    for name, value in whole.model.state_dict().items():
        assert value.tobytes() == resumed.model.state_dict()[name].tobytes(), name
    with pytest.raises(ValueError, match="accumulate: cannot be changed when a run is resumed"):
        CharLMTrainer.resume(path, TEXT, accumulate=1)
