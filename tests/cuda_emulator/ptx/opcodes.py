"""The table of instructions, in the order of the PTX manual; forms.py explains the notation."""

from __future__ import annotations

from . import special
from .arithmetic import ARITHMETIC, BITS, HALVES, SMALL, WORDS
from .forms import Table, form

LOADS = "b8 u8 s8 b16 u16 s16 b32 u32 s32 b64 u64 s64 f32 f64"
MOVES = "pred b16 u16 s16 b32 u32 s32 b64 u64 s64 f32 f64"
SEMANTICS = "relaxed acquire release acq_rel"
SPACES = "global shared shared::cta shared::cluster"  # of memory that threads share
LOAD_SPACES = f"{SPACES} local const param param::entry param::func"
STORE_SPACES = f"{SPACES} local param param::func"

MOVEMENT = [
    form("mov.t", "=d a", special.move, t=MOVES),
    form("cvta.shared.u64", "=d:u64 a:u64", "from_shared({a})"),
    form("cvta.to.shared.u64", "=d:u64 a:u64", "to_shared({a})"),
    form("cvta.space.u64", "=d:u64 a:u64", "{a}", space="global local const param"),
    form("cvta.to.space.u64", "=d:u64 a:u64", "{a}", space="global local const param"),
    form("isspacep.shared", "=d:pred a:u64", "is_shared({a})", shared="shared shared::cta"),
    form("mapa.shared::cluster.u32", "=d:u32 a:u32 b:u32", "map_address({a}, {b})"),
    form("mapa.u64", "=d:u64 a:u64 b:u32", "map_generic({a}, {b})"),
    form("getctarank.shared::cluster.u32", "=d:u32 a:u32", "rank_of({a})"),
    form(
        "ld{.weak}{.space}{.cop}{.nc}{.evict}{.prefetch}{.vec}.t",
        "=d [a]",
        special.load,
        space=LOAD_SPACES,
        cop="ca cg cs lu cv",
        t=LOADS,
    ),
    form("ld.volatile{.space}{.prefetch}{.vec}.t", "=d [a]", special.load, space=SPACES, t=LOADS),
    form(
        "ld.sem.scope{.space}{.evict}{.prefetch}{.vec}.t",
        "=d [a]",
        special.load,
        sem="relaxed acquire",
        space=SPACES,
        t=LOADS,
    ),
    form("ldu{.space}{.vec}.t", "=d [a]", special.load, space="global", t=LOADS),
    form(
        "st{.weak}{.space}{.cop}{.evict}{.vec}.t",
        "[a] b",
        special.store,
        space=STORE_SPACES,
        cop="wb cg cs wt",
        t=LOADS,
    ),
    form("st.volatile{.space}{.vec}.t", "[a] b", special.store, space=SPACES, t=LOADS),
    form(
        "st.sem.scope{.space}{.evict}{.vec}.t",
        "[a] b",
        special.store,
        sem="relaxed release",
        space=SPACES,
        t=LOADS,
    ),
    form("prefetch{.space}.level", "[a]:b8", "ignore({a})", space="global local", level="L1 L2"),
    form("prefetchu.L1", "[a]:b8", "ignore({a})"),
]

ATOMIC_TYPES = {
    "and or xor": "b32 b64",
    "exch": "b32 b64",
    "add": "u32 u64 s32 f32 f64",
    "inc dec": "u32",
    "min max": WORDS,
}
ATOMICS = [
    *(
        form(
            "atom{.sem}{.scope}{.space}.op.t",
            "=d [a] b",
            special.atomic,
            sem=SEMANTICS,
            space=SPACES,
            op=op,
            t=types,
        )
        for op, types in ATOMIC_TYPES.items()
    ),
    form(
        "atom{.sem}{.scope}{.space}.op.noftz.t",
        "=d [a] b",
        special.atomic,
        sem=SEMANTICS,
        space=SPACES,
        op="add",
        t=SMALL,
    ),
    form(
        "atom{.sem}{.scope}{.space}.op.t",
        "=d [a] b c",
        special.atomic,
        sem=SEMANTICS,
        space=SPACES,
        op="cas",
        t=BITS,
    ),
    *(
        form(
            "red{.sem}{.scope}{.space}.op.t",
            "[a] b",
            special.reduce,
            sem="relaxed release",
            space=SPACES,
            op=op,
            t=types,
        )
        for op, types in ATOMIC_TYPES.items()
        if op != "exch"
    ),
    form(
        "red{.sem}{.scope}{.space}.op.noftz.t",
        "[a] b",
        special.reduce,
        sem="relaxed release",
        space=SPACES,
        op="add",
        t=SMALL,
    ),
]

ASYNCHRONOUS = [
    form("cp.async.cop.shared.global{.prefetch}", "[a] [b] #n", special.copy_async, cop="ca cg"),
    form("cp.async.cop.shared.global{.prefetch}", "[a] [b] #n c", special.copy_async, cop="ca cg"),
    form("cp.async.commit_group", "", "emulator::copy_commit()"),
    form("cp.async.wait_group", "#n", "emulator::copy_wait({n})"),
    form("cp.async.wait_all", "", "copy_wait_all()"),
    form(
        "st.async{.weak}.shared::cluster.mbarrier::complete_tx::bytes{.vec}.t",
        "[a] b [c]",
        special.store_async,
        vec="v2 v4",
        t="b32 b64 u32 u64 s32 s64 f32 f64",
    ),
    form("mbarrier.init{.shared}.b64", "[a]:b64 n:u32", "mbarrier_init({a}, {n})"),
    form("mbarrier.inval{.shared}.b64", "[a]:b64", "mbarrier_invalidate({a})"),
    form(
        "mbarrier.expect_tx{.relaxed}{.scope}{.shared}.b64",
        "[a]:b64 n:u32",
        "mbarrier_expect({a}, {n})",
    ),
    form(
        "mbarrier.arrive{.release}{.scope}{.shared}.b64",
        "=d:b64 [a]:b64",
        "mbarrier_arrive({a}, 0)",
    ),
    form(
        "mbarrier.arrive.expect_tx{.release}{.scope}{.shared}.b64",
        "=d:b64 [a]:b64 n:u32",
        "mbarrier_arrive({a}, {n})",
    ),
    form("mbarrier.arrive{.release}{.scope}.shared::cluster.b64", "_ [a]", special.remote_arrival),
    form(
        "mbarrier.operation.parity{.acquire}{.scope}{.shared}.b64",
        "=d:pred [a]:b64 b:u32",
        "mbarrier_{operation}({a}, {b})",
        operation="test_wait try_wait",
    ),
    form(
        "mbarrier.operation.parity{.acquire}{.scope}{.shared}.b64",
        "=d:pred [a]:b64 b:u32 c:u32",
        "mbarrier_{operation}({a}, {b})",
        operation="try_wait",
    ),
    form(
        "mbarrier.operation{.acquire}{.scope}{.shared}.b64",
        "=d:pred [a]:b64 b:b64",
        "mbarrier_{operation}({a}, b32({b}))",
        operation="test_wait try_wait",
    ),
]

SYNCHRONISATION = [
    form("bar{.cta}.sync", "a:u32", "barrier_sync({a})"),
    form("bar{.cta}.sync", "a:u32 b:u32", "barrier_sync({a}, {b})"),
    form("bar{.cta}.arrive", "a:u32 b:u32", "barrier_arrive({a}, {b})"),
    form("barrier{.cta}.sync{.aligned}", "a:u32", "barrier_sync({a})"),
    form("barrier{.cta}.sync{.aligned}", "a:u32 b:u32", "barrier_sync({a}, {b})"),
    form("barrier{.cta}.arrive{.aligned}", "a:u32 b:u32", "barrier_arrive({a}, {b})"),
    form("bar{.cta}.red.op.pred", "=d:pred a:u32 !c", "barrier_{op}({a}, {c})", op="and or"),
    form("bar{.cta}.red.popc.u32", "=d:u32 a:u32 !c", "barrier_count({a}, {c})"),
    form(
        "barrier{.cta}.red.op{.aligned}.pred",
        "=d:pred a:u32 !c",
        "barrier_{op}({a}, {c})",
        op="and or",
    ),
    form("barrier{.cta}.red.popc{.aligned}.u32", "=d:u32 a:u32 !c", "barrier_count({a}, {c})"),
    form("bar.warp.sync", "m:b32", "warp_sync({m})"),
    form("barrier.cluster.arrive{.sem}{.aligned}", "", "cluster_arrive()", sem="release relaxed"),
    form("barrier.cluster.wait{.acquire}{.aligned}", "", "cluster_wait()"),
    form("membar.level", "", "fence()", level="cta gl sys"),
    form("fence{.sem}.scope", "", "fence()", sem="sc acq_rel acquire release"),
    form("fence.mbarrier_init.release.cluster", "", "fence()"),
    form("fence.proxy.kind", "", "fence()", kind="alias async async.global async.shared::cta"),
]

WARP = [
    form("shfl.sync.mode.b32", "=d|p a b c m", special.shuffle, mode="up down bfly idx"),
    form("vote.sync.op.pred", "=d:pred !a m:b32", "vote_{op}({a}, {m})", op="all any uni"),
    form("vote.sync.ballot.b32", "=d:b32 !a m:b32", "ballot({a}, {m})"),
    form("match.any.sync.t", "=d:b32 a m:b32", "match_any({a}, {m})", t="b32 b64"),
    form("match.all.sync.t", "=d|p a m", special.match_all, t="b32 b64"),
    form("activemask.b32", "=d:b32", "active_mask()"),
    form("redux.sync.op.t", "=d a m:b32", "reduce_{op}({a}, {m})", op="add min max", t="u32 s32"),
    form("redux.sync.op.b32", "=d:b32 a:b32 m:b32", "reduce_{op}({a}, {m})", op="and or xor"),
    form("elect.sync", "=d|p m", special.elect),
    form(
        "mma.sync.aligned.shape.row.col.f32.t.t.f32",
        "=d a b c",
        special.matrix_multiply,
        shape="m16n8k8 m16n8k16",
        t=HALVES,
    ),
    form(
        "mma.sync.aligned.shape.row.col.f32.t.t.f32",
        "=d a b c",
        special.matrix_multiply,
        shape="m16n8k4 m16n8k8",
        t="tf32",
    ),
    form(
        "ldmatrix.sync.aligned.m8n8.count{.trans}{.shared}.b16",
        "=d [a]",
        special.load_matrix,
        count="x1 x2 x4",
    ),
]

CONTROL = [
    form("bra{.uni}", "label", special.branch),
    form("brx.idx{.uni}", "a table", special.branch_table),
    form("call{.uni}", "...", special.invoke),
    form("ret{.uni}", "", "return"),
    form("exit", "", special.leave),
    form("trap", "", "trap()"),
    form("nanosleep.u32", "a:u32", "emulator::yield(), ignore({a})"),
]

TABLE = Table(
    [
        *ARITHMETIC,
        *MOVEMENT,
        *ATOMICS,
        *ASYNCHRONOUS,
        *SYNCHRONISATION,
        *WARP,
        *CONTROL,
    ]
)
