"""Python versions of PTX's comparisons and selections, as cases for test_ptx.py."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from ptx_harness import Case, case
from ptx_numbers import flushed

INTEGERS = ["u16", "s16", "u32", "s32", "u64", "s64"]
REALS = ["f32", "f64"]
HALVES = ["f16", "bf16"]
COMPARE: dict[str, Callable[..., Any]] = {
    "eq": operator.eq,
    "ne": lambda a, b: a == a and b == b and a != b,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "lo": operator.lt,
    "ls": operator.le,
    "hi": operator.gt,
    "hs": operator.ge,
    "num": lambda a, b: a == a and b == b,
}
COMPARE |= {
    "nan": lambda a, b: a != a or b != b,
    **{
        f"{name}u": lambda a, b, f=COMPARE[name]: a != a or b != b or f(a, b)
        for name in ["eq", "ne", "lt", "le", "gt", "ge"]
    },
}
INTEGER_COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]
REAL_COMPARISONS = [name for name in COMPARE if name not in ("lo", "ls", "hi", "hs")]


def comparisons() -> Iterator[Case]:
    """Yield cases of setp, set, selp and slct."""
    bits_, integers_ = ["b16", "b32", "b64"], INTEGERS
    for t in (*bits_, *integers_, *REALS, *HALVES):
        names = REAL_COMPARISONS if t in (*REALS, *HALVES) else INTEGER_COMPARISONS
        names = ["eq", "ne"] if t in bits_ else names + ["lo", "ls", "hi", "hs"] * (t[0] == "u")
        for k, name in enumerate(names):
            f = COMPARE[name]
            yield case(f"setp.{name}.{t}", f"{t} {t}", "pred", f)
            joined = ("and", "or", "xor")[k % 3]
            op = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}[joined]
            two = lambda a, b, c, f=f, op=op: (op(f(a, b), not c), op(not f(a, b), not c))
            targets, outputs = ("%d", "pred") if t in HALVES else ("%d|%e", "pred pred")
            if t in HALVES:
                two = lambda a, b, c, f=f, op=op: op(f(a, b), not c)
            text = f"setp.{name}.{joined}.{t} {targets}, %a, %b, !%c;"
            yield case(text, f"{t} {t} pred", outputs, two)
            d = ("u32", "s32", "f32")[k % 3]
            yes: Any = 1.0 if d == "f32" else -1
            if (t not in bits_ and t not in HALVES) or k == 0:
                value = lambda a, b, f=f, y=yes: y if f(a, b) else type(y)(0)
                if t not in HALVES:
                    yield case(f"set.{name}.{d}.{t}", f"{t} {t}", d, value)
                    text = f"set.{name}.{joined}.{d}.{t} %d, %a, %b, %c;"
                    three = lambda a, b, c, f=f, y=yes, op=op: y if op(f(a, b), c) else type(y)(0)
                    yield case(text, f"{t} {t} pred", d, three)
        if t not in HALVES:
            same = f"{t} {t}"
            carried = t if t not in REALS else f"b{t[1:]}"  # all bits are kept, even those of a NaN
            same = f"{carried} {carried}"
            pick = lambda a, b, c: a if c else b
            yield case(f"selp.{t}", f"{same} pred", carried, pick)
            yield case(f"slct.{t}.s32", f"{same} s32", carried, lambda a, b, c: a if c >= 0 else b)
            yield case(f"slct.{t}.f32", f"{same} f32", carried, lambda a, b, c: a if c >= 0 else b)
    flush = lambda a, b: flushed(a, "f32") < flushed(b, "f32")
    near = tuple((a * 2.0**-140, b * 2.0**-140) for a in range(-3, 4) for b in range(-3, 4))
    yield case("setp.lt.ftz.f32", "f32 f32", "pred", flush, values=near)
    joined_flush = lambda a, b, c: flush(a, b) and c
    mixed = tuple((a, b, k % 2) for k, (a, b) in enumerate(near))
    yield case("setp.lt.and.ftz.f32", "f32 f32 pred", "pred", joined_flush, values=mixed)
    yield case("set.lt.ftz.f32.f32", "f32 f32", "f32", lambda a, b: float(flush(a, b)), values=near)
    yield case(
        "set.lt.and.ftz.u32.f32",
        "f32 f32 pred",
        "u32",
        lambda a, b, c: -1 if joined_flush(a, b, c) else 0,
        values=mixed,
    )
