"""Threads and memory settings from the environment, and the memory cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rnnfast
from rnnfast import _core

CPUS = rnnfast.cpu_info()["cpus"]  # available to this process by affinity and control groups
ONE_PLACE = f"{{{min(os.sched_getaffinity(0))}}}"
REPORT = "import json, rnnfast; print(json.dumps(rnnfast.cpu_info()))"


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def cpu_info(**environment: str) -> dict[str, object]:
    done = run_python(REPORT, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        ({"RNNFAST_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, 5),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "4,2"}, 4),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": ""}, CPUS),
        # OpenMP binds threads to single CPUs, but the team may still use all.
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "", "OMP_PROC_BIND": "true"}, CPUS),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "", "OMP_PROC_BIND": "close"}, CPUS),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "", "OMP_PLACES": "cores"}, CPUS),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "", "OMP_PLACES": ONE_PLACE}, 1),
        # OpenMP reports values that are not numbers; large numbers are bounded here.
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "all"}, CPUS),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "0"}, CPUS),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "99999999999"}, CPUS),
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": "5000"}, max(CPUS, 8)),
        ({"RNNFAST_NUM_THREADS": "1024", "OMP_NUM_THREADS": ""}, max(CPUS, 8)),
    ],
)
def test_threads_from_the_environment(settings: dict[str, str], threads: int) -> None:
    assert cpu_info(**settings)["threads"] == threads


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RNNFAST_NUM_THREADS", "0", "at least 1 and at most 1024"),
        ("RNNFAST_NUM_THREADS", "two", "at least 1 and at most 1024"),
        ("RNNFAST_NUM_THREADS", "1025", "at least 1 and at most 1024"),
        ("RNNFAST_NUM_THREADS", str(2**31), "at least 1 and at most 1024"),
        ("RNNFAST_NUM_THREADS", str(2**32 + 2), "at least 1 and at most 1024"),
        ("RNNFAST_NUM_THREADS", str(2**70), "at least 1 and at most 1024"),
        ("RNNFAST_CACHE_LIMIT", "-1", "at least 0"),
        ("RNNFAST_CACHE_LIMIT", "1GiB", "at least 0"),
        ("RNNFAST_CHECK_INPUTS", "yes", "at least 0"),
    ],
)
def test_a_bad_setting_fails_the_import(name: str, value: str, expected: str) -> None:
    done = run_python("import rnnfast", **{name: value})
    assert done.returncode != 0
    assert f"{name}: expected an integer of {expected}, got '{value}'" in done.stderr


CGROUPS = {  # files below a root, and the number of CPUs that they grant
    "version 2": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
    "version 2, no limit": (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"},
        0,
    ),
    "version 2, the parent's": (
        {
            "proc/self/cgroup": "0::/pods/one\n",
            "sys/fs/cgroup/pods/one/cpu.max": "800000 100000\n",
            "sys/fs/cgroup/pods/cpu.max": "300000 100000\n",
        },
        3,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/a\n3:cpu,cpuacct:/a\n0::/\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
        },
        1,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": "1:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        0,
    ),
    "version 1, the host's path in a container": (
        {
            "proc/self/cgroup": "1:cpu:/docker/1f/init\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        3,
    ),
    "another controller": (
        {
            "proc/self/cgroup": "1:cpuset:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        0,
    ),
    "none": ({}, 0),
    "nonsense": ({"proc/self/cgroup": "0:\n::\n0::x", "sys/fs/cgroup/cpu.max": "-1 0"}, 0),
}


@pytest.mark.parametrize("case", CGROUPS)
def test_cpus_that_control_groups_grant(case: str, tmp_path: Path) -> None:
    files, cpus = CGROUPS[case]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert _core._cpu_quota(str(tmp_path)) == cpus


SUB_INTERPRETER = r"""
try:
    import _xxsubinterpreters as interpreters  # until Python 3.12
except ImportError:
    import _interpreters as interpreters
code = "try:\n    import rnnfast\nexcept ImportError as error:\n    print(error)"
interpreters.run_string(interpreters.create(), code)
print("ended")
"""


def test_an_import_in_a_sub_interpreter_is_an_import_error() -> None:
    done = run_python(SUB_INTERPRETER)
    assert done.returncode == 0, done.stderr
    error, end = done.stdout.splitlines()[-2:]
    assert end == "ended"
    assert error  # NumPy's own error where it refuses first
    if sys.version_info < (3, 12):
        assert "rnnfast cannot be imported in a sub-interpreter" in error


@pytest.mark.parametrize(
    "name", ["RNNFAST_ISA", "RNNFAST_NUM_THREADS", "RNNFAST_L2_BYTES", "RNNFAST_CACHE_LIMIT"]
)
def test_the_message_of_a_bad_setting_ends_with_what_came(name: str) -> None:
    done = run_python("import rnnfast", **{name: "avx3"})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: environment variable {name}: expected ")
    assert last.endswith("got 'avx3'")


FORWARD = """
import json
import numpy as np, rnnfast
layer = rnnfast.LSTM(8, 16)
for _ in range(5):
    layer(np.ones((6, 4, 8), np.float32))
"""


def cache_info_after_calls(**environment: str) -> dict[str, int]:
    code = FORWARD + "print(json.dumps(rnnfast.cache_info()))"
    done = run_python(code, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(rnnfast.cache_info()["limit_bytes"] == 0, reason="the cache is switched off")
def test_freed_blocks_are_used_again_and_can_be_given_back() -> None:
    layer = rnnfast.LSTM(8, 16).eval()
    x = np.ones((6, 4, 8), np.float32)
    layer(x)
    first = rnnfast.cache_info()
    layer(x)
    second = rnnfast.cache_info()
    assert second["hits"] > first["hits"]
    assert second["misses"] == first["misses"]
    assert second["cached_bytes"] > 0
    rnnfast.empty_cache()
    assert rnnfast.cache_info()["cached_bytes"] == rnnfast.cache_info()["cached_blocks"] == 0


def test_the_cache_keeps_to_its_limit() -> None:
    info = cache_info_after_calls(RNNFAST_CACHE_LIMIT="0")
    assert info["limit_bytes"] == info["cached_bytes"] == info["hits"] == 0
    assert info["misses"] > 0


def test_results_do_not_depend_on_what_memory_held_before() -> None:
    code = FORWARD + "print(layer(np.ones((6, 4, 8), np.float32))[0].sum().hex())"
    code = code.replace("LSTM(8, 16)", "LSTM(8, 16, seed=3)").replace(".sum()", ".sum().item()")
    clean, poisoned = (run_python(code, RNNFAST_POISON=poison) for poison in ("", "1"))
    assert clean.returncode == poisoned.returncode == 0, clean.stderr + poisoned.stderr
    assert "nan" not in clean.stdout
    assert clean.stdout == poisoned.stdout
