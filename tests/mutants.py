"""Plant faults in the CPU engine, one at a time, and check that tests notice each.

    python tests/mutants.py [NUMBER ...]   # all faults, or some, with a table
    python tests/mutants.py --list         # what they are

In a copy of the sources each fault is conditional on a number, so that a single build contains
all of them, and RNNFAST_PLANTED chooses one. The faults are barriers that are left out, found by a
pattern, and the changes in CHANGES. A fault is noticed if a test of TESTS fails, crashes or does
not end. On few cores a missing barrier seldom changes a result, so the tests of threads look for
races under ThreadSanitizer, too. Faults that nothing notices must be listed in UNNOTICED, with the
reason.

A build with all faults, and one under ThreadSanitizer, take most of the time of a short run; both
stay in build/mutants, where later runs only compile what has changed.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pybind11

from planted_changes import CHANGES, UNNOTICED

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "mutants"

BARRIER = re.compile(r"\b((?:\w+\.)*team_?\.barrier\(\));")
NO_BARRIER = "no barrier"
BARRIERS = ["cpu/*.h", "rnn/*.cpp", "rnn/*.h"]

# The tests that are tried first for the faults of a file, by their files without "test_"; those of
# NEAR_OTHERS for other files. All of TESTS follow.
MASKS = "noise::test_masks_are_words_of_philox"
NEAR = {
    "core/dropout.h": ["dropout", MASKS],
    "core/noise.h": [MASKS, "noise::test_masks_are_bernoulli_and_their_own"],
    "core/optimiser.h": ["optim"],
    "cpu/drop.h": ["dropout"],
    "cpu/forward.h": [
        "sequence::test_matches_the_reference",
        "recompute",
        "noise::test_threads_and_recomputation_leave_the_bits",
    ],
    "cpu/gradient_product.h": ["dense", "array_layers"],
    "cpu/layout.h": [
        "sequence::test_matches_the_reference",
        "determinism::test_same_bits_for_any_number_of_threads",
    ],
    "cpu/noise.h": ["noise::test_noise_matches_the_reference_with_the_same_masks"],
    "cpu/softmax.h": ["losses", "losses_ctc"],
    "rnn/episode_states.cpp": ["reset::test_resets_match_the_reference", "learned_state"],
    "rnn/masks.cpp": [MASKS],
    "rnn/packed_batch.cpp": [
        "sequence::test_matches_the_reference",
        "reset::test_resets_match_the_reference",
    ],
}
NEAR_OTHERS = [
    "sequence::test_matches_the_reference",
    "sequence::test_gradients_are_added_to_given_arrays",
    "sequence::test_all_sequences_of_length_zero",
    "determinism::test_same_bits_for_any_number_of_threads",
]
TESTS = ["sequence", "recompute", "determinism", "small", "dropout", "noise", "reset", "projection"]
TESTS += ["learned_state", "bfloat16", "context", "dense", "array_layers", "losses", "stream"]
TESTS += ["optim", "wave", "zero_state"]
# The tests under ThreadSanitizer, likewise.
TEAMS = "wave::test_same_bits_if_several_threads_work_on_a_layer"
NEAR_RACES = {
    "cpu/convolution.h": ["array_layers"],
    "cpu/product.h": ["dense"],
    "rnn/network.cpp": [TEAMS, "noise::test_threads_and_recomputation_leave_the_bits"],
    "rnn/network_backward.cpp": [TEAMS, "noise::test_threads_and_recomputation_leave_the_bits"],
    "rnn/wave.h": [TEAMS, "wave"],
}
RACES = ["determinism", "wave", "dropout", "noise", "projection", "threads", "callers_arrays"]
RACES += ["array_layers", "dense"]
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--cells", "lstm,mut3"]
# Of the tests of determinism, those with several threads. A report of a race ends the process, so
# pytest must not capture it.
RACE_OPTIONS = [*OPTIONS, "-s", "-k", "not (alone or every_time or padding or unsorted)"]
LIMIT = 900  # seconds for some tests of a fault


@dataclass(frozen=True)
class Fault:
    """A change of the sources."""

    number: int
    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.number:3} {self.file}:{self.line} {self.what}"


def plant(folder: Path) -> list[Fault]:
    """Copy the sources to a folder, and plant all faults there."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "src", folder / "src")
    # Short builds: optimised a little, and without the second kernels of 8-bit integers.
    build = (ROOT / "CMakeLists.txt").read_text()
    build = build.replace("set(kernel_flags -O3", "set(kernel_flags -O1")
    (folder / "CMakeLists.txt").write_text(build.replace("set(vnni_avx2 avxvnni)", ""))
    faults: list[Fault] = []
    cpp = folder / "src" / "cpp"

    def number(path: Path, before: str, what: str) -> str:
        name, line = str(path.relative_to(cpp)), before.count("\n") + 1
        faults.append(Fault(len(faults) + 1, name, line, what))
        return f"PLANTED({len(faults)})"

    for name, old, new in CHANGES:
        path = cpp / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name}: expected {old!r} once, found {text.count(old)} times"
        planted = number(path, text[: text.index(old)], f"{old} -> {new.replace('@', 'fault')}")
        path.write_text(text.replace(old, new.replace("@", planted)))
    for path in sorted(p for pattern in BARRIERS for p in cpp.glob(pattern)):
        text = path.read_text()

        def leave_out(m: re.Match[str], path: Path = path, text: str = text) -> str:
            return f"if (!{number(path, text[: m.start()], NO_BARRIER)}) {m.group()}"

        path.write_text(BARRIER.sub(leave_out, text))
    (cpp / "planted.h").write_text(
        'extern "C" int rnnfast_planted;\n'
        "#define PLANTED(n) (!__builtin_is_constant_evaluated() && rnnfast_planted == (n))\n"
    )
    with (cpp / "core" / "env.cpp").open("a") as file:
        file.write(
            "#include <cstdlib>\n"
            'extern "C" int rnnfast_planted = std::atoi(std::getenv("RNNFAST_PLANTED"));\n'
        )
    return faults


def renew(folder: Path, planted: Path) -> None:
    """Give a folder the files of another, but leave those that are the same as old as they are."""

    def copy(source: str, target: str) -> None:
        if not Path(target).exists() or not filecmp.cmp(source, target, shallow=False):
            shutil.copy(source, target)

    shutil.copytree(planted, folder, copy_function=copy, dirs_exist_ok=True)
    for path in folder.rglob("*"):
        if path.is_file() and not (planted / path.relative_to(folder)).exists():
            path.unlink()


def build(sanitizer: str) -> Path:
    """Build the package with all faults, and return the folder to import it from."""
    folder, site = BUILD / f"build{sanitizer}", BUILD / f"site{sanitizer}"
    command = ["cmake", "-S", str(BUILD / "copy"), "-B", str(folder), "-G", "Ninja"]
    command += ["-DCMAKE_BUILD_TYPE=Release", "-DRNNFAST_CUDA=OFF", "-DRNNFAST_ISAS=avx2"]
    command += [f"-DCMAKE_CXX_FLAGS=-w -O1 -include {BUILD}/copy/src/cpp/planted.h"]
    command += [f"-DPython_EXECUTABLE={sys.executable}", f"-DRNNFAST_SANITIZE={sanitizer}"]
    command += [f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(folder)], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(ROOT / "python", site, ignore=shutil.ignore_patterns("*.so"))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    shutil.copy(next(folder.rglob(f"_core{suffix}")), site / "rnnfast")
    return site


def failure(
    fault: int, site: Path, tests: list[str], options: list[str] = OPTIONS, **environment: str
) -> str:
    """Run tests with a fault (0 for none) and return the first failure, or an empty text."""
    files = [re.sub(r"^(\w+)", rf"{ROOT}/tests/test_\1.py", name) for name in tests]
    added = {"PYTHONPATH": str(site), "RNNFAST_PLANTED": str(fault), "RNNFAST_POISON": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            env=os.environ | added | environment, cwd=ROOT, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "does not end"
    if done.returncode == 0:
        return ""
    if "data race" in done.stdout + done.stderr:
        return "a race"
    failed = re.search(r"^(?:FAILED|ERROR) \S*?(test_\S+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else f"exit status {done.returncode}"


def library(name: str) -> str:
    """Return the path of a library of the compiler."""
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def race(fault: int, site: Path, tests: list[str]) -> str:
    """Run tests under ThreadSanitizer with a fault, as `failure` does."""
    options = "halt_on_error=1 die_after_fork=0 report_thread_leaks=0 "
    options += f"suppressions={ROOT}/tools/thread_sanitizer.supp"
    preload = f"{library('libtsan.so')} {library('libstdc++.so')}"
    environment = {"LD_PRELOAD": preload, "TSAN_OPTIONS": options}
    # ThreadSanitizer does not see how NumPy's threads, which the tests' references use, wait.
    environment["OPENBLAS_NUM_THREADS"] = "1"
    return failure(fault, site, tests, RACE_OPTIONS, **environment)


def main() -> int:
    """Print how each fault is noticed, and return how many are not as expected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="what the faults are, and no more")
    parser.add_argument("number", nargs="*", type=int, help="faults to try; all without one")
    arguments = parser.parse_args()
    faults = plant(BUILD / "planted")
    if arguments.list:
        print(*faults, sep="\n")
        return 0
    start = time.monotonic()
    renew(BUILD / "copy", BUILD / "planted")
    site, raced = build("OFF"), build("thread")
    if not arguments.number:
        assert not (found := failure(0, site, TESTS)), f"a test fails without a fault: {found}"
        assert not (found := race(0, raced, RACES)), f"without a fault, there is: {found}"
    chosen = [f for f in faults if not arguments.number or f.number in arguments.number]

    def noticed(fault: Fault) -> str:
        near = NEAR.get(fault.file, NEAR_OTHERS)
        for tests in filter(None, (near, [name for name in TESTS if name not in near])):
            if found := failure(fault.number, site, tests):
                return found
        return ""

    def raced_or_noticed(fault: Fault) -> str:
        if fault.what != NO_BARRIER:
            return noticed(fault)
        near = NEAR_RACES.get(fault.file, [])
        tests = near + [name for name in RACES if name not in near]
        return race(fault.number, raced, tests) or noticed(fault)

    bad = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for fault, found in zip(chosen, pool.map(raced_or_noticed, chosen), strict=True):
            reason = UNNOTICED.get(f"{fault.file}: {fault.what}")
            bad += bool(found) == (reason is not None)
            text = found or (f"unnoticed: {reason}" if reason else "NOT NOTICED")
            print(f"{fault!s:70.70} {text:.70}", flush=True)
    print(f"{len(chosen)} faults, {bad} not as expected, {time.monotonic() - start:.0f} s")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
