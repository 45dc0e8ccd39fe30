"""Damaged files of other libraries end in a `ValueError`: no crash, hang or large allocation.

The same few hundred examples run each time. For a longer search, with new examples each time:

    RNNFAST_FUZZ_EXAMPLES=20000 pytest tests/test_exchange_damaged.py
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import random
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnnfast
from exchange_cases import H, I, numbers
from rnnfast.exchange import found_in
from test_exchange_files import tesseract_network
from test_exchange_graphdef import frozen_graph

EXAMPLES = int(os.environ.get("RNNFAST_FUZZ_EXAMPLES", "600"))
SECONDS = 20
ROOM = 1 << 18  # bytes besides ten times the size of a file: patterns and modules, once
GOLDEN = Path(__file__).with_name("exchange_golden")


@lru_cache
def seeds() -> dict[str, bytes]:
    """Return whole files by their names."""
    keras = json.loads((GOLDEN / "keras2.json").read_text())[0]["packed"]
    h5 = zlib.decompress(base64.b64decode(keras))
    state = rnnfast.LSTM(I, H, 2, seed=1).state_dict()
    npz = io.BytesIO()
    np.savez(npz, **state)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        config = {"class_name": "LSTM", "config": {"name": "lstm", "units": 4}}
        file.writestr("config.json", json.dumps({"config": {"layers": [config]}}))
        file.writestr("metadata.json", json.dumps({"keras_version": "3.0"}))
        file.writestr("model.weights.h5", h5)
    result = {
        "a.h5": h5,
        "a.keras": archive.getvalue(),
        "a.npz": npz.getvalue(),
        "a.safetensors": safetensors.numpy.save(state),
        "a.lstm": tesseract_network(integers=True)[0],
        "b.lstm": tesseract_network(integers=False)[0],
        "a.pb": frozen_graph(),
        "a.dynet": json.loads((GOLDEN / "dynet.json").read_text())[0]["file"].encode(),
    }
    for k, one in enumerate(json.loads((GOLDEN / "coreml.json").read_text())):
        result[f"{k}.mlmodel"] = zlib.decompress(base64.b64decode(one["packed"]))
    with contextlib.suppress(ImportError):
        import torch

        content = {"model": {n: torch.from_numpy(v) for n, v in state.items()}, "step": 3}
        for name, archived in (("a.pt", True), ("b.pt", False)):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=archived)
            result[name] = buffer.getvalue()
    return result


@contextlib.contextmanager
def bounded(size: int) -> Iterator[None]:
    """Fail if Python and NumPy allocate more than ten times `size`, or take long."""
    start = time.monotonic()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 10 * size + ROOM
        assert time.monotonic() - start < SECONDS
    finally:
        tracemalloc.stop()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with a part changed, cut off, removed or repeated."""
    content = bytearray(data)
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 2, 8, 100)))
    kind = rng.randrange(5)
    if kind == 0:
        for _ in range(rng.choice((1, 1, 4, 30))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        content[start:end] = rng.choice((rng.randbytes(end - start), b"\xff" * (end - start)))
    elif kind == 2:
        del content[start:]
    elif kind == 3:
        del content[start:end]
    else:
        content[start:start] = content[start:end]
    return bytes(content)


def damaged_member(data: bytes, rng: random.Random) -> bytes:
    """Return an archive in which a member is damaged but its checksum is right."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            content = old.read(name)
            new.writestr(name, damaged(content, rng) if name == chosen and content else content)
    return result.getvalue()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # damaged weights may be huge
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize="RNNFAST_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck), database=None,
)  # fmt: skip
@given(
    name=st.sampled_from(sorted(seeds())),
    changes=st.integers(1, 3),
    rng=st.integers(0, 2**63).map(random.Random),
)
def test_damaged_files_end_in_documented_errors(
    name: str, changes: int, rng: random.Random, tmp_path_factory: Any
) -> None:
    content = seeds()[name]
    for _ in range(changes):
        with contextlib.suppress(Exception):  # of zipfile, on an archive that is damaged already
            inside = zipfile.is_zipfile(io.BytesIO(content)) and rng.random() < 0.8
            content = damaged_member(content, rng) if inside else damaged(content, rng)
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    with bounded(len(content)), contextlib.suppress(ValueError):
        found_in(path)


@pytest.mark.parametrize("name", sorted(seeds()))
def test_whole_files_are_bounded_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(seeds()[name])
    if name == "a.keras":  # its file of HDF5 is of the older form, so its names differ
        with pytest.raises(ValueError, match="has no weights"):
            found_in(path)
        return
    found_in(path)
    with bounded(len(seeds()[name])):
        assert found_in(path)


def test_a_pickle_without_the_mark_that_it_refers_to(tmp_path: Path) -> None:
    for program in (b"]e.", b"}u.", b"t."):
        with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
            archive.writestr("m/data.pkl", program)
        with pytest.raises(ValueError, match=r"cannot read .*there is no mark"):
            found_in(tmp_path / "m.pt")


def test_names_in_groups_have_no_slashes(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    whole = seeds()["a.h5"].replace(b"model_config", b"other_config")  # read without a description
    path.write_bytes(whole)
    assert found_in(path)
    for name in (b"bia/:0\0", b"\0" * 7):
        path.write_bytes(whole.replace(b"\0bias:0\0", b"\0" + name))
        with pytest.raises(ValueError, match="expected a name without slashes in a group"):
            found_in(path)


class TestLargeClaims:
    """Small files that claim to be large."""

    def read(self, path: Path) -> None:
        with bounded(path.stat().st_size), pytest.raises(ValueError, match="source: cannot read"):
            found_in(path)

    def test_archives(self, tmp_path: Path) -> None:
        for name, member in (("m.npz", "a.npy"), ("m.pt", "m/data.pkl")):
            with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(member, bytes(1 << 26))
            self.read(tmp_path / name)

    def test_arrays_of_numpy(self, tmp_path: Path) -> None:
        buffer = io.BytesIO()
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40,)}
        np.lib.format.write_array_header_1_0(buffer, header)
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
            archive.writestr("a.npy", buffer.getvalue())
        self.read(tmp_path / "m.npz")

    def test_pickles(self, tmp_path: Path) -> None:
        """Places far away in a memo, and lists that hold one another a billion times."""
        pairs = [b"h%ch%c\x86q%c" % (k, k, k + 1) for k in range(60)]
        for program in (b"}r\xff\xff\xff\xff0.", b"]q\x00" + b"".join(pairs) + b"."):
            with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
                archive.writestr("m/data.pkl", program)
            self.read(tmp_path / "m.pt")

    def test_text(self, tmp_path: Path) -> None:
        line = "#Parameter# /vanilla-lstm-builder/_0 {1000000,1000000} 5 ZERO_GRAD\n1 2\n"
        (tmp_path / "m").write_text(line)
        self.read(tmp_path / "m")

    def test_weights_of_other_sizes(self, tmp_path: Path) -> None:
        arrays = {"weight_ih_l0": numbers(4, 3), "weight_hh_l0": numbers(4, 2)}
        np.savez(tmp_path / "m.npz", **arrays)
        assert found_in(tmp_path / "m.npz") == []
