"""Table entries for arithmetic, comparison, logic and conversion; see forms.py for the notation."""

from __future__ import annotations

from . import special
from .forms import form

INTEGERS = "u16 u32 u64 s16 s32 s64"
WORDS = "u32 u64 s32 s64"
SIGNED = "s16 s32 s64"
BITS = "b16 b32 b64"
REALS = "f32 f64"
HALVES = "f16 bf16"
PACKED = "f16x2 bf16x2"
SMALL = f"{HALVES} {PACKED}"
INTEGER_COMPARISONS = "eq ne lt le gt ge lo ls hi hs"
REAL_COMPARISONS = "eq ne lt le gt ge equ neu ltu leu gtu geu num nan"

INTEGER_ARITHMETIC = [
    form("add.t", "=d:ut a:ut b:ut", "add({a}, {b})", t=INTEGERS),
    form("sub.t", "=d:ut a:ut b:ut", "sub({a}, {b})", t=INTEGERS),
    form("add.sat.s32", "=d:s32 a:s32 b:s32", "add_saturated({a}, {b})"),
    form("sub.sat.s32", "=d:s32 a:s32 b:s32", "sub_saturated({a}, {b})"),
    form("add.cc.t", "=d:ut a:ut b:ut", "add_carry({a}, {b}, false, carry)", t=WORDS),
    form("addc.t", "=d a b", "add({a}, add({b}, {t}(carry)))", t=WORDS),
    form("addc.cc.t", "=d:ut a:ut b:ut", "add_carry({a}, {b}, carry, carry)", t=WORDS),
    form("sub.cc.t", "=d:ut a:ut b:ut", "sub_borrow({a}, {b}, false, carry)", t=WORDS),
    form("subc.t", "=d a b", "sub({a}, add({b}, {t}(carry)))", t=WORDS),
    form("subc.cc.t", "=d:ut a:ut b:ut", "sub_borrow({a}, {b}, carry, carry)", t=WORDS),
    form("mul.lo.t", "=d:ut a:ut b:ut", "mul({a}, {b})", t=INTEGERS),
    form("mul.hi.t", "=d a b", "mul_high({a}, {b})", t=INTEGERS),
    form("mul.wide.t", "=d:2t a b", "mul_wide({a}, {b})", t="u16 u32 s16 s32"),
    form("mul24.lo.t", "=d a b", "mul24_low({a}, {b})", t="u32 s32"),
    form("mul24.hi.t", "=d a b", "mul24_high({a}, {b})", t="u32 s32"),
    form("mad.lo.t", "=d:ut a:ut b:ut c:ut", "add(mul({a}, {b}), {c})", t=INTEGERS),
    form("mad.hi.t", "=d a b c", "add(mul_high({a}, {b}), {c})", t=INTEGERS),
    form("mad.wide.t", "=d:2t a b c:2t", "add(mul_wide({a}, {b}), {c})", t="u16 u32 s16 s32"),
    form("mad24.lo.t", "=d a b c", "add(mul24_low({a}, {b}), {c})", t="u32 s32"),
    form("mad.lo.cc.t", "=d a b c", "add_carry(mul({a}, {b}), {c}, false, carry)", t=WORDS),
    form("mad.hi.cc.t", "=d a b c", "add_carry(mul_high({a}, {b}), {c}, false, carry)", t=WORDS),
    form("madc.lo.t", "=d a b c", "add(mul({a}, {b}), add({c}, {t}(carry)))", t=WORDS),
    form("madc.hi.t", "=d a b c", "add(mul_high({a}, {b}), add({c}, {t}(carry)))", t=WORDS),
    form("madc.lo.cc.t", "=d a b c", "add_carry(mul({a}, {b}), {c}, carry, carry)", t=WORDS),
    form("madc.hi.cc.t", "=d a b c", "add_carry(mul_high({a}, {b}), {c}, carry, carry)", t=WORDS),
    form("sad.t", "=d a b c", "add({c}, abs_difference({a}, {b}))", t=INTEGERS),
    form("div.t", "=d a b", "divide({a}, {b})", t=INTEGERS),
    form("rem.t", "=d a b", "remainder({a}, {b})", t=INTEGERS),
    form("abs.t", "=d a", "abs({a})", t=SIGNED),
    form("neg.t", "=d a", "neg({a})", t=SIGNED),
    form("min.t", "=d a b", "min({a}, {b})", t=INTEGERS),
    form("max.t", "=d a b", "max({a}, {b})", t=INTEGERS),
    form("popc.t", "=d:u32 a", "std::popcount({a})", t="b32 b64"),
    form("clz.t", "=d:u32 a", "std::countl_zero({a})", t="b32 b64"),
    form("bfind.t", "=d:u32 a", "find_bit({a})", t=WORDS),
    form("bfind.shiftamt.t", "=d:u32 a", "find_bit_shift({a})", t=WORDS),
    form("brev.t", "=d a", "reverse_bits({a})", t="b32 b64"),
    form("bfe.t", "=d a b:u32 c:u32", "extract({a}, {b}, {c})", t=WORDS),
    form("bfi.t", "=d a b c:u32 e:u32", "insert({a}, {b}, {c}, {e})", t="b32 b64"),
    form("szext.mode.t", "=d a b:u32", "extend_{mode}({a}, {b})", mode="clamp wrap", t="u32 s32"),
    form("bmsk.mode.b32", "=d:b32 a:u32 b:u32", "mask_{mode}({a}, {b})", mode="clamp wrap"),
    form(
        "dp4a.t.u", "=d:s32 a b:u c:s32", "dot4<{t}, {u}>({a}, {b}, {c})", t="s32 u32", u="s32 u32"
    ),
    form(
        "dp2a.half.t.u",
        "=d:s32 a b:u c:s32",
        "dot2_{half}<{t}, {u}>({a}, {b}, {c})",
        half="lo hi",
        t="s32 u32",
        u="s32 u32",
    ),
]

FLOATING_POINT = [
    form(
        "testp.op.t",
        "=d:pred a",
        "test::{op}({a})",
        t=REALS,
        op="finite infinite number notanumber normal subnormal",
    ),
    form("copysign.t", "=d a b", "std::copysign({b}, {a})", t=REALS),
    form("add{.rnd}{.ftz}{.sat}.t", "=d a b", "add<{rnd}>({a}, {b})", t=REALS),
    form("sub{.rnd}{.ftz}{.sat}.t", "=d a b", "sub<{rnd}>({a}, {b})", t=REALS),
    form("mul{.rnd}{.ftz}{.sat}.t", "=d a b", "mul<{rnd}>({a}, {b})", t=REALS),
    form("fma.rnd{.ftz}{.sat}.t", "=d a b c", "fma<{rnd}>({a}, {b}, {c})", t=REALS),
    form("mad{.rnd}{.ftz}{.sat}.t", "=d a b c", "fma<{rnd}>({a}, {b}, {c})", t=REALS),
    form("div.rnd{.ftz}.t", "=d a b", "divide<{rnd}>({a}, {b})", t=REALS),
    form("div.approx{.ftz}.f32", "=d:f32 a:f32 b:f32", "divide_approximately({a}, {b})"),
    form("div.full{.ftz}.f32", "=d:f32 a:f32 b:f32", "divide_full({a}, {b})"),
    form("abs{.ftz}.t", "=d a", "abs({a})", t=REALS),
    form("neg{.ftz}.t", "=d a", "neg({a})", t=REALS),
    form("min{.ftz}.t", "=d a b", "min({a}, {b})", t=REALS),
    form("max{.ftz}.t", "=d a b", "max({a}, {b})", t=REALS),
    form("min{.ftz}.NaN.f32", "=d:f32 a:f32 b:f32", "min_nan({a}, {b})"),
    form("max{.ftz}.NaN.f32", "=d:f32 a:f32 b:f32", "max_nan({a}, {b})"),
    form("rcp.rnd{.ftz}.t", "=d a", "divide<{rnd}>({t}(1), {a})", t=REALS),
    form("rcp.approx{.ftz}.f32", "=d:f32 a:f32", "reciprocal_approximately({a})"),
    form("rcp.approx.ftz.f64", "=d:f64 a:f64", "approximately64(1.0 / {a})"),
    form("sqrt.rnd{.ftz}.t", "=d a", "square_root<{rnd}>({a})", t=REALS),
    form("sqrt.approx{.ftz}.f32", "=d:f32 a:f32", "approximately<22>(std::sqrt(f64({a})))"),
    form("rsqrt.approx{.ftz}.f32", "=d:f32 a:f32", "approximately<22>(1 / std::sqrt(f64({a})))"),
    form("rsqrt.approx{.ftz}.f64", "=d:f64 a:f64", "approximately64(1 / std::sqrt({a}))"),
    form("sin.approx{.ftz}.f32", "=d:f32 a:f32", "sine_approximately({a})"),
    form("cos.approx{.ftz}.f32", "=d:f32 a:f32", "cosine_approximately({a})"),
    form("lg2.approx{.ftz}.f32", "=d:f32 a:f32", "log2_approximately({a})"),
    form("ex2.approx{.ftz}.f32", "=d:f32 a:f32", "approximately<22>(std::exp2(f64({a})))"),
    form("tanh.approx.f32", "=d:f32 a:f32", "approximately<10>(std::tanh(f64({a})))"),
]

HALF_PRECISION = [
    form("add{.rn}{.ftz}{.sat}.t", "=d a b", "add({a}, {b})", t=SMALL),
    form("sub{.rn}{.ftz}{.sat}.t", "=d a b", "sub({a}, {b})", t=SMALL),
    form("mul{.rn}{.ftz}{.sat}.t", "=d a b", "mul({a}, {b})", t=SMALL),
    form("fma.rn{.ftz}{.sat}{.relu}.t", "=d a b c", "fma({a}, {b}, {c})", t=SMALL),
    form("neg{.ftz}.t", "=d a", "neg({a})", t=SMALL),
    form("abs{.ftz}.t", "=d a", "abs({a})", t=SMALL),
    form("min{.ftz}.t", "=d a b", "min({a}, {b})", t=SMALL),
    form("max{.ftz}.t", "=d a b", "max({a}, {b})", t=SMALL),
    form("min{.ftz}.NaN.t", "=d a b", "min_nan({a}, {b})", t=SMALL),
    form("max{.ftz}.NaN.t", "=d a b", "max_nan({a}, {b})", t=SMALL),
    form("tanh.approx.t", "=d a", "tanh({a})", t=SMALL),
    form("ex2.approx{.ftz}.t", "=d a", "exp2({a})", t=SMALL),
]

COMPARISON = [
    form(
        "set.cmp{.ftz}.to.t",
        "=d a b",
        special.set_value,
        cmp=REAL_COMPARISONS,
        to="u32 s32 f32",
        t=REALS,
    ),
    form(
        "set.cmp.to.t",
        "=d a b",
        special.set_value,
        cmp=INTEGER_COMPARISONS,
        to="u32 s32 f32",
        t=f"{BITS} {INTEGERS}",
    ),
    form(
        "set.cmp.bool{.ftz}.to.t",
        "=d a b !c",
        special.set_value,
        cmp=REAL_COMPARISONS,
        to="u32 s32 f32",
        t=REALS,
    ),
    form(
        "set.cmp.bool.to.t",
        "=d a b !c",
        special.set_value,
        cmp=INTEGER_COMPARISONS,
        to="u32 s32 f32",
        t=f"{BITS} {INTEGERS}",
    ),
    form(
        "setp.cmp{.ftz}.t",
        "=d a b",
        special.set_predicate,
        cmp=REAL_COMPARISONS,
        t=f"{REALS} {HALVES}",
    ),
    form(
        "setp.cmp.t",
        "=d a b",
        special.set_predicate,
        cmp=INTEGER_COMPARISONS,
        t=f"{BITS} {INTEGERS}",
    ),
    form(
        "setp.cmp.bool{.ftz}.t",
        "=d a b !c",
        special.set_predicate,
        cmp=REAL_COMPARISONS,
        t=f"{REALS} {HALVES}",
    ),
    form(
        "setp.cmp.bool.t",
        "=d a b !c",
        special.set_predicate,
        cmp=INTEGER_COMPARISONS,
        t=f"{BITS} {INTEGERS}",
    ),
    form("selp.t", "=d a b c:pred", "{c} ? {a} : {b}", t=f"{BITS} {INTEGERS} {REALS}"),
    form(
        "slct.t.u",
        "=d a b c:u",
        "{c} >= 0 ? {a} : {b}",
        t=f"{BITS} {INTEGERS} {REALS}",
        u="s32 f32",
    ),
]

LOGIC = [
    form("and.t", "=d a b", "{a} & {b}", t=f"pred {BITS}"),
    form("or.t", "=d a b", "{a} | {b}", t=f"pred {BITS}"),
    form("xor.t", "=d a b", "{a} ^ {b}", t=f"pred {BITS}"),
    form("not.t", "=d a", "{t}(~{a})", t=BITS),
    form("not.pred", "=d:pred a:pred", "!{a}"),
    form("cnot.t", "=d a", "{a} == 0", t=BITS),
    form("lop3.b32", "=d:b32 a:b32 b:b32 c:b32 #e", "lop3<{e}>({a}, {b}, {c})"),
    form("lop3.bool.b32", "=d|p a b c #e !q", special.logic, bool="and or"),
    form("shf.l.wrap.b32", "=d:b32 a:b32 b:b32 c:u32", "funnel_left({a}, {b}, {c} & 31)"),
    form("shf.r.wrap.b32", "=d:b32 a:b32 b:b32 c:u32", "funnel_right({a}, {b}, {c} & 31)"),
    form("shf.l.clamp.b32", "=d:b32 a:b32 b:b32 c:u32", "funnel_left({a}, {b}, min({c}, 32u))"),
    form("shf.r.clamp.b32", "=d:b32 a:b32 b:b32 c:u32", "funnel_right({a}, {b}, min({c}, 32u))"),
    form("shl.t", "=d a b:u32", "shift_left({a}, {b})", t=BITS),
    form("shr.t", "=d a b:u32", "shift_right({a}, {b})", t=f"{BITS} {INTEGERS}"),
    form("prmt.b32", "=d:b32 a:b32 b:b32 c:b32", "permute({a}, {b}, {c})"),
    form(
        "prmt.b32.mode",
        "=d:b32 a:b32 b:b32 c:b32",
        "permute_{mode}({a}, {b}, {c})",
        mode="f4e b4e rc8 ecl ecr rc16",
    ),
]

CONVERSION = [
    form("cvt.d.s", "=r:d a:s", "convert<{d}>({a})", d=f"u8 s8 {INTEGERS}", s=f"u8 s8 {INTEGERS}"),
    form(
        "cvt.sat.d.s",
        "=r:d a:s",
        "convert_saturated<{d}>({a})",
        d=f"u8 s8 {INTEGERS}",
        s=f"u8 s8 {INTEGERS}",
    ),
    form(
        "cvt.irnd{.ftz}{.sat}.d.s",
        "=r:d a:s",
        "to_integer<{d}, {irnd}>({a})",
        d=f"u8 s8 {INTEGERS}",
        s=f"{REALS} {HALVES}",
    ),
    form(
        "cvt.rnd{.sat}.d.s",
        "=r:d a:s",
        "from_integer<{d}, {rnd}>({a})",
        d=f"{REALS} {HALVES}",
        s=f"u8 s8 {INTEGERS}",
    ),
    form(
        "cvt.irnd{.ftz}{.sat}.d.s",
        "=r:d a:s",
        "to_integral<{irnd}>({a})",
        d=f"{REALS} f16",
        s=f"{REALS} f16",
    ),
    form(
        "cvt{.rnd}{.ftz}{.relu}{.sat}.d.s",
        "=r:d a:s",
        "change<{d}, {rnd}>({a})",
        d=f"{REALS} {HALVES}",
        s=f"{REALS} {HALVES}",
    ),
    form(
        "cvt.rnd{.relu}.d.f32",
        "=r:d a:f32 b:f32",
        "pack<{d}, {rnd}>({a}, {b})",
        d=PACKED,
        rnd="rn rz",
    ),
    form(
        "cvt.round{.relu}.tf32.f32",
        "=r:f32 a:f32",
        "round_to_tf32<{round}>({a})",
        round="rn rz rna",
    ),
]

ARITHMETIC = [
    *INTEGER_ARITHMETIC,
    *FLOATING_POINT,
    *HALF_PRECISION,
    *COMPARISON,
    *LOGIC,
    *CONVERSION,
]
