"""Python versions of PTX's floating-point instructions, as cases for test_ptx.py."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from ptx_harness import Case, case
from ptx_numbers import (
    FORMATS,
    INF,
    NAN,
    clamped,
    exactly,
    flushed,
    rounded,
    square_root,
    whole,
    width,
)

Function = Callable[..., Any]

INTEGERS = ["u8", "s8", "u16", "u32", "u64", "s16", "s32", "s64"]
REALS = ["f32", "f64"]
HALVES = ["f16", "bf16"]
MODES = ["rn", "rz", "rm", "rp"]


def total(a: float, b: float, t: str, mode: str) -> float:
    """Add values; if the sum is exactly zero, the rounding mode decides its sign."""
    result = rounded(exactly(operator.add, a, b), t, mode)
    if result == 0 and mode == "rm" and (a or math.copysign(1, a) != math.copysign(1, b)):
        return -0.0 if exactly(operator.add, a, b) == 0 else result
    return result


def product_sum(a: float, b: float, c: float, t: str, mode: str) -> float:
    """Compute fma with a single rounding."""
    if math.isinf(c) and math.isfinite(a) and math.isfinite(b):
        return c
    exact = exactly(lambda x, y, z: x * y + z, a, b, c)
    result = rounded(exact, t, mode)
    if exact == 0 and mode == "rm":
        product = math.copysign(1, a) * math.copysign(1, b)
        zeros = a * b == 0 and c == 0
        return result if zeros and product == math.copysign(1, c) else -0.0
    return result


OPERATIONS: dict[str, tuple[int, Callable[..., float]]] = {
    "add": (2, total),
    "sub": (2, lambda a, b, t, m: total(a, -b, t, m)),
    "mul": (2, lambda a, b, t, m: rounded(exactly(operator.mul, a, b), t, m)),
    "div": (2, lambda a, b, t, m: rounded(exactly(operator.truediv, a, b), t, m)),
    "fma": (3, product_sum),
    "mad": (3, product_sum),
    "rcp": (1, lambda a, t, m: rounded(exactly(operator.truediv, 1.0, a), t, m)),
    "sqrt": (1, lambda a, t, m: rounded(square_root(a), t, m)),
}


def saturated(value: float) -> float:
    """Clamp a value to 0 to 1; a NaN becomes 0."""
    return min(max(value, 0.0), 1.0) if value > 0 else 0.0


def rectified(value: float) -> float:
    """Return max(value, 0); a NaN stays."""
    return value if value != value or value > 0 else 0.0


def lesser(a: float, b: float, sign: int = 1) -> float:
    """Return min, or max if sign is -1; numbers win against NaN, and -0 is less than 0."""
    if a != a or b != b:
        return b if a != a else a
    return min((a, b), key=lambda x: (sign * x, sign * math.copysign(1, x)))


def flushing(function: Function, t: str) -> Function:
    """Return the function with .ftz."""
    return lambda *values: flushed(function(*(flushed(v, t) for v in values)), t)


def halves(function: Function) -> Function:
    """Return the function applied to each half of a pair."""
    return lambda *pairs: tuple(function(*part) for part in zip(*pairs, strict=True))


def arithmetic() -> Iterator[Case]:
    """Yield cases of sums, products, quotients and roots, which are exact, then rounded."""
    for name, (arity, function) in OPERATIONS.items():
        for t in REALS:
            operands = " ".join([t] * arity)
            for mode in MODES:
                exact = lambda *v, f=function, t=t, m=mode: f(*v, t, m)
                yield case(f"{name}.{mode}.{t}", operands, t, exact)
            exact = lambda *v, f=function, t=t: f(*v, t, "rn")
            if name in ("add", "sub", "mul"):
                yield case(f"{name}.{t}", operands, t, exact)
        exact = lambda *v, f=function: f(*v, "f32", "rn")
        yield case(f"{name}.rn.ftz.f32", " ".join(["f32"] * arity), "f32", flushing(exact, "f32"))
        if name in ("add", "sub", "mul", "fma", "mad"):
            sat = lambda *v, f=exact: saturated(f(*v))
            yield case(f"{name}.rn.sat.f32", " ".join(["f32"] * arity), "f32", sat)
        if name in ("add", "sub", "mul", "fma"):
            yield from half_arithmetic(name, arity, function)
    # two roundings, because nothing is contracted
    text = "mul.rn.f32 %d, %a, %b; add.rn.f32 %d, %d, %c;"
    twice = lambda a, b, c: total(OPERATIONS["mul"][1](a, b, "f32", "rn"), c, "f32", "rn")
    yield case(text, "f32 f32 f32", "f32", twice)


def half_arithmetic(name: str, arity: int, function: Function) -> Iterator[Case]:
    """Yield the same cases for 16 bits and pairs."""
    rn = ".rn" if name == "fma" else ""
    for t in HALVES:
        exact = lambda *v, f=function, t=t: f(*v, t, "rn")
        x2, many, pairs = f"{t}x2", " ".join([t] * arity), " ".join([f"{t}x2"] * arity)
        yield case(f"{name}{rn}.{t}", many, t, exact)
        yield case(f"{name}{rn}.{x2}", pairs, x2, halves(exact))
        if t == "f16":
            yield case(f"{name}.rn.ftz.f16", many, t, flushing(exact, t))
            yield case(f"{name}.rn.sat.f16", many, t, lambda *v, f=exact: saturated(f(*v)))
            yield case(f"{name}.rn.ftz.f16x2", pairs, x2, halves(flushing(exact, t)))
            sat = lambda *v, f=exact: saturated(f(*v))
            yield case(f"{name}.rn.sat.f16x2", pairs, x2, halves(sat))
        if name == "fma":
            relu = lambda *v, f=exact: rectified(f(*v))
            yield case(f"fma.rn.relu.{t}", many, t, relu)
            yield case(f"fma.rn.relu.{x2}", pairs, x2, halves(relu))


def selection() -> Iterator[Case]:
    """Yield cases of signs, extremes and classes."""
    unary: dict[str, Function] = {"abs": abs, "neg": operator.neg}
    binary: dict[str, Function] = {"min": lesser, "max": lambda a, b: lesser(a, b, -1)}
    for t in (*REALS, *HALVES):
        small = t in HALVES
        for name, f in unary.items():
            number = {"values": tuple((v,) for v in (0.0, -0.0, 1.5, -2.0, INF, -INF))}
            yield case(f"{name}.{t}", t, t, f, **number)
            if small:
                pairs = {"values": tuple(((v, -v),) for v in (0.0, -0.0, 1.5, -2.0, INF, -INF))}
                yield case(f"{name}.{t}x2", f"{t}x2", f"{t}x2", halves(f), **pairs)
        for name, f in binary.items():
            yield case(f"{name}.{t}", f"{t} {t}", t, f)
            if t != "f64":
                strict = lambda a, b, f=f: NAN if a != a or b != b else f(a, b)
                yield case(f"{name}.NaN.{t}", f"{t} {t}", t, strict)
            if small:
                x2 = f"{t}x2"
                yield case(f"{name}.{x2}", f"{x2} {x2}", x2, halves(f))
                yield case(f"{name}.NaN.{x2}", f"{x2} {x2}", x2, halves(strict))
    for t in ("f32", "f16"):
        positive = {"values": ((0.0,), (-0.0,), (2.0**-140 if t == "f32" else 2.0**-20,), (-1.5,))}
        for name, f in unary.items():
            yield case(f"{name}.ftz.{t}", t, t, flushing(f, t), **positive)
        for name, f in binary.items():
            yield case(f"{name}.ftz.{t}", f"{t} {t}", t, flushing(f, t))
            strict = lambda a, b, f=f: NAN if a != a or b != b else f(a, b)
            yield case(f"{name}.ftz.NaN.{t}", f"{t} {t}", t, flushing(strict, t))
    for t in REALS:
        numbers = tuple(
            (a, b) for a in (0.0, 1.0, -2.0, INF) for b in (0.0, -0.0, 3.0, -INF, -1e-30)
        )
        yield case(f"copysign.{t}", f"{t} {t}", t, lambda a, b: math.copysign(b, a), values=numbers)
        least = 2.0 ** FORMATS[t][1]
        subnormal = lambda a, least=least: a != 0 and abs(a) < least
        tests: dict[str, Function] = {
            "finite": math.isfinite,
            "infinite": math.isinf,
            "number": lambda a: a == a,
            "notanumber": lambda a: a != a,
            "normal": lambda a, s=subnormal: math.isfinite(a) and a != 0 and not s(a),
            "subnormal": subnormal,
        }
        for name, f in tests.items():
            yield case(f"testp.{name}.{t}", t, "pred", f)


def within(bits: float, absolute: bool = False) -> Callable[[float], float]:
    """Allow an error of 2^-bits, relative to the binade or absolute."""
    if absolute:
        return lambda _: 2.0**-bits
    return lambda value: 2.0**-bits * 2.0 ** max(math.frexp(value)[1] - 1, -126)


def function_or(function: Function, otherwise: Function) -> Function:
    """Return the function of a finite number, or what the other one says."""
    return lambda a: function(a) if math.isfinite(a) and a > 0 else otherwise(a)


def approximations() -> Iterator[Case]:
    """Yield cases of fast functions, with the errors that the manual allows."""
    finite = tuple((math.ldexp(1 + i / 97, i % 23 - 11) * (-1) ** i,) for i in range(251))
    positive = tuple((abs(a),) for (a,) in finite)
    around = tuple((i / 40 - 3,) for i in range(251))
    table: list[tuple[str, Function, Any, Callable[[float], float]]] = [
        ("rcp.approx", lambda a: 1 / a, finite, within(23)),
        ("sqrt.approx", math.sqrt, positive, within(23)),
        ("rsqrt.approx", lambda a: 1 / math.sqrt(a), positive, within(22.9)),
        ("ex2.approx", lambda a: 2.0**a, around, within(22)),
        ("sin.approx", math.sin, around, within(20.5, absolute=True)),
        ("cos.approx", math.cos, around, within(20.5, absolute=True)),
        ("lg2.approx", math.log2, positive, lambda v: max(2.0**-22, 2.0**-22 * abs(v))),
    ]
    for name, function, values, error in table:
        exact = lambda a, f=function: f(rounded(a, "f32"))
        for ftz in ("", ".ftz"):
            yield case(f"{name}{ftz}.f32", "f32", "f32", exact, values=values, error=error)
    tanh = lambda a: math.tanh(a)
    yield case("tanh.approx.f32", "f32", "f32", tanh, values=around, error=lambda _: 2.0**-11)
    upper = lambda v: abs(v) * 2.0**-20
    yield case("rcp.approx.ftz.f64", "f64", "f64", lambda a: 1 / a, values=finite, error=upper)
    root = lambda a: 1 / math.sqrt(a)
    yield case("rsqrt.approx.f64", "f64", "f64", root, values=positive, error=upper)
    yield case("rsqrt.approx.ftz.f64", "f64", "f64", root, values=positive, error=upper)
    quotients = tuple((a, b) for (a,) in finite[::16] for (b,) in finite[::17])
    for name in ("div.approx", "div.full"):
        for ftz in ("", ".ftz"):
            exact = lambda a, b: rounded(a, "f32") / rounded(b, "f32")
            yield case(
                f"{name}{ftz}.f32", "f32 f32", "f32", exact, values=quotients, error=within(22)
            )
    lost = ((1.0, 2.0**127), (-1.0, 1.5 * 2.0**126), (INF, 2.0**127))
    gone = lambda a, _: NAN if math.isinf(a) else math.copysign(0.0, a)
    yield case("div.approx.f32", "f32 f32", "f32", gone, values=lost)
    for t in HALVES:
        x2 = f"{t}x2"
        ftz = ".ftz" if t == "bf16" else ""
        near = tuple((i / 16 - 4,) for i in range(128))
        pairs = tuple(((a, -a),) for (a,) in near)
        tangent = lambda a, t=t: rounded(math.tanh(a), t)
        exponent = lambda a, t=t: rounded(2.0**a, t)
        yield case(f"tanh.approx.{t}", t, t, tangent, values=near)
        yield case(f"tanh.approx.{x2}", x2, x2, halves(tangent), values=pairs)
        yield case(f"ex2.approx{ftz}.{t}", t, t, exponent, values=near)
        yield case(f"ex2.approx{ftz}.{x2}", x2, x2, halves(exponent), values=pairs)


def to_integer(a: float, d: str, s: str, mode: str) -> int:
    """Convert to an integer, as cvt does."""
    if a != a:
        return 1 << width(d) - 1 if s == "f64" or width(d) == 64 else 0
    if math.isinf(a):
        return bounds(d)[a > 0]
    return clamped(whole(a, mode), d)


def bounds(t: str) -> tuple[int, int]:
    """Return the least and the greatest value of an integer type."""
    return clamped(-(1 << 70), t), clamped(1 << 70, t)


def integral(a: float, mode: str) -> float:
    """Round a float to an integer, keeping its sign."""
    return math.copysign(float(whole(a, mode)), a) if math.isfinite(a) else a


def conversions() -> Iterator[Case]:
    """Yield cases of cvt."""
    for k, d in enumerate(INTEGERS):
        for s in INTEGERS:
            yield case(f"cvt.{d}.{s}", s, d, lambda a, d=d: wrapped(a, d))
            if any(clamped(bound, d) != bound for bound in bounds(s)):
                yield case(f"cvt.sat.{d}.{s}", s, d, lambda a, d=d: clamped(a, d))
        for j, s in enumerate((*REALS, *HALVES)):
            if s == "bf16" and width(d) == 8:
                continue
            for mode in sorted({MODES[(k + j) % 4], "rz"}):
                f = lambda a, d=d, s=s, m=mode: wrapped(to_integer(a, d, s, m), d)
                yield case(f"cvt.{mode}i.{d}.{s}", s, d, f)
            mode = MODES[(k + j + 1) % 4] if s in REALS else "rn"
            f = lambda a, s=s, m=mode: rounded(Fraction(a), s, m)
            yield case(f"cvt.{mode}.{s}.{d}", d, s, f)
    for t in ("f32", "f64", "f16"):
        for mode in MODES:
            yield case(f"cvt.{mode}i.{t}.{t}", t, t, lambda a, m=mode: integral(a, m))
    floor = lambda a: integral(flushed(a, "f32"), "rm")
    yield case("cvt.rmi.ftz.f32.f32", "f32", "f32", floor)
    yield case("cvt.rmi.sat.f32.f32", "f32", "f32", lambda a: saturated(integral(a, "rm")))
    count = lambda a: to_integer(flushed(a, "f32"), "s32", "f32", "rp")
    yield case("cvt.rpi.ftz.s32.f32", "f32", "s32", count)
    yield case("cvt.rzi.sat.s32.f32", "f32", "s32", lambda a: to_integer(a, "s32", "f32", "rz"))
    yield case("cvt.rn.sat.f32.s32", "s32", "f32", lambda a: saturated(rounded(float(a), "f32")))
    yield from narrowing()


def wrapped(a: int, d: str) -> int:
    """Return the low bits as a value of the type; bytes are read from a wider register."""
    low = a & ((1 << width(d)) - 1)
    return low - (1 << width(d)) if d[0] == "s" and low >> width(d) - 1 else low


def narrowing() -> Iterator[Case]:
    """Yield cases of cvt between floating-point types."""
    for d, s in (("f64", "f32"), ("f32", "f16"), ("f32", "bf16"), ("f64", "f16")):
        yield case(f"cvt.{d}.{s}", s, d, lambda a: a)
    yield case("cvt.sat.f32.f32", "f32", "f32", saturated)
    yield case("cvt.ftz.f32.f16", "f16", "f32", lambda a: a)
    for mode in MODES:
        yield case(f"cvt.{mode}.f32.f64", "f64", "f32", lambda a, m=mode: rounded(a, "f32", m))
    for d, s, mode in (
        ("f16", "f32", "rn"),
        ("f16", "f32", "rz"),
        ("f16", "f32", "rm"),
        ("f16", "f64", "rp"),
        ("bf16", "f32", "rn"),
        ("bf16", "f32", "rz"),
        ("bf16", "f32", "rp"),
        ("bf16", "f64", "rm"),
    ):
        yield case(f"cvt.{mode}.{d}.{s}", s, d, lambda a, d=d, m=mode: rounded(a, d, m))
    yield case("cvt.rn.ftz.f32.f64", "f64", "f32", lambda a: flushed(rounded(a, "f32"), "f32"))
    yield case("cvt.rn.sat.f32.f64", "f64", "f32", lambda a: saturated(rounded(a, "f32")))
    for d in HALVES:
        relu = lambda a, d=d: rectified(rounded(a, d))
        yield case(f"cvt.rn.relu.{d}.f32", "f32", d, relu)
        for mode in ("rn", "rz"):
            both = lambda a, b, d=d, m=mode: (rounded(b, d, m), rounded(a, d, m))
            yield case(f"cvt.{mode}.{d}x2.f32", "f32 f32", f"{d}x2", both)
        both = lambda a, b, f=relu: (f(b), f(a))
        yield case(f"cvt.rn.relu.{d}x2.f32", "f32 f32", f"{d}x2", both)
    for mode in ("rn", "rz", "rna"):
        yield case(f"cvt.{mode}.tf32.f32", "f32", "tf32", lambda a, m=mode: rounded(a, "tf32", m))
    yield case("cvt.rn.relu.tf32.f32", "f32", "tf32", lambda a: rectified(rounded(a, "tf32")))
