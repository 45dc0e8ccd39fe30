"""Hand-written PTX kernels in which threads meet: barriers, warps, clusters, tensor cores."""

from __future__ import annotations

from ptx_programs import kernel


def barriers() -> str:
    """Let two halves of a block meet at barriers of their own, then let all count their votes."""
    return kernel(
        "barriers",
        2,
        """
    .shared .align 16 .b8 words[512];
    shl.b32 %r1, %t, 2; mov.u32 %r2, words; add.u32 %r2, %r2, %r1;
    shr.u32 %r3, %t, 6; add.u32 %r3, %r3, 1;
    st.shared.u32 [%r2], %t; bar.sync %r3, 64;
    xor.b32 %r4, %r1, 252; mov.u32 %r5, words; add.u32 %r5, %r5, %r4; ld.shared.u32 %r6, [%r5];
    st.global.u32 [%o0], %r6;
    barrier.sync 0; bar.cta.sync 0; barrier.cta.sync.aligned 5; barrier.sync.aligned 6, 128;
    setp.lt.u32 %q1, %t, 40;
    bar.red.popc.u32 %r7, 0, %q1; bar.red.popc.u32 %r8, 3, !%q1;
    barrier.red.popc.aligned.u32 %r9, 0, %q1; add.u32 %r7, %r7, %r9;
    bar.red.or.pred %q2, 0, %q1; bar.red.and.pred %q3, 0, %q1;
    barrier.red.or.pred %q4, 0, %q1; barrier.cta.red.and.aligned.pred %q5, 0, %q1;
    selp.u32 %r9, 1, 0, %q2; selp.u32 %r10, 2, 0, %q3; selp.u32 %r11, 4, 0, %q4;
    selp.u32 %r12, 8, 0, %q5; or.b32 %r9, %r9, %r10; or.b32 %r9, %r9, %r11; or.b32 %r9, %r9, %r12;
    setp.ne.u32 %q6, %t, 0; @%q6 bra NEXT;
    st.global.v4.u32 [%p1], {%r7, %r8, %r9, 0};
    NEXT: setp.lt.u32 %q7, %t, 64; @%q7 bra WAIT;
    st.shared.u32 [%r2], 1000; bar.arrive 7, 128; barrier.cta.arrive.aligned 8, 128; bra.uni END;
    WAIT: bar.sync 7, 128; barrier.sync 8, 128;
    ld.shared.u32 %r1, [%r2+256]; st.global.u32 [%o0+256], %r1;
    END: membar.cta; membar.gl; membar.sys; fence.sc.gpu; fence.acq_rel.cta; fence.acquire.sys;
    fence.release.cluster; fence.proxy.alias; fence.proxy.async; fence.proxy.async.global;
    fence.proxy.async.shared::cta; fence.mbarrier_init.release.cluster;
    """,
    )


def warps() -> str:
    """Let lanes exchange values; each result goes to a row of 32 words of %p1."""
    rows: list[str] = []

    def row(text: str, register: str = "%r2") -> None:
        rows.append(f"{text} st.global.u32 [%o1+{128 * len(rows)}], {register};\n")

    for mode, by, bounds in (
        ("up", 3, 0), ("down", 5, 31), ("bfly", 9, 31), ("idx", 7, 31),
        ("up", 1, 0x1800), ("down", 2, 0x181F), ("bfly", 4, 0x181F), ("idx", 5, 0x181F),
        ("idx", 3, 0x1804),
    ):  # fmt: skip
        row(f"shfl.sync.{mode}.b32 %r2|%q2, %r1, {by}, {bounds}, -1;")
        row("selp.u32 %r3, 1, 0, %q2;", "%r3")
    row("shfl.sync.idx.b32 %r2, %r1, %t, 31, 0xffffffff;")
    for op in ("all", "any", "uni"):
        row(f"vote.sync.{op}.pred %q3, %q1, -1; selp.u32 %r2, 1, 0, %q3;")
        row(f"vote.sync.{op}.pred %q3, !%q4, -1; selp.u32 %r2, 1, 0, %q3;")
    row("vote.sync.ballot.b32 %r2, %q1, -1;")
    row("and.b32 %r3, %r1, 3; match.any.sync.b32 %r2, %r3, -1;")
    row("cvt.u64.u32 %d1, %r3; match.any.sync.b64 %r2, %d1, -1;")
    row("match.all.sync.b32 %r2|%q5, %r3, -1;")
    row("selp.u32 %r2, 1, 0, %q5;")
    row("mov.u64 %d1, 5; match.all.sync.b64 %r2|%q5, %d1, -1;")
    row("selp.u32 %r2, 1, 0, %q5;")
    row("elect.sync %r2|%q5, -1;")
    row("selp.u32 %r2, 1, 0, %q5;")
    for op in ("add", "min", "max"):
        for t in ("u32", "s32"):
            row(f"redux.sync.{op}.{t} %r2, %r1, -1;")
    for op in ("and", "or", "xor"):
        row(f"redux.sync.{op}.b32 %r2, %r1, -1;")
    row("activemask.b32 %r2; and.b32 %r2, %r2, %r4;")
    body = "ld.global.u32 %r1, [%o0]; setp.lt.s32 %q1, %r1, 0; setp.ge.u32 %q4, %t, 32;\n"
    body += "mov.u32 %r4, %lanemask_eq; bar.warp.sync -1;\n"
    return kernel("warps", 2, body + "".join(rows))


PRODUCTS = [("bf16", 16), ("bf16", 8), ("f16", 16), ("f16", 8), ("tf32", 8), ("tf32", 4)]


def products() -> str:
    """Multiply a (16, depth) by b (depth, 8), row-major, with mma, one kernel per type and depth.

    A word of a or b holds one or two values along the depth, which is why b is given transposed.
    """
    text = ""
    for t, depth in PRODUCTS:
        words = depth // (1 if t == "tf32" else 2)  # a row
        count = words // 4
        body = f"""
        and.b32 %r1, %t, 3; shr.u32 %r2, %t, 2;
        mad.lo.u32 %r3, %r2, {words}, %r1; mad.wide.u32 %d1, %r3, 4, %p0;
        mad.wide.u32 %d2, %r3, 4, %p1;
        """
        a, b = [], []
        for k in range(count):
            for half in (0, 1):
                a.append(f"%r{10 + len(a)}")
                body += f"ld.global.b32 {a[-1]}, [%d1+{4 * (8 * words * half + 4 * k)}];\n"
            b.append(f"%r{20 + len(b)}")
            body += f"ld.global.b32 {b[-1]}, [%d2+{16 * k}];\n"
        body += """
        shl.b32 %r4, %r1, 1; mad.lo.u32 %r4, %r2, 8, %r4; mad.wide.u32 %d3, %r4, 4, %p2;
        mad.wide.u32 %d4, %r4, 4, %p3;
        ld.global.v2.f32 {%f1, %f2}, [%d3]; ld.global.v2.f32 {%f3, %f4}, [%d3+256];
        """
        braces = "{{{}}}".format
        single = braces(b[0])
        body += (
            f"mma.sync.aligned.m16n8k{depth}.row.col.f32.{t}.{t}.f32 {{%f5, %f6, %f7, %f8}}, "
            f"{braces(', '.join(a))}, {braces(', '.join(b)) if count > 1 else single}, "
            "{%f1, %f2, %f3, %f4};\n"
            "st.global.v2.f32 [%d4], {%f5, %f6}; st.global.v2.f32 [%d4+256], {%f7, %f8};\n"
        )
        text += kernel(f"product_{t}_{depth}", 4, body)
    return text


def matrices() -> str:
    """Load four 8 x 8 matrices from %p0 in all ways of ldmatrix, and write their rows to %p1."""
    body = """
    .shared .align 16 .b8 tiles[512]; mov.u32 %r1, tiles;
    ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%d1]; mad.lo.u32 %r6, %t, 16, %r1;
    st.shared.v4.b32 [%r6], {%r2, %r3, %r4, %r5}; bar.sync 0;
    """
    row = 0
    for count, shared in ((1, ".shared"), (2, ".shared::cta"), (4, ".shared")):
        for trans in ("", ".trans"):
            registers = [f"%r{10 + k}" for k in range(count)]
            body += (
                f"ldmatrix.sync.aligned.m8n8.x{count}{trans}{shared}.b16 "
                f"{{{', '.join(registers)}}}, [%r6];\n"
            )
            for register in registers:
                body += f"st.global.b32 [%o1+{128 * row}], {register};\n"
                row += 1
    return kernel("matrices", 2, "mad.wide.u32 %d1, %t, 16, %p0;\n" + body)


def copies() -> str:
    """Copy 4, 8 and 16 bytes by cp.async, whole and in part, in groups."""
    return kernel(
        "copies",
        2,
        """
    .shared .align 16 .b8 target[2048];
    mov.u32 %r1, target; mad.lo.u32 %r1, %t, 64, %r1; mad.wide.u32 %d1, %t, 64, %p0;
    mad.wide.u32 %d2, %t, 64, %p1; mov.u32 %r2, 8;
    cp.async.ca.shared.global [%r1], [%d1], 4; cp.async.ca.shared.global [%r1+8], [%d1+8], 8;
    cp.async.commit_group;
    cp.async.cg.shared.global [%r1+16], [%d1+16], 16;
    cp.async.ca.shared.global.L2::128B [%r1+32], [%d1+32], 16, %r2;
    cp.async.commit_group; cp.async.wait_group 1;
    cp.async.cg.shared.global.L2::256B [%r1+48], [%d1+48], 16, 0; cp.async.wait_all;
    ld.shared.v4.b32 {%r4, %r5, %r6, %r7}, [%r1];
    st.global.v4.b32 [%d2], {%r4, %r5, %r6, %r7};
    ld.shared.v4.b32 {%r4, %r5, %r6, %r7}, [%r1+16];
    st.global.v4.b32 [%d2+16], {%r4, %r5, %r6, %r7};
    ld.shared.v4.b32 {%r4, %r5, %r6, %r7}, [%r1+32];
    st.global.v4.b32 [%d2+32], {%r4, %r5, %r6, %r7};
    ld.shared.v4.b32 {%r4, %r5, %r6, %r7}, [%r1+48];
    st.global.v4.b32 [%d2+48], {%r4, %r5, %r6, %r7};
    """,
    )


STORES = [
    ("b32", 1), ("u32", 1), ("s32", 1), ("f32", 1), ("b64", 1), ("u64", 1), ("s64", 1), ("f64", 1),
    ("b32", 2), ("f32", 2), ("b32", 4), ("b64", 2),
]  # fmt: skip


def cluster() -> str:
    """Let each block send words of all types to the next in its cluster, and wait for its own."""
    stores, total, at = "", 0, 16
    for t, count in STORES:
        size = int(t[1:]) // 8
        prefix = "%r" if size == 4 else "%d"
        values = ", ".join(f"{prefix}{20 + k}" for k in range(count))
        vector = f".v{count}" if count > 1 else ""
        operand = f"{{{values}}}" if count > 1 else values
        stores += (
            f"st.async{'.weak' if count == 4 else ''}.shared::cluster.mbarrier::complete_tx::bytes"
            f"{vector}.{t} [%r4+{at}], {operand}, [%r5];\n"
        )
        at += 16
        total += size * count
    back = "".join(
        f"ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [area+{16 + 16 * k}];"
        f"st.global.v4.b32 [%d3+{16 * k}], {{%r10, %r11, %r12, %r13}};\n"
        for k in range(len(STORES))
    )
    return kernel(
        "cluster",
        1,
        f"""
    .shared .align 16 .b8 area[{at}];
    .shared .align 8 .b8 done[8];
    mov.u32 %r1, %cluster_ctarank; xor.b32 %r2, %r1, 1; setp.eq.u32 %q1, %t, 0;
    @!%q1 bra READY;
    mbarrier.init.shared.b64 [done], 1; fence.mbarrier_init.release.cluster;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [done], {total};
    READY: barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;
    mov.u32 %r3, area; mapa.shared::cluster.u32 %r4, %r3, %r2; mov.u32 %r3, done;
    mapa.shared::cluster.u32 %r5, %r3, %r2; getctarank.shared::cluster.u32 %r6, %r5;
    mov.u32 %r20, 100; add.u32 %r20, %r20, %r1; add.u32 %r21, %r20, 10; add.u32 %r22, %r20, 20;
    add.u32 %r23, %r20, 30; mov.b64 %d20, {{%r20, %r21}}; mov.b64 %d21, {{%r22, %r23}};
    @!%q1 bra WAIT;
    {stores}
    WAIT: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %q2, [done], 0;
    @!%q2 bra WAIT;
    @!%q1 bra END;
    mad.wide.u32 %d3, %r1, 1024, %p0; st.global.u32 [%d3+1000], %r6;
    {back}
    mov.u64 %d4, area; cvta.shared.u64 %d5, %d4; mapa.u64 %d6, %d5, %r2; st.u32 [%d6], 42;
    END: barrier.cluster.arrive; barrier.cluster.wait;
    @%q1 ld.shared.u32 %r7, [area]; @%q1 st.global.u32 [%d3+1004], %r7;
    barrier.cluster.arrive.relaxed; barrier.cluster.wait.acquire;
    """,
    )


def phases() -> str:
    """Test mbarriers in a block: states, parities, more bytes, arrivals from another block."""
    return kernel(
        "phases",
        1,
        """
    .shared .align 8 .b8 gate[16];
    mov.u32 %r1, %cluster_ctarank; setp.eq.u32 %q1, %t, 0; @!%q1 bra READY;
    mbarrier.init.b64 [gate_at], 32; mbarrier.init.shared::cta.b64 [gate+8], 1;
    READY: barrier.cluster.arrive; barrier.cluster.wait;
    mbarrier.arrive.shared.b64 %d1, [gate];
    A: mbarrier.try_wait.shared.b64 %q2, [gate], %d1; @!%q2 bra A;
    mbarrier.arrive.release.cta.shared::cta.b64 %d1, [gate];
    B: mbarrier.test_wait.shared.b64 %q2, [gate], %d1; @!%q2 bra B;
    C: mbarrier.test_wait.parity.shared::cta.b64 %q2, [gate], 1; @!%q2 bra C;
    mapa.shared::cluster.u32 %r3, gate, 1; add.u32 %r3, %r3, 8;
    setp.eq.u32 %q3, %r1, 0; and.pred %q4, %q1, %q3;
    @%q4 mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r3];
    @%q3 bra END; @!%q1 bra END;
    D: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %q2, [gate+8], 0, 1000;
    @!%q2 bra D;
    mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [gate+8], 0;
    mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 %d2, [gate+8], 0;
    E: mbarrier.try_wait.acquire.cta.shared::cta.b64 %q2, [gate+8], %d2; @!%q2 bra E;
    mbarrier.inval.shared.b64 [gate+8]; cvt.u32.u64 %r4, %d2;
    st.global.u32 [%p0], 1; st.global.u32 [%p0+4], %r4;
    END: barrier.cluster.arrive; barrier.cluster.wait;
    """.replace("[gate_at]", "[%d9]").replace(
            "setp.eq.u32 %q1, %t, 0; @!%q1 bra READY;",
            "setp.eq.u32 %q1, %t, 0; mov.u64 %d8, gate; cvta.shared.u64 %d9, %d8; @!%q1 bra READY;",
        ),
    )
