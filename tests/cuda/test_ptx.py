"""PTX on the emulator: every instruction of the translator's table against Python."""

from __future__ import annotations

import pytest

import ptx_integers
import ptx_reals
from ptx_harness import Case, Module, check, entry

FUNCTIONS = [
    ptx_integers.integers,
    ptx_integers.bits,
    ptx_reals.arithmetic,
    ptx_reals.selection,
    ptx_reals.approximations,
    ptx_reals.conversions,
    ptx_reals.comparisons,
]
CASES: dict[str, Case] = {
    f"case_{number}": case
    for number, case in enumerate(case for function in FUNCTIONS for case in function())
}


@pytest.fixture(scope="module")
def arithmetic() -> Module:
    return Module("".join(entry(case, name) for name, case in CASES.items()))


@pytest.mark.parametrize("name", CASES, ids=[case.text[:40] for case in CASES.values()])
def test_instruction(arithmetic: Module, name: str) -> None:
    check(arithmetic, name, CASES[name])
