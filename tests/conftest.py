"""Shared fixtures, and three switches.

    RNNFAST_TEST_DEVICE=emulated pytest

makes that device the default of layers, and `cases.weights_of` puts weights there. Tests of what
the device does not support are skipped with the device's own message.

    pytest --cells lstm,mut3

runs only those tests of cells that are about the cells named.

    RNNFAST_TEST_SKIPS=known pytest

fails a test or a file that is skipped for a reason not in `KNOWN_SKIPS`. Otherwise a package that
is missing by mistake would silently disable its tests.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rnnfast
from rnnfast import functional
from rnnfast._engine import backends
from rnnfast.benchmark.onnx_peers import without_telemetry
from rnnfast.training import stdlib_text

os.environ.setdefault("KERAS_BACKEND", "jax")  # without it, Keras wants TensorFlow
without_telemetry()  # the warning of JAX would fail a test now and then
DEVICE = os.environ.get("RNNFAST_TEST_DEVICE", "cpu")
# Files that do not depend on the device, by reason.
NOT_OF_DEVICES = {
    "test_array_layers.py": "layers of the CPU alone",
    "test_autograd.py": "tensors, which are of the CPU",
    "test_autograd_layers.py": "tensors, which are of the CPU",
    "test_containers.py": "layers of the CPU alone",
    "test_context.py": "contexts",
    "test_context_arguments.py": "contexts",
    "test_context_streams.py": "contexts",
    "test_dispatch.py": "instruction sets of the CPU",
    "test_gradcheck.py": "float64, and tensors, which are of the CPU",
    "test_guarded_arrays.py": "the CPU engine's memory",
    "test_huge_arguments.py": "layers of the CPU alone",
    "test_int8.py": "products of 8-bit integers",
    "test_layers_as_torch.py": "layers of the CPU alone",
    "test_memory.py": "the CPU engine's memory",
    "test_noise.py": "noise inside the steps",
    "test_recompute.py": "recomputation",
    "test_reset.py": "resets",
    "test_small.py": "the CPU's paths for few rows",
    "test_stateful.py": "weights that are read-only in evaluation",
    "test_threads.py": "threads of the CPU",
}
# Tests that take minutes on the emulator; tests/cuda has small cases of the same.
LONG_ON_THE_EMULATOR = {
    "test_cli.py": "whole runs of the command line",
    "test_cli_processes.py": "whole runs of the command line",
    "test_language_model.py": "whole training runs",
    "test_training.py": "whole training runs",
    "test_training_ends.py": "whole training runs",
    "test_checkpoint.py": "whole training runs",
    "test_config_file.py": "whole runs of the command line",
    "test_progress.py": "whole training runs",
    "test_tokens.py": "whole training runs",
    "test_trainer.py": "whole training runs",
    "test_trainer_resumes.py": "whole training runs",
}
# What a device refuses: the type of the error and how its message begins.
REFUSALS = (
    (TypeError, r"[\w.]+: expected float32 on device "),
    (ValueError, "recompute: expected False on device "),
    (ValueError, r"precision: expected 'full' or 'bfloat16' on device "),
    (
        ValueError,
        r"zoneout, input_dropout, recurrent_dropout, candidate_dropout: expected 0 on device ",
    ),
    (
        ValueError,
        r"(device: expected 'cpu'|x: expected an array on the CPU), as \w+ runs only on the CPU",
    ),
    (ValueError, "stream: expected layers that have a step on any device, got one of kind "),
    (ValueError, r"cell '\w+': a step that normalises over the units runs only on the CPU"),
)
# Why tests are skipped even if everything that .ci/run installs is there, by how reasons begin.
KNOWN_SKIPS = re.compile(
    r"device '(emulated_ptx|cuda)': |rnnfast was built without CUDA|there is (a CUDA|an NVIDIA) "
    r"|(nvcc|ptxas) is not on PATH|there is no cuobjdump|CuPy, which has NVRTC, is not installed"
    r"|tensor cores multiply bfloat16 from |clusters are from |normalises, which has no kernels"
    r"|the module has all kernels of this cell|a pickled array of the emulator is one of "
    r"|this CPU does not support |only AVX-512 has two ways"
    r"|RNNFAST_TEST_LARGE is not set"
    r"|RNNFAST_TEST_SANITIZERS is not set|.*; RNNFAST_TEST_FIRST_USE=all runs it"
    r"|(tokenizers|torchdata|IPython|onnxscript|openvino|playwright|tract) is not installed"
    r"|there is no Chromium"
    r"|SCIPY_ARRAY_API is not set|array_api_strict is not installed"  # from scikit-learn
)
SKIPS = os.environ.get("RNNFAST_TEST_SKIPS", "")


def pytest_configure() -> None:
    """Restore signals that the parent process ignores, as shells do for background jobs.

    Tests send these signals, and a training run does not handle signals that are ignored.
    """
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Check the skips of whole files."""
    return fail_if_unknown((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Check the skips of tests."""
    return fail_if_unknown((yield))


def fail_if_unknown(report: Any) -> Any:
    """Turn a skip for an unknown reason into a failure if `SKIPS` asks for it."""
    if SKIPS == "known" and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        if not KNOWN_SKIPS.match(reason.removeprefix("Skipped: ")):
            report.outcome = "failed"
            report.longrepr = (
                f"expected a reason of KNOWN_SKIPS in tests/conftest.py, got {reason!r}"
            )
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cells", help="run what tests have of these cells only, as in lstm,mut3")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of cells that `--cells` does not name, and keep those of no cell."""
    if not config.getoption("--cells"):
        return
    chosen = set(config.getoption("--cells").split(","))
    if unknown := chosen - set(functional.cells()):
        raise pytest.UsageError(
            f"--cells: expected some of {', '.join(functional.cells())}, got {unknown}"
        )
    others = [item for item in items if cells_of(item) - chosen]
    items[:] = [item for item in items if not cells_of(item) - chosen]
    config.hook.pytest_deselected(items=others)


def cells_of(item: pytest.Item) -> set[str]:
    """Return the cells that a test's parameters name, as strings or as attributes of cases."""
    spec = getattr(item, "callspec", None)
    named = [getattr(value, "cell", value) for value in (spec.params.values() if spec else ())]
    return {name for name in named if isinstance(name, str)} & set(functional.cells())


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads after a test that sets it."""
    before = rnnfast.get_num_threads()
    yield
    rnnfast.set_num_threads(before)


@pytest.fixture
def one_thread(threads: None) -> None:  # noqa: ARG001
    """Run on one thread: small models gain nothing from a second one on a busy CPU."""
    rnnfast.set_num_threads(1)


@pytest.fixture
def folder_with_a_text(
    threads: None,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run a command-line test on one thread, in a folder that contains `text.txt`."""
    rnnfast.set_num_threads(1)
    monkeypatch.setenv("RNNFAST_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(stdlib_text(6000))


def is_refusal(error: BaseException | None) -> bool:
    """Return whether an error is a device's refusal, not one that only quotes it."""
    return any(isinstance(error, kind) and re.match(begin, str(error)) for kind, begin in REFUSALS)


if DEVICE != "cpu":
    if DEVICE != "cuda":
        import emulated  # noqa: F401  (the device)
    backends.get(DEVICE)  # fail with a clear message before any test if the device cannot be used
    backends.register(None, lambda: backends.get(DEVICE))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
        """Turn a device's refusals into skips."""
        name = Path(item.path).name
        if name in NOT_OF_DEVICES:
            pytest.skip(f"of the CPU alone: {NOT_OF_DEVICES[name]}")
        if of_cpu := item.get_closest_marker("cpu_only"):
            pytest.skip(f"of the CPU alone: {of_cpu.args[0]}")
        if name in LONG_ON_THE_EMULATOR and DEVICE != "cuda":
            pytest.skip(f"too long for the emulator: {LONG_ON_THE_EMULATOR[name]}")
        try:
            yield
        except (TypeError, ValueError) as error:
            if is_refusal(error):
                pytest.skip(str(error))
            raise
        except AssertionError as error:  # raised by pytest.raises, which expected another message
            if is_refusal(error.__context__):
                pytest.skip(str(error.__context__))
            raise


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the cell of each call that packs weights."""
    calls: list[str] = []
    pack = functional.pack

    def counting(cell: str, *arguments: Any, **options: Any) -> functional.Packed:
        calls.append(cell)
        return pack(cell, *arguments, **options)

    monkeypatch.setattr(functional, "pack", counting)
    return calls
