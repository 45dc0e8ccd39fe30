"""The compiled module of the CUDA engine, where there is one, loads without any CUDA library."""

from __future__ import annotations

import importlib
import re
import subprocess

import pytest

from rnnfast.cuda import _engines

extension = _engines.compiled_module()
pytestmark = pytest.mark.skipif(extension is None, reason="rnnfast was built without CUDA")


def test_no_library_of_cuda_is_linked() -> None:
    path = importlib.import_module("rnnfast._cuda").__file__
    assert path is not None
    needed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    assert not re.findall(r"libcu\w+|libnv\w+", needed)


def test_asking_for_devices_needs_no_driver() -> None:
    assert extension is not None
    count, error = extension.device_count()
    assert (count == 0) or not error
    if error:
        assert re.match(r"cudaError\w+: ", error)
        assert error in str(_engines.unavailable_reason())


def test_the_emulator_is_not_in_it() -> None:
    assert not hasattr(extension, "set_schedule")
