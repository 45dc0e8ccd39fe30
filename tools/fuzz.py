"""Search for bytes that make a reader fail with an error that it does not document.

    python tools/fuzz.py checkpoint --seconds 60

Needs atheris (`pip install atheris`), whose libFuzzer changes bytes and keeps those that reach new
lines of rnnfast's Python code. It begins with the small files that the tests make. What it finds
is a file in build/fuzz, and `python tools/fuzz.py TARGET --input FILE` runs that file alone.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import os
import resource
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import atheris
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ROOM = 1 << 30  # bytes that the readers may allocate, a thousand times what the files hold
LONGEST = 20  # seconds for one file
ROUND = 600  # seconds for one process, whose memory grows: atheris leaks comparisons of arrays
sys.path[:0] = [str(ROOT / "tests")]

with atheris.instrument_imports(include=["rnnfast"]):
    import rnnfast
    import rnnfast.onnx
    from rnnfast._engine import tensor_files
    from rnnfast.exchange import found_in
    from rnnfast.training import (
        CharLM,
        CharLMConfig,
        CharLMTrainer,
        CheckpointError,
        TextError,
        TrainingError,
        TrainingOptions,
        Vocabulary,
    )

TEXT = "the quick brown fox jumps over the lazy dog\n" * 20


class Target(NamedTuple):
    """What is searched: how one input is used, and the inputs to begin with."""

    use: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


class Equal:
    """A checksum that every file has, so that the search comes to what lies behind it."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def written(data: bytes, suffix: str) -> Path:
    """Return the path of a file with these bytes."""
    path = FOLDER / f"file{suffix}"
    path.write_bytes(data)
    return path


def tests(name: str) -> Any:
    """Return a module of the tests."""
    return importlib.import_module(name)


# ---- the targets


def use_checkpoint(data: bytes) -> None:
    """Load a language model, its run and a module."""
    path = written(data, ".safetensors")
    with mock.patch.object(tensor_files, "_digest", return_value=Equal()):
        with contextlib.suppress(CheckpointError):
            CharLM.load(path).sample(3, seed=0)
        with contextlib.suppress(CheckpointError):
            rnnfast.Module.load(path)
        with contextlib.suppress(CheckpointError, TextError, TrainingError):
            CharLMTrainer.resume(path, TEXT).validate()


def checkpoints() -> list[bytes]:
    """Return a language model, its run and a module."""
    model = CharLM(Vocabulary(TEXT), CharLMConfig("lstm", 4, 2, dropout=0.5), seed=0)
    paths = [FOLDER / name for name in ("model", "run", "module")]
    model.save(paths[0])
    options = TrainingOptions(steps=2, batch=2, seq_len=8, optimizer="rmsprop")
    CharLMTrainer(model, TEXT, options, output=paths[1]).run()
    rnnfast.Sequential(rnnfast.Linear(2, 3), rnnfast.GRU(3, 2)).save(paths[2])
    return [path.read_bytes() for path in paths]


def use_onnx(data: bytes) -> None:
    """Load the operators of a model without inference of shapes, and make a session of it.

    Inference is in a process of its own, which takes a thousand times as long as all else.
    """
    without = mock.patch("rnnfast.onnx.shapes.infer_shapes", side_effect=ValueError)
    with without, contextlib.suppress(ValueError, TypeError):
        rnnfast.onnx.load(data)
    with contextlib.suppress(ValueError, TypeError):
        tests("test_onnx_damaged").run(rnnfast.onnx.Session(data))


def use_file(suffix: str) -> Callable[[bytes], None]:
    """Return a function that looks for networks in a file of this name."""

    def use(data: bytes) -> None:
        path = written(data, suffix)
        with contextlib.suppress(ValueError):
            found_in(path)

    return use


def files(*names: str) -> Callable[[], list[bytes]]:
    """Return a function that returns some of the files of test_exchange_damaged."""
    return lambda: [tests("test_exchange_damaged").seeds()[name] for name in names]


def use_zip(data: bytes) -> None:
    """Look for networks in an archive, without regard to its checksums."""
    with mock.patch.object(zipfile.ZipExtFile, "_update_crc"):
        use_file(".pt")(data)


def traineddata() -> list[bytes]:
    """Return files of Tesseract with integers and with reals."""
    networks = [tests("test_exchange_files").tesseract_network(kind)[0] for kind in (True, False)]
    offsets = np.array([-1] * 17 + [4 + 8 * 18], "<i8").tobytes()
    return [np.array(18, "<i4").tobytes() + offsets + network for network in networks]


class Drawn:
    """The methods of NumPy's generator that test_fuzz_arguments calls, fed by the bytes given."""

    def __init__(self, data: bytes) -> None:
        self.source = atheris.FuzzedDataProvider(data)

    def integers(self, low: int, high: int | None = None, size: Any = None) -> Any:
        """Return integers in [low, high), or [0, low)."""
        first, last = (0, low - 1) if high is None else (low, high - 1)
        if size is None:
            return self.source.ConsumeIntInRange(first, last)
        count = int(np.prod(size))
        drawn = [self.source.ConsumeIntInRange(first, last) for _ in range(count)]
        return np.array(drawn, np.int64).reshape(size)

    def random(self, size: Any = None) -> Any:
        """Return reals in [0, 1)."""
        return self.integers(0, 256, size) / 256

    def normal(self, mean: float, deviation: float, size: Any) -> Any:
        """Return reals from a generator whose seed is drawn."""
        return np.random.default_rng(self.integers(256)).normal(mean, deviation, size)

    def choice(self, values: Any) -> Any:
        """Return one of the values."""
        return values[self.integers(len(values))]


def use_functional(data: bytes) -> None:
    """Call a small network with strange arguments, and again with the same values in plain ones."""
    arguments = tests("test_fuzz_arguments")
    call = arguments.Call(Drawn(data))
    call.spoil()
    arguments.check_same(call.results)


def calls() -> list[bytes]:
    """Return bytes from which calls are drawn."""
    return [np.random.default_rng(seed).bytes(300) for seed in range(20)]


TARGETS = {
    "checkpoint": Target(use_checkpoint, checkpoints),
    "onnx": Target(use_onnx, lambda: list(tests("test_onnx_damaged").seeds())),
    "hdf5": Target(use_file(".h5"), files("a.h5")),
    "traineddata": Target(use_file(".traineddata"), traineddata),
    "torch_zip": Target(use_zip, files("a.pt")),
    "functional": Target(use_functional, calls),
}

# ---- the search


def limit_memory() -> None:
    """Let the process allocate `ROOM` more bytes; what needs more ends in a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def search(target: str, seconds: int) -> None:
    """Search for some time; end the process, with status 0 only if nothing was found."""
    use, seeds = TARGETS[target].use, TARGETS[target].seeds()
    for seed in seeds:
        use(seed)
    corpus = FOLDER / "corpus"
    if not corpus.exists():
        corpus.mkdir()
        for k, seed in enumerate(seeds):
            (corpus / f"{k}").write_bytes(seed)
    found = ROOT / "build" / "fuzz"
    found.mkdir(parents=True, exist_ok=True)
    limit_memory()
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={LONGEST}",
        "-rss_limit_mb=0",  # there is a limit of all memory already
        f"-max_len={2 * max(map(len, seeds))}",
        f"-artifact_prefix={found}/{target}-",
        "-print_final_stats=1",
    ]

    def keep_what_fails(data: bytes) -> None:
        try:
            use(data)
        except BaseException:  # libFuzzer itself keeps only what crashes or hangs the process
            kept = found / f"{target}-{hashlib.sha256(data).hexdigest()[:16]}"
            kept.write_bytes(data)
            print(f"\nfound {kept}", file=sys.stderr, flush=True)
            raise

    atheris.Setup([sys.argv[0], *options, str(corpus)], keep_what_fails)
    atheris.Fuzz()


def in_a_process(work: Callable[[], None]) -> int:
    """Do some work in a child process, which libFuzzer may end; return its status."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    work()
    os._exit(0)


def main() -> int:
    """Search, or run one input; return 0 only if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--input", type=Path, help="run this input alone")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rnnfast.set_num_threads(1)
    if args.input:
        TARGETS[args.target].use(args.input.read_bytes())
        return 0
    for done in range(0, args.seconds, ROUND):
        seconds = min(ROUND, args.seconds - done)
        if status := in_a_process(partial(search, args.target, seconds)):
            return status
    return 0


if __name__ == "__main__":
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as name:
        FOLDER = Path(name)
        status = main()
    sys.exit(status)
