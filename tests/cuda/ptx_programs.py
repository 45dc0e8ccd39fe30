"""Hand-written PTX kernels for memory, threads and control: the programs of test_ptx_threads.py.

Each takes pointers, from `%p0` on, and has the number of its thread in the grid in `%i`.
"""

from __future__ import annotations

LOADS = [
    "b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64", "f32", "f64",
]  # fmt: skip
ATOMICS = {
    "and": "b32 b64",
    "or": "b32 b64",
    "xor": "b32 b64",
    "exch": "b32 b64",
    "add": "u32 u64 s32 f32 f64",
    "inc": "u32",
    "dec": "u32",
    "min": "u32 u64 s32 s64",
    "max": "u32 u64 s32 s64",
}
SMALL = ["f16", "bf16", "f16x2", "bf16x2"]
REGISTERS = """
.reg .pred %q<8>; .reg .b16 %h<16>; .reg .b32 %r<64>, %i, %t, %n; .reg .f32 %f<16>;
.reg .b64 %d<32>; .reg .f64 %g<4>;
mov.u32 %t, %tid.x; mov.u32 %n, %ntid.x; mov.u32 %i, %ctaid.x; mad.lo.u32 %i, %i, %n, %t;
"""


def kernel(name: str, parameters: int, body: str, directives: str = "") -> str:
    """Return a kernel with pointers %p0, ... and %o0, ..., which add 4 bytes per thread to them."""
    names = [f"p{k}" for k in range(parameters)]
    head = ", ".join(f".param .u64 {name}_{p}" for p in names)
    loads = "".join(
        f".reg .b64 %{p}, %o{p[1:]}; ld.param.u64 %{p}, [{name}_{p}];"
        f"mad.wide.u32 %o{p[1:]}, %i, 4, %{p};\n"
        for p in names
    )
    return f".visible .entry {name}({head}) {directives} {{\n{REGISTERS}{loads}{body}\nret;\n}}\n"


def size(type_: str) -> int:
    """Return the number of bytes of a type."""
    return int(type_[1:]) // 8


def wide(type_: str) -> str:
    """Return a register type that holds a type."""
    return {1: "%h1", 2: "%h1", 4: "%r1", 8: "%d1"}[size(type_)]


def loads() -> str:
    """Copy %p0 to %p1, each type at its own multiple of 16 bytes, through each space."""
    body = ".shared .align 16 .b8 buffer[16]; .local .align 16 .b8 own[16];\n"
    body += "mapa.shared::cluster.u32 %r9, buffer, 0;\n"
    for k, t in enumerate(LOADS):
        register, at = wide(t), 16 * k
        body += f"ld.global.{t} {register}, [%p0+{at}]; st.shared.{t} [buffer], {register};\n"
        body += f"ld.shared::cta.{t} {register}, [buffer]; st.local.{t} [own], {register};\n"
        body += f"ld.local.{t} {register}, [own]; st.shared::cluster.{t} [%r9], {register};\n"
        body += f"ld.shared::cluster.{t} {register}, [%r9]; st.{t} [%p1+{at}], {register};\n"
    return kernel("loads", 2, body)


def vectors() -> str:
    """Copy %p0 to %p1 by vectors of 2, 4 and 8 elements."""
    body, at = "", 0
    for t, count in [(t, n) for t in LOADS for n in (2, 4) if size(t) * n <= 16] + [("b32", 8)]:
        prefix = {"%h1": "%h", "%r1": "%r", "%d1": "%d"}[wide(t)]
        registers = ", ".join(f"{prefix}{2 + k}" for k in range(count))
        body += f"ld.global.v{count}.{t} {{{registers}}}, [%p0+{at}];\n"
        body += f"st.global.v{count}.{t} [%p1+{at}], {{{registers}}};\n"
        at += 32
    return kernel("vectors", 2, body)


ORDERED = [
    ("ld.volatile.global", "st.volatile.global"),
    ("ld.relaxed.gpu.global", "st.relaxed.gpu.global"),
    ("ld.acquire.gpu.global", "st.release.gpu.global"),
    ("ldu.global", "st.global"),
]


def orders() -> str:
    """Copy %p0 to %p1 with every type and every order."""
    body = ""
    for k, (load, store) in enumerate(ORDERED):
        for j, t in enumerate(LOADS):
            at = 8 * (k * len(LOADS) + j)
            body += f"{load}.{t} {wide(t)}, [%p0+{at}]; {store}.{t} [%p1+{at}], {wide(t)};\n"
    return kernel("orders", 2, body)


def hints() -> str:
    """Copy word k from %p0 to %p1 with every hint and every order."""
    evict = "L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate"
    forms: list[tuple[str, str]] = [
        *((f"ld.global.{cop}", "st.global") for cop in ["ca", "cg", "cs", "lu", "cv"]),
        *(("ld.global", f"st.global.{cop}") for cop in ["wb", "cg", "cs", "wt"]),
        *((f"ld.global.nc.{e}", f"st.global.{e}") for e in evict.split()),
        *((f"ld.global.nc.L2::{n}B", "st.weak.global") for n in (64, 128, 256)),
        ("ld.weak.global", "st"),
        ("ldu.global", "st.global"),
        ("ld.volatile.global", "st.volatile.global"),
        ("ld.volatile", "st.volatile"),
        *(
            (f"ld.relaxed.{s}.global", f"st.relaxed.{s}.global")
            for s in ["cta", "cluster", "gpu", "sys"]
        ),
        ("ld.acquire.gpu.global", "st.release.gpu.global"),
        ("ld.acquire.sys", "st.release.cta"),
    ]
    body = ""
    for k, (load, store) in enumerate(forms):
        body += f"{load}.b32 %r1, [%p0+{4 * k}]; {store}.b32 [%p1+{4 * k}], %r1;\n"
    at = 4 * len(forms) + 15 & ~15
    body += f"ld.volatile.global.v4.f32 {{%f1, %f2, %f3, %f4}}, [%p0+{at}];\n"
    body += f"st.relaxed.gpu.global.v4.f32 [%p1+{at}], {{%f1, %f2, %f3, %f4}};\n"
    body += f"ld.relaxed.gpu.global.v2.b64 {{%d1, %d2}}, [%p0+{at + 16}];\n"
    body += f"st.volatile.global.v2.b64 [%p1+{at + 16}], {{%d1, %d2}};\n"
    body += "prefetch.global.L1 [%p0]; prefetch.global.L2 [%p0]; prefetchu.L1 [%p0];\n"
    return kernel("hints", 2, body)


MEMORY = """
.global .align 4 .u32 counter = 7;
.const .align 4 .f32 table[3] = {0f3F800000, 0f40000000, 0fC0400000};
.global .align 8 .u64 places[2] = {generic(table)+4, counter};
.global .align 2 .u16 grid[2][3] = {{1, 2, 3}, {4, 5, 6}};
.shared .align 8 .b8 common[16];
.extern .shared .align 16 .b8 dynamic[];
"""


def moves() -> str:
    """Move addresses, constants and parts of registers."""
    return kernel(
        "moves",
        1,
        """
    .shared .align 4 .b8 own[4]; .local .align 4 .b8 mine[8];
    ld.const.f32 %f1, [table+8]; st.global.f32 [%p0], %f1;
    ld.global.u32 %r1, [counter]; add.u32 %r1, %r1, 1; st.global.u32 [counter], %r1;
    st.global.u32 [%p0+4], %r1;
    ld.global.u64 %d1, [places]; ld.f32 %f2, [%d1]; st.global.f32 [%p0+8], %f2;
    ld.global.u64 %d1, [places+8]; ld.u32 %r2, [%d1]; st.global.u32 [%p0+12], %r2;
    ld.global.u16 %h1, [grid+8]; cvt.u32.u16 %r2, %h1; st.global.u32 [%p0+16], %r2;
    mov.u32 %r3, own; st.shared.u32 [%r3], 77; ld.shared.u32 %r4, [own];
    st.global.u32 [%p0+20], %r4;
    mov.u64 %d2, own; cvta.shared.u64 %d3, %d2; ld.u32 %r5, [%d3]; st.global.u32 [%p0+24], %r5;
    isspacep.shared %q1, %d3; isspacep.shared::cta %q2, %p0;
    selp.u32 %r5, 1, 0, %q1; selp.u32 %r6, 2, 0, %q2; add.u32 %r5, %r5, %r6;
    st.global.u32 [%p0+28], %r5;
    cvta.to.shared.u64 %d4, %d3; ld.shared.u32 %r5, [%d4]; st.global.u32 [%p0+32], %r5;
    mov.u64 %d5, mine; cvta.local.u64 %d6, %d5; st.u32 [%d6+4], 5; cvta.to.local.u64 %d7, %d6;
    ld.local.u32 %r5, [%d7+4]; st.global.u32 [%p0+36], %r5;
    mov.u64 %d5, table; cvta.const.u64 %d6, %d5; ld.f32 %f3, [%d6+4]; st.f32 [%p0+40], %f3;
    cvta.to.const.u64 %d6, %d6; ld.const.f32 %f3, [%d6]; st.f32 [%p0+44], %f3;
    cvta.to.global.u64 %d8, %p0; cvta.global.u64 %d8, %d8; st.global.u32 [%d8+48], -1;
    mov.b32 %r7, {%h1, %h1}; mov.b32 {%h2, %h3}, %r7; mov.b64 %d9, {%r7, %r1};
    mov.b64 {%r8, %r9}, %d9; mov.b64 {%h4, %h5, %h6, %h7}, %d9; mov.b64 %d9, {%h1, %h2, %h3, %h4};
    mov.b64 {_, %r10}, %d9; st.global.u32 [%p0+52], %r8; st.global.u32 [%p0+56], %r9;
    st.global.u16 [%p0+60], %h6; st.global.u16 [%p0+62], %h7; st.global.u32 [%p0+64], %r10;
    mov.u16 %h1, 65535; mov.s16 %h2, -2; mov.b16 %h3, 0x10; st.global.v2.u16 [%p0+68], {%h1, %h2};
    mov.s32 %r1, -5; mov.b32 %r2, 017; mov.f32 %f1, 0f3FC00000; mov.f64 %g1, 0d3FF8000000000000;
    st.global.v2.b32 [%p0+72], {%r1, %r2}; mov.s64 %d1, -9; mov.b64 %d2, 0xFFFFFFFF00000001U;
    mov.u64 %d3, 5; st.global.v2.b64 [%p0+80], {%d1, %d2}; st.global.f64 [%p0+96], %g1;
    st.global.f32 [%p0+104], %f1; mov.b32 %r1, WARP_SZ; st.global.b32 [%p0+108], %r1;
    setp.eq.u32 %q1, %r1, 32; mov.pred %q2, %q1; selp.b32 %r1, 1, 0, %q2;
    st.global.b32 [%p0+112], %r1; mov.u64 %d1, %clock64; mov.u32 %r1, %clock;
    mov.b64 %d2, moves_p0; cvta.param.u64 %d3, %d2; ld.u64 %d4, [%d3]; cvta.to.param.u64 %d3, %d3;
    ld.param.u64 %d5, [%d3]; sub.u64 %d4, %d4, %p0; sub.u64 %d5, %d5, %p0; or.b64 %d4, %d4, %d5;
    mov.pred %q3, -1; mov.pred %q4, 0; selp.b32 %r1, 1, 0, %q3; selp.b32 %r2, 1, 0, %q4;
    st.global.v2.b32 [%p0+128], {%r1, %r2};
    st.global.u64 [%p0+120], %d4; ld.param::entry.u64 %d5, [moves_p0]; st.u32 [%d5+116], 3;
    """,
    )


FUNCTIONS = """
.func (.param .b32 result) add_one(.param .b32 value) {
.reg .b32 %r1; ld.param.b32 %r1, [value]; add.u32 %r1, %r1, 1; st.shared.u32 [common], %r1;
ld.shared.u32 %r1, [common]; st.param.b32 [result], %r1; ret; }
.func store_seven(.param .b64 where) {
.reg .b64 %d1; ld.param::func.b64 %d1, [where]; st.u32 [%d1], 7; ret; }
"""


def control() -> str:
    """Let thread i write what case i of a table says; use calls and scopes with own names."""
    return kernel(
        "control",
        1,
        """
    places: .branchtargets A, B, C, B;
    and.b32 %r1, %i, 3; mov.u32 %r2, 0;
    brx.idx %r1, places;
    A: add.u32 %r2, %r2, 10; bra.uni DONE; trap;
    B: add.u32 %r2, %r2, 20; bra DONE;
    C: { .reg .b32 %r2; mov.u32 %r2, 4; LOOP: sub.u32 %r2, %r2, 1; setp.ne.u32 %q1, %r2, 0;
       @%q1 bra LOOP; }
    { .reg .pred p; LOOP: add.u32 %r2, %r2, 1; setp.lt.u32 p, %r2, 30; @p bra LOOP; }
    DONE:
    { .param .b32 p0; st.param.b32 [p0], %r2; .param .b32 back;
      call.uni (back), add_one, (p0); ld.param.b32 %r3, [back]; }
    @!%q1 bra HERE; HERE:
    setp.eq.u32 %q2, %i, 5;
    @%q2 { .param .b64 to; st.param.b64 [to], %o0; call store_seven, (to); }
    st.global.u32 [%o0], %r3;
    setp.eq.u32 %q3, %i, 6; @%q3 st.global.u32 [%o0], 99; @%q3 exit;
    nanosleep.u32 20;
    """.replace("@%q2 {", "{").replace("call store_seven", "@%q2 call store_seven"),
    )


def special() -> str:
    """Write special registers, one per element of 32 words per thread."""
    names = [
        *(f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"),
        "%laneid", "%warpid", "%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt",
        "%lanemask_ge", "%cluster_ctarank", "%cluster_nctarank", "%cluster_ctaid.x",
        "%cluster_nctaid.x", "%clusterid.x", "%nclusterid.x",
    ]  # fmt: skip
    body = "mul.lo.u32 %r2, %i, 128; cvt.u64.u32 %d1, %r2; add.u64 %d1, %d1, %p0;\n"
    for k, name in enumerate(names):
        body += f"mov.u32 %r1, {name}; st.global.u32 [%d1+{4 * k}], %r1;\n"
    return kernel("special", 1, body)


def atomics() -> str:
    """Apply operation k to 8 bytes at %p0 + 8 k and %p1 + 8 k; old values go to %p2 + 8 k."""
    kinds = [(op, t) for op, types in ATOMICS.items() for t in types.split()]
    orders = [
        "",
        ".relaxed.gpu",
        ".acquire.gpu",
        ".release.cta",
        ".acq_rel.sys",
        ".relaxed.cluster",
    ]
    body = ""
    for k, (op, t) in enumerate(kinds):
        register, at = wide(t), 8 * k
        other = register.replace("1", "2")
        space = ".global" if k % 2 else ""
        body += f"ld.global.{t} {register}, [%p1+{at}];\n"
        body += f"atom{orders[k % 6]}{space}.{op}.{t} {other}, [%p0+{at}], {register};\n"
        body += f"st.global.{t} [%p2+{at}], {other};\n"
        if op != "exch":
            order = ("", ".relaxed.gpu", ".release.gpu")[k % 3]
            body += f"red{order}{space}.{op}.{t} [%p3+{at}], {register};\n"
    at = 8 * len(kinds)
    for t in SMALL:
        narrow = "h1" if not t.endswith("x2") else "r1"
        other, bits = narrow.replace("1", "2"), "b16" if narrow == "h1" else "b32"
        body += f"ld.global.{bits} %{narrow}, [%p1+{at}];\n"
        body += f"atom.global.add.noftz.{t} %{other}, [%p0+{at}], %{narrow};\n"
        body += f"st.global.{bits} [%p2+{at}], %{other};\n"
        body += f"red.global.add.noftz.{t} [%p3+{at}], %{narrow};\n"
        at += 8
    for t in ["b16", "b32", "b64"]:
        register = wide(t)
        other, third = register.replace("1", "2"), register.replace("1", "3")
        body += f"ld.global.{t} {register}, [%p1+{at}]; mov.{t} {third}, 9;\n"
        body += f"atom.global.cas.{t} {other}, [%p0+{at}], {register}, {third};\n"
        body += f"st.global.{t} [%p2+{at}], {other};\n"
        at += 8
    return kernel("atomics", 4, body)


def shared_atomics() -> str:
    """Let every thread add to words in the block's shared memory, by all names of that space."""
    return kernel(
        "shared_atomics",
        1,
        """
    .shared .align 16 .b8 sums[16]; .local .align 4 .b8 own[4];
    setp.eq.u32 %q1, %t, 0; @%q1 st.shared.v4.u32 [sums], {0, 0, 0, 0}; bar.sync 0;
    atom.shared.add.u32 %r1, [sums], 1; red.shared.add.u32 [sums+4], 2;
    atom.shared::cta.inc.u32 %r1, [sums+8], 100; red.shared::cta.max.u32 [sums+12], %t;
    mapa.shared::cluster.u32 %r2, sums, 0;
    atom.shared::cluster.add.u32 %r1, [%r2], 1; red.shared::cluster.add.u32 [%r2], 1;
    bar.sync 0; @!%q1 bra END;
    ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [sums]; st.global.v4.u32 [%p0], {%r1, %r2, %r3, %r4};
    END:
    """,
    )
