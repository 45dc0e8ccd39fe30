"""The CUDA emulator itself: right kernels pass under every schedule, and it reports every fault.

The cases are kernels of tests/cuda_emulator/selftest*.cuh. If a report must name a line, that line
carries the comment FAULT with the name of the case.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cuda_emulator"))

from build import ROOT, SCHEDULES, build, environment

FOLDER = ROOT / "tests/cuda_emulator"

# The report of each fault.
FAULTS = {
    "deadlock": "deadlock",
    "late_bytes": "deadlock",
    "livelock": "livelock",
    "livelock_of_two": "livelock",
    "divergent_barrier": "divergent barrier",
    "divergent_warp": "divergent warp operation|thread exits while lanes",
    "not_in_mask": "not in its own mask",
    "overlapping_masks": "divergent warp operation|thread exits while lanes",
    "lane_leaves": "thread exits while lanes|names lanes that have exited",
    "half_mma": "warp of less than 32 threads",
    "mma_on_sm75": "needs sm_80",
    "mbarrier_on_sm80": "needs sm_90",
    "half_cluster_sync": "second arrival without a wait",
    "over_arrival": "more arrivals than its count of 1",
    "too_many_bytes": "4 bytes more than it expects",
    "no_init": "not initialised",
    "exited_block": "which has exited",
    "no_such_rank": "block 2 of a cluster of 2",
    "store_outside": "outside of the block's shared memory",
    "store_in_flight": "asynchronous store into its shared memory is in flight",
    "copy_in_flight": "1 asynchronous copies in flight",
    "misaligned_source": "source is no multiple of 16 bytes",
    "misaligned_target": "address is no multiple of 8 bytes",
    "copy_to_global": "outside of the block's shared memory",
    "uninitialised": "got -?nan",
}
WRONG_VALUES = ["no_wait", "early_copy"]  # under some schedules only
RACES = [
    "race_shared", "race_reuse", "race_shuffle", "race_copy", "race_late_wait", "race_blocks",
    "race_relaxed", "race_store", "race_plain", "race_fence", "race_store_async",
]  # fmt: skip
ADDRESSES = ["past_dynamic", "past_static", "past_global", "copy_past_global", "gone_block"]
CHECKED = {"misaligned_vector": "no multiple of 16", "past_row": "index 8 is outside of"}


def build_selftest(sanitizer: str | None = None, defines: tuple[str, ...] = ()) -> Path:
    return build("selftest", [FOLDER / "selftest.cu"], sanitizer=sanitizer, defines=defines)


@functools.cache
def library(*defines: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(build_selftest(defines=defines)))
    loaded.run_case.restype = loaded.case_names.restype = ctypes.c_char_p
    loaded.run_case.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint64]
    return loaded


def names(kind: str) -> list[str]:
    return library().case_names(kind.encode()).decode().split()


def run(name: str, policy: int, seed: int, *defines: str) -> str:
    return library(*defines).run_case(name.encode(), policy, seed).decode()


def fault_lines(name: str) -> set[str]:
    """Return `file:line` of the lines whose comment names the case."""
    found = set()
    for path in FOLDER.glob("selftest*.cuh"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            marked = re.search(r"// FAULT (.*)", line)
            if marked and name in marked.group(1).split():
                found.add(f"{path.relative_to(ROOT)}:{number}")
    return found


def test_no_case_is_forgotten() -> None:
    assert sorted(names("faults")) == sorted([*FAULTS, *WRONG_VALUES])
    assert sorted(names("races")) == sorted(RACES)
    assert sorted(names("addresses")) == sorted([*ADDRESSES, *CHECKED])


@pytest.mark.parametrize(("policy", "seed"), SCHEDULES)
def test_right_kernels_pass(policy: int, seed: int) -> None:
    for name in names("right"):
        assert run(name, policy, seed) == "", name


def test_fibers_of_other_processors() -> None:
    """Where no assembly switches stacks, ucontext does, and the schedules are the same."""
    for name in [*names("right"), "deadlock", "divergent_barrier"]:
        assert run(name, 2, 1, "EMULATOR_UCONTEXT") == run(name, 2, 1)


@pytest.mark.parametrize(
    "name", ["refusals", "register_limits", "static_shared", "copies_without_async"]
)
def test_virtual_devices(name: str) -> None:
    assert run(name, 2, 1) == ""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_under_every_schedule(name: str) -> None:
    lines = fault_lines(name)
    for policy, seed in SCHEDULES:
        report = run(name, policy, seed)
        assert re.search(FAULTS[name], report)
        if lines:
            assert any(re.search(rf"{re.escape(line)}\b", report) for line in lines), report
        if lines and not report.startswith("deadlock"):
            assert re.search(r"\[block \(\d+, 0, 0\), thread \(\d+, 0, 0\)\]$", report)


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_values_are_wrong_under_some_schedule(name: str) -> None:
    assert any("wrong value" in run(name, policy, seed) for policy, seed in SCHEDULES)


def test_a_seed_gives_the_same_schedule_again() -> None:
    reports = [run("divergent_barrier", 2, seed) for seed in range(1, 9)]
    assert reports == [run("divergent_barrier", 2, seed) for seed in range(1, 9)]
    assert len(set(reports)) > 1


# ---- the same under the sanitizers, in processes of their own with the runtime loaded first

RUNNER = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.run_case.restype = ctypes.c_char_p
for case in sys.argv[2:]:
    name, policy, seed = case.split(",")
    print("CASE", name, file=sys.stderr, flush=True)
    error = library.run_case(name.encode(), int(policy), ctypes.c_uint64(int(seed)))
    print("ERROR", name, error.decode(), flush=True)
"""


def run_sanitized(
    sanitizer: str, cases: list[str], options: str = ""
) -> subprocess.CompletedProcess[str]:
    path = build_selftest(sanitizer)
    return subprocess.run(
        [sys.executable, "-c", RUNNER, str(path), *cases],
        env=environment(sanitizer, options),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_right_kernels_are_clean(sanitizer: str) -> None:
    cases = [f"{name},{policy},{seed}" for name in names("right") for policy, seed in SCHEDULES[:3]]
    done = run_sanitized(sanitizer, cases)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    errors = re.findall(r"ERROR \w+(.*)", done.stdout)
    assert len(errors) == len(cases)
    assert not any(error.strip() for error in errors), done.stdout


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_faults_are_reported_under_sanitizers(sanitizer: str) -> None:
    """Abandoned threads and their stacks must not disturb the cases that run next."""
    # Under ThreadSanitizer stores arrive at once; its reports on the others are tested below.
    late = {"store_in_flight", "exited_block"} if sanitizer == "thread" else set()
    faults = [name for name in FAULTS if name not in late]
    cases = [f"{name},2,1" for fault in faults for name in (fault, "sum_grid")]
    done = run_sanitized(sanitizer, cases)
    assert done.returncode == 0, done.stderr
    for name in faults:
        assert re.search(rf"ERROR {name} .*({FAULTS[name]})", done.stdout), name
    assert re.findall(r"ERROR sum_grid(.*)", done.stdout) == [" "] * len(faults)


def sections(stderr: str) -> dict[str, str]:
    """Return the output of each case separately."""
    parts = re.split(r"^CASE (\w+)$", stderr, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_races_are_found() -> None:
    # Cases share addresses and lines, which are reported only once unless told otherwise.
    options = "suppress_equal_addresses=0 suppress_equal_stacks=0"
    done = run_sanitized("thread", [f"{name},2,1" for name in RACES], options)
    assert done.returncode == 66, done.stderr
    reports = sections(done.stderr)
    for name in RACES:
        assert "data race" in reports[name], name
        assert any(f"{line} " in reports[name] for line in fault_lines(name)), reports[name]


@pytest.mark.parametrize("name", ADDRESSES)
def test_wrong_addresses_are_found(name: str) -> None:
    done = run_sanitized("address", [f"{name},2,1"])
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr
    assert any(line in done.stderr for line in fault_lines(name)), done.stderr


@pytest.mark.parametrize("name", CHECKED)
def test_checked_accesses_are_errors_of_the_launch(name: str) -> None:
    done = run_sanitized("address", [f"{name},2,1"])
    assert done.returncode == 0, done.stderr
    assert re.search(CHECKED[name], done.stdout)
    assert any(line in done.stdout for line in fault_lines(name)), done.stdout


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
def test_nvcc_compiles_the_same_kernels(tmp_path: Path) -> None:
    """nvcc compiles them for every architecture: device.cuh has the same names for both."""
    architectures = [f"-gencode=arch=compute_{sm},code=sm_{sm}" for sm in (75, 80, 90, 100, 120)]
    command = ["nvcc", "-std=c++20", "-Werror=all-warnings", "--threads=2", "-c"]
    includes = [f"-I{ROOT / 'src'}", f"-I{ROOT / 'src/cpp'}", f"-I{FOLDER}"]
    source = tmp_path / "kernels.cu"
    source.write_text('#include "selftest_kernels.cuh"\n')
    files = [str(source), "-o", str(tmp_path / "kernels.o")]
    done = subprocess.run(
        [*command, *architectures, *includes, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
