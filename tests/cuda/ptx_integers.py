"""Python versions of PTX's integer instructions, as cases for test_ptx.py."""

from __future__ import annotations

import operator
from collections.abc import Iterator

from ptx_harness import Case, case
from ptx_numbers import clamped, decode, width

INTEGERS = ["u16", "u32", "u64", "s16", "s32", "s64"]
WORDS = ["u32", "u64", "s32", "s64"]
SIGNED = ["s16", "s32", "s64"]
BITS = ["b16", "b32", "b64"]


def truncated(a: int, b: int) -> int:
    """Return a quotient rounded toward zero."""
    return abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)


def pairs(type_: str) -> tuple[tuple[int, int], ...]:
    """Return operands of a division, without divisors of 0."""
    low = -(1 << width(type_) - 1) if type_[0] == "s" else 0
    values = [low, low + 1, 1, 2, 3, 7, 10, 100, 12345, (1 << width(type_) - 1) - 1]
    values += [-1, -7, -12345] if type_[0] == "s" else [(1 << width(type_)) - 1]
    return tuple((a, b) for a in values for b in values if b)


def low24(a: int, type_: str) -> int:
    """Return the low 24 bits as a number."""
    low = a & 0xFFFFFF
    return low - (1 << 24) if type_[0] == "s" and low >> 23 else low


def find_bit(a: int) -> int:
    """Return the position of the highest bit that differs from the sign bit."""
    return (~a if a < 0 else a).bit_length() - 1


def extract(a: int, b: int, c: int, type_: str) -> int:
    """Compute bfe bit by bit."""
    bits, position, length = width(type_), b & 255, c & 255
    sign = 0
    if type_[0] == "s" and length:
        sign = a >> min(position + length - 1, bits - 1) & 1
    result = 0
    for i in range(bits):
        inside = i < length and position + i < bits
        result |= (a >> (position + i) & 1 if inside else sign) << i
    return result


def insert(a: int, b: int, c: int, e: int, bits: int) -> int:
    """Compute bfi bit by bit."""
    position, length = c & 255, e & 255
    for i in range(min(length, max(bits - position, 0))):
        b = b & ~(1 << position + i) | (a >> i & 1) << position + i
    return b


def bytes_of(a: int, type_: str, size: int = 8) -> list[int]:
    """Return the bytes, or halves, of a word."""
    parts = [a >> shift & ((1 << size) - 1) for shift in range(0, 32, size)]
    return [decode(part, f"{type_[0]}{size}") for part in parts]


def dot2(a: int, b: int, c: int, t: str, u: str, first: int) -> int:
    """Compute dp2a."""
    chosen = bytes_of(b, u)[first : first + 2]
    return c + sum(map(operator.mul, bytes_of(a, t, 16), chosen))


def integers() -> Iterator[Case]:
    """Yield cases of integer arithmetic."""
    for t in INTEGERS:
        n, two, three = width(t), f"{t} {t}", f"{t} {t} {t}"
        mask = (1 << n) - 1
        yield case(f"add.{t}", two, t, operator.add)
        yield case(f"sub.{t}", two, t, operator.sub)
        yield case(f"mul.lo.{t}", two, t, operator.mul)
        yield case(f"mul.hi.{t}", two, t, lambda a, b, n=n: a * b >> n)
        yield case(f"mad.lo.{t}", three, t, lambda a, b, c: a * b + c)
        yield case(f"mad.hi.{t}", three, t, lambda a, b, c, n=n: (a * b >> n) + c)
        yield case(f"sad.{t}", three, t, lambda a, b, c: abs(a - b) + c)
        yield case(f"div.{t}", two, t, truncated, values=pairs(t))
        rest = lambda a, b: a - b * truncated(a, b)
        yield case(f"rem.{t}", two, t, rest, values=pairs(t))
        yield case(f"min.{t}", two, t, min)
        yield case(f"max.{t}", two, t, max)
        if n < 64:
            w = f"{t[0]}{2 * n}"
            yield case(f"mul.wide.{t}", two, w, operator.mul)
            yield case(f"mad.wide.{t}", f"{two} {w}", w, lambda a, b, c: a * b + c)
        if n == 32:
            product = lambda a, b, t=t: low24(a, t) * low24(b, t)
            yield case(f"mul24.lo.{t}", two, t, product)
            yield case(f"mul24.hi.{t}", two, t, lambda a, b, p=product: p(a, b) >> 16)
            yield case(f"mad24.lo.{t}", three, t, lambda a, b, c, p=product: p(a, b) + c)
        if n >= 32:
            yield from carries(t, mask)
            yield case(f"bfind.{t}", t, "u32", find_bit)
            shift = lambda a, n=n: n - 1 - find_bit(a) if find_bit(a) >= 0 else -1
            yield case(f"bfind.shiftamt.{t}", t, "u32", shift)
            yield case(f"bfe.{t}", f"{t} u32 u32", t, lambda a, b, c, t=t: extract(a, b, c, t))
        if t in SIGNED:
            yield case(f"abs.{t}", t, t, abs)
            yield case(f"neg.{t}", t, t, operator.neg)
    yield case("add.sat.s32", "s32 s32", "s32", lambda a, b: clamped(a + b, "s32"))
    yield case("sub.sat.s32", "s32 s32", "s32", lambda a, b: clamped(a - b, "s32"))


def carries(t: str, mask: int) -> Iterator[Case]:
    """Yield cases that add two words through the carry."""
    n, u = width(t), f"u{width(t)}"
    two = f"{u} {u} {u} {u}"
    both = lambda total, n=n: (total, total >> n)
    low_high = "%d, %a, %c; {0} %e, %b, %f;"
    for name, sign in (("add", 1), ("sub", -1)):
        total = lambda a, b, c, f, s=sign, n=n: both((a + (b << n)) + s * (c + (f << n)))
        text = f"{name}.cc.{t} " + low_high.format(f"{name}c.{t}")
        yield case(text, two, f"{u} {u}", total)
        third = f"{name}.cc.{t} %d, %a, %c; {name}c.cc.{t} %d, %b, %f; {name}c.{t} %e, %b, %f;"
        last = lambda a, b, c, f, s=sign, n=n: (
            (a + (b << n) + s * (c + (f << n)) >> n),
            a + (b << n) + (b << 2 * n) + s * (c + (f << n) + (f << 2 * n)) >> 2 * n,
        )
        yield case(third, two, f"{u} {u}", last)
    if t[0] == "s":
        signed_high = lambda a, b, n=n: decode(a, f"s{n}") * decode(b, f"s{n}") >> n
    else:
        signed_high = lambda a, b, n=n: a * b >> n
    text = f"mad.lo.cc.{t} %d, %a, %b, %c; madc.hi.{t} %e, %a, %b, %f;"
    result = lambda a, b, c, f, h=signed_high, m=mask, n=n: (
        a * b + c,
        h(a, b) + f + ((a * b & m) + c >> n),
    )
    yield case(text, two, f"{u} {u}", result)
    text = f"mad.hi.cc.{t} %d, %a, %b, %c; madc.lo.{t} %e, %a, %b, %f;"
    result = lambda a, b, c, f, h=signed_high, m=mask, n=n: (
        h(a, b) + c,
        a * b + f + ((h(a, b) & m) + c >> n),
    )
    yield case(text, two, f"{u} {u}", result)
    for kind in ("lo", "hi"):
        text = f"add.cc.{t} %d, %a, %b; madc.{kind}.cc.{t} %d, %a, %b, %c; addc.{t} %e, %f, 0;"
        part = (
            (lambda a, b, m=mask: a * b & m)
            if kind == "lo"
            else (lambda a, b, h=signed_high, m=mask: h(a, b) & m)
        )
        chain = lambda a, b, c, f, p=part, n=n: (
            p(a, b) + c + (a + b >> n),
            f + (p(a, b) + c + (a + b >> n) >> n),
        )
        yield case(text, two, f"{u} {u}", chain)


def bits() -> Iterator[Case]:
    """Yield cases of bits, shifts, permutations and small products."""
    for t in BITS:
        n, two = width(t), f"{t} {t}"
        for name, op in (("and", operator.and_), ("or", operator.or_), ("xor", operator.xor)):
            yield case(f"{name}.{t}", two, t, op)
        yield case(f"not.{t}", t, t, operator.invert)
        yield case(f"cnot.{t}", t, t, lambda a: a == 0)
        yield case(f"shl.{t}", f"{t} u32", t, lambda a, b, n=n: a << min(b, n))
        if n >= 32:
            yield case(f"popc.{t}", t, "u32", lambda a: bin(a).count("1"))
            yield case(f"clz.{t}", t, "u32", lambda a, n=n: n - a.bit_length())
            mirror = lambda a, n=n: int(f"{a:0{n}b}"[::-1], 2)
            yield case(f"brev.{t}", t, t, mirror)
            field = lambda a, b, c, e, n=n: insert(a, b, c, e, n)
            yield case(f"bfi.{t}", f"{t} {t} u32 u32", t, field)
    for t in (*BITS, *INTEGERS):
        yield case(f"shr.{t}", f"{t} u32", t, lambda a, b: a >> min(b, 64))
    for name, op in (("and", operator.and_), ("or", operator.or_), ("xor", operator.xor)):
        yield case(f"{name}.pred", "pred pred", "pred", op)
    yield case("not.pred", "pred", "pred", operator.not_)
    for t in ("u32", "s32"):
        clamp = lambda a, b, t=t: a if b >= 32 else decode_low(a, b, t)
        yield case(f"szext.clamp.{t}", f"{t} u32", t, clamp)
        yield case(f"szext.wrap.{t}", f"{t} u32", t, lambda a, b, t=t: decode_low(a, b & 31, t))
        for u in ("u32", "s32"):
            dot = lambda a, b, c, t=t, u=u: (
                c + sum(map(operator.mul, bytes_of(a, t), bytes_of(b, u)))
            )
            yield case(f"dp4a.{t}.{u}", f"{t} {u} s32", "s32", dot)
            for half, first in (("lo", 0), ("hi", 2)):
                product = lambda a, b, c, t=t, u=u, f=first: dot2(a, b, c, t, u, f)
                yield case(f"dp2a.{half}.{t}.{u}", f"{t} {u} s32", "s32", product)
    ones = lambda a, b: ((1 << min(b, 32)) - 1) << min(a, 32)
    yield case("bmsk.clamp.b32", "u32 u32", "b32", ones)
    yield case("bmsk.wrap.b32", "u32 u32", "b32", lambda a, b: ones(a & 31, b & 31))
    for table in (0x96, 0xE8, 0x1D, 0xFF):
        text = f"lop3.b32 %d, %a, %b, %c, {table:#x};"
        yield case(text, "b32 b32 b32", "b32", lambda a, b, c, t=table: lop3(a, b, c, t))
    for name, op in (("and", operator.and_), ("or", operator.or_)):
        logic = lambda a, b, c, q, op=op: (lop3(a, b, c, 0x80), op(lop3(a, b, c, 0x80) != 0, q))
        text = f"lop3.{name}.b32 %d|%e, %a, %b, %c, 0x80, %f;"
        yield case(text, "b32 b32 b32 pred", "b32 pred", logic)
    for mode, limit in (("wrap", lambda c: c & 31), ("clamp", lambda c: min(c, 32))):
        left = lambda a, b, c, f=limit: (a | b << 32) << f(c) >> 32
        yield case(f"shf.l.{mode}.b32", "b32 b32 u32", "b32", left)
        right = lambda a, b, c, f=limit: (a | b << 32) >> f(c)
        yield case(f"shf.r.{mode}.b32", "b32 b32 u32", "b32", right)
    yield case("prmt.b32", "b32 b32 b32", "b32", permute)
    for mode, selectors in PERMUTATIONS.items():
        by = lambda a, b, c, s=selectors: permute(a, b, s[c & 3])
        yield case(f"prmt.b32.{mode}", "b32 b32 b32", "b32", by)


def decode_low(a: int, count: int, type_: str) -> int:
    """Return the low bits of a number as a value of the type."""
    low = a & ((1 << count) - 1)
    return low - (1 << count) if count and type_[0] == "s" and low >> (count - 1) else low


def lop3(a: int, b: int, c: int, table: int) -> int:
    """Compute any function of three bits, as lop3 does."""
    return sum(
        (table >> ((a >> i & 1) * 4 + (b >> i & 1) * 2 + (c >> i & 1)) & 1) << i for i in range(32)
    )


# From the manual: the bytes that each mode selects, highest first.
PERMUTATIONS = {
    "f4e": [0x3210, 0x4321, 0x5432, 0x6543],
    "b4e": [0x5670, 0x6701, 0x7012, 0x0123],
    "rc8": [0x0000, 0x1111, 0x2222, 0x3333],
    "ecl": [0x3210, 0x3211, 0x3222, 0x3333],
    "ecr": [0x0000, 0x1110, 0x2210, 0x3210],
    "rc16": [0x1010, 0x3232, 0x1010, 0x3232],
}


def permute(a: int, b: int, selector: int) -> int:
    """Compute prmt."""
    source = (a | b << 32).to_bytes(8, "little")
    result = []
    for digit in (selector >> shift & 15 for shift in (0, 4, 8, 12)):
        byte = source[digit & 7]
        result.append((0xFF if byte & 0x80 else 0) if digit & 8 else byte)
    return int.from_bytes(bytes(result), "little")
