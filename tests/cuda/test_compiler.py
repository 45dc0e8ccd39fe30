"""Kernels compiled at first use: NVRTC gets their source, and the disk cache keeps the results."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import emulated
import pytest

from rnnfast.cuda import _compiler, _engines
from rnnfast.cuda._compiler import Image
from rnnfast.cuda._kernels import Kernels, Unit, kernels, traced_cell

needs_nvrtc = pytest.mark.skipif(
    importlib.util.find_spec("cupy") is None, reason="CuPy, which has NVRTC, is not installed"
)
TEXT = Kernels("text", ["a", "b"])
MADE = Image(b"code\n\0", ["_Z1a", "_Z1b"])


def text_of(cell: str, kernel: str, backward: bool) -> Kernels:
    """Return the source of a kernel; the emulator's module knows the names of its functions."""
    reason = emulated.unavailable_reason("emulated")
    if reason is not None:
        pytest.skip(reason)
    backend = _engines.named("emulated")
    unit = Unit(backend.cell(cell), kernel, backward, paired=True)
    return kernels(backend.extension, unit, traced_cell(cell))


@needs_nvrtc
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("capability", [75, 90])
@pytest.mark.parametrize(
    ("cell", "kernel"),
    [("mut2", "grid"), ("mut2", "cluster"), ("nas", "flags"), ("scrn", "gemm"), ("indrnn", "grid")],
)
def test_nvrtc_takes_the_text(cell: str, kernel: str, capability: int, backward: bool) -> None:
    text = text_of(cell, kernel, backward)
    made = _compiler.compiled(text, capability)
    assert made.code.startswith(b"\x7fELF")
    assert len(made.functions) == len(text.functions) == len(set(made.functions))
    for name in made.functions:
        assert name.encode() in made.code


@needs_nvrtc
def test_messages_of_the_compiler_are_told() -> None:
    with pytest.raises(RuntimeError, match=r"NVRTC cannot compile a:\n.*error"):
        _compiler.compiled(Kernels("no text", ["a"]), 90)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Kernels]:
    """Record what is compiled, by a compiler that always gives the same; the cache starts empty."""
    done: list[Kernels] = []

    def compiled(text: Kernels, _capability: int) -> Image:
        done.append(text)
        return MADE

    monkeypatch.setenv("RNNFAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_compiler, "compiled", compiled)
    monkeypatch.setattr(_compiler, "_nvrtc", lambda: SimpleNamespace(getVersion=lambda: (13, 5)))
    return done


def test_a_text_is_compiled_once(compilations: list[Kernels]) -> None:
    assert _compiler.image(TEXT, 90) == MADE
    assert _compiler.image(TEXT, 90) == MADE
    assert compilations == [TEXT]


def test_other_texts_functions_and_devices_are_others(compilations: list[Kernels]) -> None:
    for text, capability in (
        (TEXT, 90),
        (TEXT, 80),
        (TEXT._replace(text="another"), 90),
        (TEXT._replace(functions=["b", "a"]), 90),
    ):
        _compiler.image(text, capability)
    assert len(compilations) == 4


def test_another_version_is_another(
    compilations: list[Kernels], monkeypatch: pytest.MonkeyPatch
) -> None:
    _compiler.image(TEXT, 90)
    monkeypatch.setattr(_compiler, "__version__", "another")
    _compiler.image(TEXT, 90)
    monkeypatch.setattr(_compiler, "_headers_digest", lambda: "another")
    _compiler.image(TEXT, 90)
    assert len(compilations) == 3


@pytest.mark.parametrize("damage", [b"", b"x", b"0" * 200])
def test_damaged_files_are_made_again(compilations: list[Kernels], damage: bytes) -> None:
    _compiler.image(TEXT, 90)
    (file,) = _compiler.cache_folder().iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] + damage)
    assert _compiler.image(TEXT, 90) == MADE
    assert file.read_bytes() == whole
    assert len(compilations) == 2


def test_a_cache_that_cannot_be_written_is_none(
    compilations: list[Kernels], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RNNFAST_CACHE", str(tmp_path / "file" / "below"))
    assert _compiler.image(TEXT, 90) == MADE
    assert _compiler.image(TEXT, 90) == MADE
    assert len(compilations) == 2


def test_the_cache_is_where_the_platform_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNNFAST_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert _compiler.cache_folder() == Path("/caches/rnnfast")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert _compiler.cache_folder() == Path("/home/me/.cache/rnnfast")


def test_many_processes_share_a_cache(tmp_path: Path) -> None:
    """Each process reads a whole file, whoever wrote it."""
    code = (
        "from pathlib import Path; from rnnfast.cuda import _compiler as c; import sys\n"
        f"path, image = Path({str(tmp_path / 'k')!r}), c.Image(bytes(10**6), ['a'])\n"
        "for _ in range(20): c._write(path, image); assert c._read(path) == image\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
