"""Threads and memory set from the environment, and the memory cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import rnnfast

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
        ({"RNNFAST_NUM_THREADS": "", "OMP_NUM_THREADS": ""}, len(os.sched_getaffinity(0))),
    ],
)
def test_threads_from_the_environment(settings: dict[str, str], threads: int) -> None:
    assert cpu_info(**settings)["threads"] == threads


@pytest.mark.parametrize(
    ("name", "value", "lowest"),
    [
        ("RNNFAST_NUM_THREADS", "0", 1),
        ("RNNFAST_NUM_THREADS", "two", 1),
        ("RNNFAST_CACHE_LIMIT", "-1", 0),
        ("RNNFAST_CACHE_LIMIT", "1GiB", 0),
    ],
)
def test_a_bad_setting_fails_the_import(name: str, value: str, lowest: int) -> None:
    done = run_python("import rnnfast", **{name: value})
    assert done.returncode != 0
    assert f"{name}: expected an integer of at least {lowest}, got '{value}'" in done.stderr


@pytest.mark.parametrize("name", ["RNNFAST_ISA", "RNNFAST_NUM_THREADS", "RNNFAST_CACHE_LIMIT"])
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
