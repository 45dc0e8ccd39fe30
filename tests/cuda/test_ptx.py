"""PTX on the emulator: every instruction of the translator's table against Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import ptx_comparisons
import ptx_integers
import ptx_reals
import pytest
from ptx import PtxError, translate
from ptx.opcodes import TABLE
from ptx_harness import HEAD, Case, Module, check, entry, opcodes_of
from ptx_threads import PROGRAMS

FUNCTIONS = [
    ptx_integers.integers,
    ptx_integers.bits,
    ptx_reals.arithmetic,
    ptx_reals.selection,
    ptx_reals.approximations,
    ptx_reals.conversions,
    ptx_comparisons.comparisons,
]
CASES: dict[str, Case] = {
    f"case_{number}": case
    for number, case in enumerate(case for function in FUNCTIONS for case in function())
}
ENTRIES = "".join(entry(case, name) for name, case in CASES.items())

# Modifiers that change nothing in the emulator, or that a whole family shares. Each alternative is
# tested once instead of with every instruction.
SHARED = {
    "space", "scope", "cop", "evict", "prefetch", "vec", "shared", "cta", "uni", "sem", "aligned",
}  # fmt: skip


@pytest.fixture(scope="module")
def arithmetic() -> Module:
    return Module(ENTRIES, "arithmetic.ptx")


@pytest.mark.parametrize("name", CASES, ids=[case.text[:40] for case in CASES.values()])
def test_instruction(arithmetic: Module, name: str) -> None:
    check(arithmetic, name, CASES[name])


def test_the_whole_table_is_tested() -> None:
    """Every entry, and every alternative of its modifiers, occurs in the PTX of some test."""
    seen: set[tuple[int, str, str]] = set()
    shared: set[tuple[str, str]] = set()
    for opcode, operands in opcodes_of(ENTRIES) | opcodes_of(PROGRAMS):
        found = TABLE.find(opcode, operands)
        assert not isinstance(found, str), opcode
        form, modifiers = found
        seen.add((id(form), "", ""))
        seen |= {(id(form), *item) for item in modifiers.items()}
        shared |= set(modifiers.items())
    missing = []
    for form in TABLE.forms:
        if (id(form), "", "") not in seen:
            missing.append(form.pattern)
        for name, alternative in form.choices():
            known = shared if name in SHARED else {item[1:] for item in seen if item[0] == id(form)}
            if (name, alternative) not in known:
                missing.append(f"{form.pattern}: {name} {alternative}")
    assert not missing


def test_ptxas_accepts_the_tests(tmp_path: Path) -> None:
    """The tests must use real PTX, not just something that the translator accepts."""
    if not shutil.which("ptxas"):
        pytest.skip("ptxas is not on PATH")
    for text in (ENTRIES, PROGRAMS):
        path = tmp_path / "test.ptx"
        path.write_text(HEAD + text)
        command = ["ptxas", "-arch=sm_100", "-O0", str(path), "-o", str(tmp_path / "test.cubin")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:2000]


def kernel(body: str) -> str:
    return (
        f"{HEAD}.visible .entry k(.param .u64 p) {{\n.reg .b32 %r<9>; .reg .pred %q<2>;\n{body}\n}}"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("wgmma.fence.sync.aligned;", "unknown instruction: wgmma.fence.sync.aligned"),
        ("\nadd.rn.u32 %r1, %r2, %r3;", "unknown modifier or type"),
        ("add.u32 %r1, %r2;", "2 operands: add.u32 %r1, %r2"),
        ("add.u32 %r1, %r2, %r77;", "'%r77' is neither a name nor a constant of type u32"),
        ("mov.u32 %r1, %nosuch;", "'%nosuch' is neither"),
        ("add.u32 5, %r2, %r3;", "'5' is not a register"),
        ("setp.eq.u32 %r1, %r2, %r3;", "%r1 is a register of type b32, not pred"),
        ("ld.global.v2.u32 {%r1, %r2, %r3}, [p];", "expected 2 registers"),
        ("ld.global.u32 %r1, [p];", "p is in .param, not in .global"),
        ("bra NOWHERE;", "no label 'NOWHERE'"),
        ("call %r1, (p), proto;", "only direct calls are known"),
        ("call vprintf, (p);", "'vprintf' has no body in this file"),
        ("cp.async.cg.shared.global [%r1], [%r2], 8;", "a copy of 8 bytes"),
        ("lop3.b32 %r1, %r2, %r3, %r4, %r5;", "%r5 must be a constant"),
        (".alignment 4;", "unknown directive: .alignment 4"),
    ],
)
def test_what_is_unknown_is_an_error_with_its_line(body: str, message: str) -> None:
    line = 6 + body.count("\n", 0, 1)
    with pytest.raises(PtxError) as error:
        translate(kernel(body), "some.ptx")
    assert message in str(error.value)
    assert str(error.value).startswith(f"some.ptx:{line}: ")


@pytest.mark.parametrize(
    ("instruction", "function"),
    [
        ("ld.global.u32 %r1, [%d1];", "load<u32>"),
        ("ld.volatile.global.u32 %r1, [%d1];", "load_relaxed<u32>"),
        ("ld.relaxed.gpu.global.u32 %r1, [%d1];", "load_relaxed<u32>"),
        ("ld.acquire.gpu.global.u32 %r1, [%d1];", "load_acquire<u32>"),
        ("ld.acquire.gpu.global.v2.u32 {%r1, %r2}, [%d1];", "load_acquire<u32, 2>"),
        ("st.global.u32 [%d1], %r1;", "store"),
        ("st.volatile.global.u32 [%d1], %r1;", "store_relaxed"),
        ("st.relaxed.gpu.global.u32 [%d1], %r1;", "store_relaxed"),
        ("st.release.gpu.global.u32 [%d1], %r1;", "store_release"),
        ("red.global.add.u32 [%d1], %r1;", "atomic_add<relaxed, u32>"),
        ("red.release.gpu.global.add.u32 [%d1], %r1;", "atomic_add<release, u32>"),
        ("atom.acquire.gpu.exch.b32 %r2, [%d1], %r1;", "atomic_exch<acquire, b32>"),
        ("atom.acq_rel.gpu.cas.b32 %r2, [%d1], %r1, %r2;", "atomic_cas<acq_rel, b32>"),
    ],
)
def test_orders_are_kept(instruction: str, function: str) -> None:
    """Values cannot show orders; test_ptx_kernels.py tests them with ThreadSanitizer."""
    assert f"{function}(" in translate(kernel(f".reg .b64 %d1; {instruction}"), "some.ptx")


def test_exit_in_a_function_and_open_bodies_are_errors() -> None:
    with pytest.raises(PtxError, match="exit is known in kernels only"):
        translate(f"{HEAD}.func f() {{ exit; }}", "some.ptx")
    with pytest.raises(PtxError, match="the body of k has no end"):
        translate(f"{HEAD}.visible .entry k() {{ ret;", "some.ptx")
    with pytest.raises(PtxError, match="elsewhere is defined in another file"):
        translate(f"{HEAD}.extern .global .b8 elsewhere[];", "some.ptx")


FAULTS = {
    "divides": "mov.u32 %r1, 0; div.u32 %r2, %r1, %r1;",
    "misaligned": "ld.param.u64 %d1, [misaligned_p]; ld.global.u32 %r1, [%d1+2];",
    "no_memory": "mov.u64 %d1, 16; ld.global.v2.u32 {%r1, %r2}, [%d1];",
    "outside": ".shared .b8 small[8]; mov.u32 %r1, small; ld.shared.u32 %r2, [%r1+8];",
    "traps": "trap;",
    "branches": "T: .branchtargets A, B; mov.u32 %r1, 2; brx.idx %r1, T; A: B:",
    "polls": "ld.param.u64 %d1, [polls_p]; W: ld.volatile.global.u32 %r1, [%d1]; bra W;",
    "no_wait": (
        ".shared .align 8 .b8 m[8]; mbarrier.init.shared.b64 [m], 2; "
        "W: mbarrier.try_wait.parity.shared.b64 %q1, [m], 0; @!%q1 bra W;"
    ),
    "barriers": "bar.sync 16;",
    "threads": "bar.sync 1, 33;",
    "ranks": "mov.u32 %r1, 3; mapa.shared::cluster.u32 %r2, %r1, 1;",
}
REPORTS = {
    "divides": "integer division by zero",
    "misaligned": "access of 4 bytes at 0x[0-9a-f]+, which is no multiple of that",
    "no_memory": "access of 8 bytes at 0x10, which is no memory",
    "outside": r"access to bytes 8 \.\.\. 11 of 8 bytes of shared memory",
    "traps": "trap",
    "branches": "index outside of its table",
    "polls": "livelock",
    "no_wait": "deadlock",
    "barriers": "barrier 16 of 16",
    "threads": "barrier 1 for 33 threads of 32",
    "ranks": "block 1 of a cluster of 1",
}


@pytest.fixture(scope="module")
def faults() -> Module:
    registers = ".reg .b32 %r<9>; .reg .b64 %d<3>; .reg .pred %q<3>;"
    return Module(
        "".join(
            f".visible .entry {name}(.param .u64 {name}_p) {{\n{registers}\n{body}\nret;\n}}\n"
            for name, body in FAULTS.items()
        ),
        "faults.ptx",
    )


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_with_its_line(faults: Module, name: str) -> None:
    line = 6 + 5 * list(FAULTS).index(name)
    word = np.zeros(2, np.uint64)
    with pytest.raises(RuntimeError, match=rf"{REPORTS[name]}.* at (.*/)?faults\.ptx:{line}\b"):
        faults.run(name, word)


def test_parameters_must_fit(faults: Module) -> None:
    with pytest.raises(RuntimeError, match="16 bytes of parameters, but the PTX has 8"):
        faults.run("traps", 1, 2)
