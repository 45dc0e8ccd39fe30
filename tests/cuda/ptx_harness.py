"""Run hand-written PTX on the emulator: translate it, compile it once, call kernels by name."""

from __future__ import annotations

import ctypes
import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from build import BUILD, build
from ptx import translate
from ptx.parser import Instruction, parse
from ptx_numbers import decode, encode, width

HEAD = ".version 8.8\n.target sm_100\n.address_size 64\n"
Words = npt.NDArray[Any]

RUNNER = """
#include "emulator.h"
#include "ptx/launch.h"
extern "C" [[gnu::visibility("default")]] const char* run(
    const char* name, unsigned grid, unsigned block, unsigned shared, unsigned cluster,
    const unsigned char* parameters, unsigned bytes, int policy, unsigned seed) {
  using namespace emulator;
  const ptx::Kernel* kernel = ptx::find_kernel(name);
  if (!kernel) return "no such kernel";
  Shape shape{dim3(grid), dim3(block), shared, false, cluster};
  emulator::policy = static_cast<Policy>(policy);
  emulator::seed = seed;
  ptx::launch_kernel(*kernel, shape, {parameters, parameters + bytes});
  return last_error.c_str();
}
"""


class Module:
    """A PTX text that is ready to run."""

    def __init__(self, text: str, name: str) -> None:
        folder = BUILD / "ptx_modules" / name
        folder.mkdir(parents=True, exist_ok=True)
        sources = {"kernels.cpp": translate(HEAD + text, name), "run.cpp": RUNNER}
        for file, content in sources.items():
            (folder / file).write_text(content)
        paths = [folder / file for file in sources]
        flags = ["-O1", "-g0", "-ffp-contract=off"]  # -g would double the compile time
        self.library = ctypes.CDLL(str(build(name, paths, flags=flags, libraries=["-ldl"])))
        self.library.run.restype = ctypes.c_char_p

    def run(
        self,
        name: str,
        *arguments: Words | int,
        grid: int = 1,
        block: int = 32,
        shared: int = 0,
        cluster: int = 1,
        policy: int = 2,
        seed: int = 1,
    ) -> None:
        """Launch a kernel, passing arrays as pointers and ints as .u64, and raise its error."""
        values = [a if isinstance(a, int) else a.ctypes.data for a in arguments]
        packed = b"".join(int(value).to_bytes(8, "little") for value in values)
        error = self.library.run(
            name.encode(), grid, block, shared, cluster, packed, len(packed), policy, seed
        )
        if error:
            raise RuntimeError(error.decode())


# ---- opcodes that are functions of their operands


@dataclass(frozen=True)
class Case:
    """An instruction (or a few) from %a, %b, ... to %d, %e, and the expected results."""

    text: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    expected: Callable[..., Any]
    error: Callable[[float], float] | None = None  # the allowed error of a result
    values: tuple[tuple[Any, ...], ...] | None = None  # instead of random ones

    @property
    def instructions(self) -> str:
        """Return the PTX text, with the operands in their usual order."""
        if "%" in self.text:
            return self.text
        targets = "|".join("%d%e"[2 * i : 2 * i + 2] for i in range(len(self.outputs)))
        sources = "".join(f", %{'abcfg'[i]}" for i in range(len(self.inputs)))
        return f"{self.text} {targets}{sources};"


def case(text: str, inputs: str, outputs: str, expected: Callable[..., Any], **more: Any) -> Case:
    """Make a case; types are separated by spaces."""
    return Case(text, tuple(inputs.split()), tuple(outputs.split()), expected, **more)


COUNT = 256  # values per case
EDGES = {
    "int": [0, 1, 2, 3, 5, 7, 8, 15, 16, 24, 31, 32, 33, 63, 64, 127, 128, 255, -1, -2, -3],
    "float": [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, 3.0, float("inf"), float("-inf"), float("nan")],
}


def samples(type_: str, count: int, generator: random.Random) -> list[int]:
    """Return words of a type: edges first, then random bits, then values of moderate size."""
    bits = width(type_)
    if type_ == "pred":
        return [generator.randrange(2) for _ in range(count)]
    if type_.endswith("x2"):
        halves = [samples(type_[:-2], count, generator) for _ in range(2)]
        return [low | high << 16 for low, high in zip(*halves, strict=True)]
    floating = type_[0] == "f" or type_[:2] == "bf"
    edges = [encode(value, type_) for value in EDGES["float" if floating else "int"]]
    edges += [1 << bits - 1, (1 << bits - 1) - 1, (1 << bits - 1) + 1, 1]
    words = [generator.choice(edges) for _ in range(count // 2)]
    while len(words) < count:
        if floating and len(words) % 2:
            word = encode(generator.gauss(0, 1) * 10 ** generator.uniform(-2, 2), type_)
        else:
            word = generator.getrandbits(bits) >> (0 if floating else generator.randrange(bits))
        words.append(word)
    generator.shuffle(words)
    return words


def register(type_: str) -> str:
    """Return the type of the register that holds a value; bytes are held in 32 bits."""
    return "pred" if type_ == "pred" else f"b{max(width(type_), 16) if width(type_) != 8 else 32}"


def memory(type_: str) -> str:
    """Return the type of loads and stores of a value."""
    return type_ if type_ in ("u8", "s8") else f"b{width(type_)}"


def entry(case: Case, name: str) -> str:
    """Return a kernel that runs the case, with one element per thread."""
    parameters = ["p" + str(i) for i in range(len(case.inputs) + len(case.outputs))]
    lines = [
        f".visible .entry {name}({', '.join('.param .u64 ' + p for p in parameters)}) {{",
        ".reg .b32 %i, %n, %w; .reg .b64 %at; .reg .pred %g, %q;",
        "mov.u32 %i, %ctaid.x; mov.u32 %n, %ntid.x; mov.u32 %w, %tid.x;",
        "mad.lo.u32 %i, %i, %n, %w;",
    ]
    for letter, type_ in zip("abcfg", case.inputs, strict=False):
        lines.append(f".reg .{register(type_)} %{letter};")
    for letter, type_ in zip("de", case.outputs, strict=False):
        lines.append(f".reg .{register(type_)} %{letter};")
    for place, (letter, type_) in enumerate(zip("abcfg", case.inputs, strict=False)):
        lines.append(f"ld.param.u64 %at, [p{place}];")
        lines.append(f"mad.wide.u32 %at, %i, {width(type_) // 8}, %at;")
        if type_ == "pred":
            lines.append(f"ld.global.b32 %w, [%at]; setp.ne.u32 %{letter}, %w, 0;")
        else:
            lines.append(f"ld.global.{memory(type_)} %{letter}, [%at];")
    lines.append(case.instructions)
    for place, (letter, type_) in enumerate(zip("de", case.outputs, strict=False)):
        size = 4 if width(type_) == 8 else width(type_) // 8
        lines.append(f"ld.param.u64 %at, [p{len(case.inputs) + place}];")
        lines.append(f"mad.wide.u32 %at, %i, {size}, %at;")
        if type_ == "pred":
            lines.append(f"selp.u32 %w, 1, 0, %{letter}; st.global.b32 [%at], %w;")
        else:
            lines.append(f"st.global.b{8 * size} [%at], %{letter};")
    return "\n".join([*lines, "ret;", "}", ""])


def array(words: list[int], type_: str) -> Words:
    """Return words as an array in memory."""
    return np.array(words, dtype=f"u{width(type_) // 8}")


def check(module: Module, name: str, case: Case) -> None:
    """Run a case and compare each element with what Python computes."""
    generator = random.Random(name + case.text)
    words = [samples(type_, COUNT, generator) for type_ in case.inputs]
    if case.values:
        chosen = [case.values[i % len(case.values)] for i in range(COUNT)]
        words = [[encode(row[k], type_) for row in chosen] for k, type_ in enumerate(case.inputs)]
    inputs = [array(column, type_) for column, type_ in zip(words, case.inputs, strict=True)]
    wide = [t if width(t) != 8 else t[0] + "32" for t in case.outputs]
    outputs = [np.full(COUNT, 0xA5, dtype=f"u{width(type_) // 8}") for type_ in wide]
    module.run(name, *inputs, *outputs, grid=COUNT // 64, block=64)
    for element in range(COUNT):
        operands = [
            decode(column[element], t) for column, t in zip(words, case.inputs, strict=True)
        ]
        result = case.expected(*operands)
        expected = result if len(case.outputs) > 1 else (result,)
        for value, type_, output in zip(expected, wide, outputs, strict=True):
            compare(case, type_, operands, value, int(output[element]))


def compare(case: Case, type_: str, operands: list[Any], value: Any, word: int) -> None:
    """Fail unless a result is as expected."""
    got = decode(word, "f32" if type_ == "tf32" else type_)
    what = f"{case.instructions} of {operands}: expected {value!r}, got {got!r} ({word:#x})"
    if case.error and value == value and abs(value) != float("inf"):
        assert abs(got - value) <= case.error(value), what
    elif type_ == "f64" and value != value:
        assert got != got, what
    else:
        assert word == encode(value, type_), what


@functools.cache
def opcodes_of(text: str) -> frozenset[tuple[str, int]]:
    """Return every opcode of a PTX text, with its number of operands."""
    return frozenset(
        (statement.opcode, len(statement.operands))
        for function in parse(HEAD + text, "test.ptx").functions
        for statement in function.body
        if isinstance(statement, Instruction)
    )
