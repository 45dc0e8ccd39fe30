"""Checkpoints are whole or refused: damaged, truncated and foreign files give a clear error."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from rnnfast.training import (
    CharLM,
    CharLMConfig,
    CharLMTrainer,
    Checkpoint,
    CheckpointError,
    TrainingOptions,
    Vocabulary,
    checkpoint,
    load_checkpoint,
)
from rnnfast.training.checkpoint import check_output, save_checkpoint

TEXT = "the quick brown fox jumps over the lazy dog\n" * 20


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    model = CharLM(Vocabulary(TEXT), CharLMConfig(hidden_size=4), seed=0)
    CharLMTrainer(model, TEXT, TrainingOptions(steps=3, batch=2, seq_len=8), output=path).run()
    return path.read_bytes()


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "empty": np.zeros((0, 4)),
        "transposed": np.arange(6.0).reshape(2, 3).T,
    }
    saved = Checkpoint(
        {"vocabulary": "aé🎉\n\0"}, {"step": 2**60, "loss": 0.1, "no": None}, tensors
    )
    save_checkpoint(path, saved)
    loaded = load_checkpoint(path)
    assert (loaded.model, loaded.training) == (saved.model, saved.training)
    assert loaded.tensors.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], array, strict=True)


def test_other_programs_can_read_the_weights(tmp_path: Path) -> None:
    model = CharLM(Vocabulary(TEXT), CharLMConfig(hidden_size=4), seed=0)
    model.save(tmp_path / "m.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    assert tensors.keys() == {p.name for p in model.parameters()}
    loaded = CharLM.load(tmp_path / "m.safetensors")
    assert loaded.vocabulary == model.vocabulary
    assert loaded.config == model.config
    assert loaded.sample(20, seed=1) == model.sample(20, seed=1)


def test_every_truncation_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    for length in {0, 1, 7, 8, 9, len(good) - 1, *range(10, len(good), 97)}:
        path.write_bytes(good[:length])
        assert "is not a checkpoint, or is damaged" in refused(path)


def test_every_flipped_bit_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.safetensors"
    rng = np.random.default_rng(0)
    header = int.from_bytes(good[:8], "little")
    places = {*range(8), *rng.integers(0, len(good), 300), *rng.integers(8, 8 + header, 300)}
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        assert refused(path)


def test_added_bytes_are_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    path.write_bytes(good + b"\0")
    assert "is not a checkpoint, or is damaged" in refused(path)


def test_damage_that_the_format_cannot_see_is_told_by_the_checksum(
    good: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert refused(path) == "is damaged: its contents do not match its checksum"


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_text("just a text, longer than a header's eight bytes\n")
    assert refused(path).startswith("is not a checkpoint, or is damaged: no safetensors header")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x" * 1000)
    assert refused(path).startswith("is not a checkpoint, or is damaged: no safetensors header")
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path)
    assert refused(path) == "is not a checkpoint of an rnnfast language model"
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path, metadata={"format": "pt"})
    assert refused(path) == "is not a checkpoint of an rnnfast language model"
    header = b"[" * 50_000  # JSON nested too deeply for any parser
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "is not a checkpoint, or is damaged" in refused(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path) == "cannot be read: Is a directory"
    assert refused(tmp_path / "gone") == "cannot be read: No such file or directory"
    assert refused(Path(os.devnull)) == (
        "cannot be read: it is a character device, not a regular file"
    )
    os.mkfifo(tmp_path / "fifo")  # nobody writes to it, so reading it would block forever
    assert refused(tmp_path / "fifo") == "cannot be read: it is a FIFO, not a regular file"


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "future.safetensors"
    monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 2)
    save_checkpoint(path, Checkpoint({}))
    monkeypatch.undo()
    assert refused(path) == (
        "is a checkpoint in format version 2, but this version of rnnfast reads version 1"
    )


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"config": {}, "vocabulary": ""},
        {"config": {}, "vocabulary": 7},
        {"config": {"cell": "unheard_of"}, "vocabulary": "ab"},
        {"config": {"colour": "red"}, "vocabulary": "ab"},
        {"config": {"hidden_size": "big"}, "vocabulary": "ab"},
        {"config": {"hidden_size": 5}, "vocabulary": "ab"},
        {"config": {"hidden_size": 4.0}, "vocabulary": "ab"},
        {"config": {"hidden_size": 4}, "vocabulary": ["a", "b"]},
        {"config": {"hidden_size": 4}, "vocabulary": {"unit": "bytes"}},
        {"config": {"hidden_size": 10**9}, "vocabulary": "ab"},  # would take hours or all memory
        {"config": {"hidden_size": 4, "num_layers": 10**12}, "vocabulary": "ab"},
        {"config": {"hidden_size": 4, "embedding_size": 10**12}, "vocabulary": "ab"},
    ],
    ids=json.dumps,
)
def test_a_checkpoint_without_a_model_is_refused(model: dict, tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    tensors = CharLM(Vocabulary("ab"), CharLMConfig(hidden_size=4)).state_dict()
    save_checkpoint(path, Checkpoint(model, tensors=tensors))
    with pytest.raises(CheckpointError, match="contains no model that can be built"):
        CharLM.load(path)


def test_a_model_that_is_not_finite_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    model = CharLM(Vocabulary("ab"), CharLMConfig(hidden_size=4))
    tensors = model.state_dict()
    saved = Checkpoint(model.describe(), tensors=tensors)
    save_checkpoint(path, saved)
    CharLM.load(path)
    tensors["head.bias"][0] = np.inf
    with pytest.raises(CheckpointError, match=r"was not written, as head\.bias is not finite"):
        save_checkpoint(path, saved)
    with pytest.raises(CheckpointError, match=r"built: head\.bias is not finite"):
        CharLM.from_checkpoint(saved, path)


def test_a_file_of_terabytes_is_refused_before_it_is_read(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    path.write_bytes(good)
    os.truncate(path, 2**43)  # sparse, so it takes no disk space
    assert "reading it takes 16,384.0 GiB of memory, but this machine has" in refused(path)


def test_a_write_that_fails_leaves_the_old_file(
    good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(good)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match="cannot be written: No space left on device"):
        save_checkpoint(path, Checkpoint({}))
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoints_follow_links_and_the_umask(tmp_path: Path) -> None:
    target, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    save_checkpoint(link, Checkpoint({}))
    assert link.is_symlink()
    assert load_checkpoint(target) == load_checkpoint(link)
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode


def test_unwritable_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written: it is a directory"):
        check_output(tmp_path)
    with pytest.raises(CheckpointError, match="gone is not a directory"):
        check_output(tmp_path / "gone" / "m.safetensors")
    with pytest.raises(CheckpointError, match="cannot be written: "):
        check_output("/proc/m.safetensors")
    with pytest.raises(CheckpointError, match="cannot be written: "):
        save_checkpoint("/proc/m.safetensors", Checkpoint({}))
    assert check_output(tmp_path / "m.safetensors") == tmp_path.resolve() / "m.safetensors"
    assert not list(tmp_path.iterdir())
