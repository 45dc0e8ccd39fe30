"""PTX on the emulator: memory, control, and threads that meet, against Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import ptx_meetings
import ptx_programs
import pytest
from build import SCHEDULES
from ptx_harness import Module
from ptx_numbers import decode, encode, rounded
from ptx_programs import ATOMICS, LOADS, SMALL, size
from ptx_threads import PROGRAMS

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(PROGRAMS, "threads.ptx")


@pytest.fixture(params=SCHEDULES, ids=str)
def schedule(request: pytest.FixtureRequest) -> dict[str, int]:
    policy, seed = request.param
    return {"policy": policy, "seed": seed}


def noise(count: int, seed: int = 0) -> Array:
    """Return random bytes, aligned for every vector."""
    raw = np.empty(count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    raw[start : start + count] = np.random.default_rng(seed).integers(0, 256, count, np.uint8)
    return raw[start : start + count]


def blank(count: int) -> Array:
    """Return bytes that no kernel should leave in place."""
    out = noise(count)
    out[:] = 0xA5
    return out


def test_loads_and_stores(module: Module) -> None:
    source, target = noise(16 * len(LOADS)), blank(16 * len(LOADS))
    module.run("loads", source, target, block=1)
    for k, type_ in enumerate(LOADS):
        end = 16 * k + size(type_)
        assert (target[16 * k : end] == source[16 * k : end]).all(), type_
        assert (target[end : 16 * k + 16] == 0xA5).all(), type_


def test_vectors(module: Module) -> None:
    kinds = [(t, n) for t in LOADS for n in (2, 4) if size(t) * n <= 16] + [("b32", 8)]
    source, target = noise(32 * len(kinds)), blank(32 * len(kinds))
    module.run("vectors", source, target, block=1)
    for k, (type_, count) in enumerate(kinds):
        end = 32 * k + size(type_) * count
        assert (target[32 * k : end] == source[32 * k : end]).all(), (type_, count)
        assert (target[end : 32 * k + 32] == 0xA5).all(), (type_, count)


def test_orders(module: Module) -> None:
    count = 8 * len(ptx_programs.ORDERED) * len(LOADS)
    source, target = noise(count), blank(count)
    module.run("orders", source, target, block=1)
    for at in range(0, count, 8):
        end = at + size(LOADS[at // 8 % len(LOADS)])
        assert (target[at:end] == source[at:end]).all(), at
        assert (target[end : at + 8] == 0xA5).all(), at


def test_hints(module: Module) -> None:
    source, target = noise(256), blank(256)
    module.run("hints", source, target, block=1)
    single = 4 * ptx_programs.hints().count(".b32 [%p1+")
    vectors = single + 15 & ~15
    assert (target[:single] == source[:single]).all()
    assert (target[vectors : vectors + 32] == source[vectors : vectors + 32]).all()
    assert (target[vectors + 32 :] == 0xA5).all()


def test_moves(module: Module) -> None:
    target = blank(136)
    module.run("moves", target, block=1)
    words, floats = target.view(np.uint32), target.view(np.float32)
    doubles, halves = target.view(np.float64), target.view(np.uint16)
    first = words[1]  # the number of launches
    assert floats[0] == -3.0
    assert floats[2] == 2.0
    assert words[3] == first >= 8
    assert list(words[4:7]) == [5, 77, 77]
    assert list(words[7:10]) == [1, 77, 5]
    assert list(floats[10:12]) == [2.0, 1.0]
    assert words[12] == 0xFFFFFFFF
    assert words[13] == 0x00050005
    assert words[14] == first
    assert list(halves[30:32]) == [first, 0]
    assert words[16] == 0x00050005
    assert list(halves[34:36]) == [0xFFFF, 0xFFFE]
    assert list(words[18:20]) == [0xFFFFFFFB, 0o17]
    assert list(target.view(np.uint64)[10:12]) == [2**64 - 9, 0xFFFFFFFF00000001]
    assert doubles[12] == 1.5
    assert floats[26] == 1.5
    assert list(words[27:29]) == [32, 1]
    assert list(words[29:34]) == [3, 0, 0, 1, 0]


def test_control(module: Module) -> None:
    target = blank(4 * 32)
    module.run("control", target)
    # B gives 20; C runs its loop and then counts from 0 to 30
    expected = np.array([{0: 11, 1: 21, 2: 31, 3: 21}[i & 3] for i in range(32)])
    expected[6] = 99
    assert (target.view(np.uint32) == expected).all()


def test_special_registers(module: Module) -> None:
    grid, block = 4, 64
    target = blank(grid * block * 128)
    module.run("special", target, grid=grid, block=block, cluster=2)
    words = target.view(np.uint32).reshape(-1, 32)
    for index, row in enumerate(words):
        at, thread = divmod(index, block)
        lane = thread % 32
        equal = 1 << lane
        expected = [thread, 0, 0, block, 1, 1, at, 0, 0, grid, 1, 1, lane, thread // 32]
        expected += [equal, equal - 1, 2 * equal - 1, 2**32 - 2 * equal, 2**32 - equal]
        expected += [at % 2, 2, at % 2, 2, at // 2, 2]
        assert list(row[: len(expected)]) == expected, index


def changed(op: str, type_: str, old: Any, b: Any) -> Any:
    """Return what an atomic operation leaves in memory."""
    match op:
        case "and":
            return old & b
        case "or":
            return old | b
        case "xor":
            return old ^ b
        case "exch":
            return b
        case "add":
            return rounded(old + b, type_) if isinstance(old, float) else old + b
        case "inc":
            return 0 if old >= b else old + 1
        case "dec":
            return b if old == 0 or old > b else old - 1
        case "min":
            return min(old, b)
    return max(old, b)


def test_atomics(module: Module) -> None:
    kinds = [(op, t) for op, types in ATOMICS.items() for t in types.split()]
    kinds += [("add", t) for t in SMALL]
    kinds += [("cas", t) for t in ["b16", "b32", "b64"]]
    for seed in range(5):
        generator = np.random.default_rng(seed)
        memory, operands = noise(8 * len(kinds), seed), noise(8 * len(kinds), seed + 100)
        for k, (op, type_) in enumerate(kinds):
            if "f" in type_:
                part = type_.removesuffix("x2")
                for array in (memory, operands):
                    word = encode(float(generator.normal()), part)
                    word |= word << 16 if type_.endswith("x2") else 0
                    array[8 * k : 8 * k + 8] = np.frombuffer(word.to_bytes(8, "little"), np.uint8)
            if op == "cas" and seed % 2:
                operands[8 * k : 8 * k + 8] = memory[8 * k : 8 * k + 8]
        before, old, reduced = memory.copy(), blank(memory.size), memory.copy()
        module.run("atomics", memory, operands, old, reduced, block=1)
        for k, (op, type_) in enumerate(kinds):
            bits = 32 if type_.endswith("x2") else int(type_.lstrip("bufs"))
            cut = slice(8 * k, 8 * k + bits // 8)
            was, b, now = (
                int.from_bytes(array[cut].tobytes(), "little")
                for array in (before, operands, memory)
            )
            assert old[cut].tobytes() == before[cut].tobytes(), (op, type_)
            if op == "cas":
                assert now == (9 if was == b else was), (op, type_)
                continue
            if type_.endswith("x2"):
                pairs = zip(decode(was, type_), decode(b, type_), strict=True)
                value: Any = tuple(rounded(x + y, type_[:-2]) for x, y in pairs)
            else:
                value = changed(op, type_, decode(was, type_), decode(b, type_))
            assert now == encode(value, type_), (op, type_)
            if op != "exch":
                assert reduced[cut].tobytes() == memory[cut].tobytes(), ("red", op, type_)


def test_shared_atomics(module: Module, schedule: dict[str, int]) -> None:
    sums = blank(16)
    module.run("shared_atomics", sums, block=96, **schedule)
    assert list(sums.view(np.uint32)) == [3 * 96, 192, 96, 95]


def test_barriers(module: Module, schedule: dict[str, int]) -> None:
    target, votes = blank(4 * 128), blank(16)
    module.run("barriers", target, votes, block=128, **schedule)
    mirrored = [t & 64 | 63 - (t & 63) for t in range(128)]
    words = target.view(np.uint32)
    assert list(words[:64]) == mirrored[:64]
    assert (words[64:] == 1000).all()
    assert list(votes.view(np.uint32)) == [80, 88, 1 + 4, 0]


def shuffled(mode: str, by: int, bounds: int, lane: int) -> tuple[int, bool]:
    """Return the lane to read and whether it is in range, from the manual's pseudocode."""
    segment, clamp = bounds >> 8 & 31, bounds & 31
    last = (lane & segment) | (clamp & ~segment)
    first = lane & segment
    source, inside = {
        "up": (lane - by, lane - by >= last),
        "down": (lane + by, lane + by <= last),
        "bfly": (lane ^ by, lane ^ by <= last),
        "idx": (first | (by & ~segment), (first | (by & ~segment)) <= last),
    }[mode]
    return (source, inside) if inside else (lane, inside)


def test_warps(module: Module, schedule: dict[str, int]) -> None:
    values = np.random.default_rng(3).integers(0, 2**32, 32, np.uint32)
    target = blank(128 * 64)
    module.run("warps", values, target, **schedule)
    rows = iter(target.view(np.uint32).reshape(-1, 32))
    for mode, by, bounds in [
        ("up", 3, 0), ("down", 5, 31), ("bfly", 9, 31), ("idx", 7, 31),
        ("up", 1, 0x1800), ("down", 2, 0x181F), ("bfly", 4, 0x181F), ("idx", 5, 0x181F),
        ("idx", 3, 0x1804),
    ]:  # fmt: skip
        expected = [shuffled(mode, by, bounds, lane) for lane in range(32)]
        assert list(next(rows)) == [values[source] for source, _ in expected], (mode, bounds)
        assert list(next(rows)) == [valid for _, valid in expected], (mode, bounds)
    assert (next(rows) == values).all()
    signed = values.view(np.int32)
    for expected_vote in (False, True, True, True, False, True):  # of some lanes, and of all
        assert (next(rows) == expected_vote).all()
    negative = sum(1 << i for i in range(32) if signed[i] < 0)
    assert (next(rows) == negative).all()
    low = values & 3
    same = [sum(1 << j for j in range(32) if low[j] == low[i]) for i in range(32)]
    assert list(next(rows)) == same
    assert list(next(rows)) == same
    for expected_word in (0, 0, 2**32 - 1, 1, 0):
        assert (next(rows) == expected_word).all()
    assert list(next(rows)) == [1] + 31 * [0]
    for reduce in (np.add, np.minimum, np.maximum):
        assert (next(rows) == reduce.reduce(values, dtype=np.uint32)).all()
        assert (next(rows).view(np.int32) == reduce.reduce(signed, dtype=np.int32)).all()
    for operation in (np.bitwise_and, np.bitwise_or, np.bitwise_xor):
        assert (next(rows) == operation.reduce(values)).all()
    assert list(next(rows)) == [1 << i for i in range(32)]
    assert (next(rows) == 0xA5A5A5A5).all()


@pytest.mark.parametrize(("type_", "depth"), ptx_meetings.PRODUCTS)
def test_products(module: Module, schedule: dict[str, int], type_: str, depth: int) -> None:
    generator = np.random.default_rng(depth)

    def operand(*shape: int) -> tuple[Array, Array]:
        words = np.array(
            [
                encode(float(v), "f32" if type_ == "tf32" else type_)
                for v in generator.normal(size=shape).flat
            ],
            np.uint32 if type_ == "tf32" else np.uint16,
        )
        kept = words & 0xFFFFE000 if type_ == "tf32" else words  # the hardware drops the other bits
        values = [decode(int(word), "f32" if type_ == "tf32" else type_) for word in kept]
        return words, np.array(values).reshape(shape)

    (a_words, a), (b_words, b) = operand(16, depth), operand(8, depth)
    c = generator.normal(size=(16, 8)).astype(np.float32)
    d = np.full((16, 8), np.nan, np.float32)
    module.run(f"product_{type_}_{depth}", a_words, b_words, c, d, **schedule)
    bound = (depth + 1) * 2.0**-24 * (np.abs(a) @ np.abs(b.T) + np.abs(c))
    assert (np.abs(d - (a @ b.T + c)) <= bound).all()


def test_matrices(module: Module, schedule: dict[str, int]) -> None:
    tiles = noise(512).view(np.uint16).reshape(4, 8, 8)
    target = blank(128 * 14)
    module.run("matrices", tiles, target, **schedule)
    rows = iter(target.view(np.uint16).reshape(14, 8, 4, 2))
    for count in (1, 2, 4):
        for tile in tiles[:count]:
            assert (next(rows) == tile.reshape(8, 4, 2)).all()
        for tile in tiles[:count]:
            assert (next(rows) == tile.T.reshape(8, 4, 2)).all()


def test_copies(module: Module, schedule: dict[str, int]) -> None:
    source, target = noise(64 * 32), blank(64 * 32)
    module.run("copies", source, target, **schedule)
    expected = source.reshape(32, 64).copy()
    expected[:, 4:8] = 0xFF  # never written
    expected[:, 40:64] = 0
    assert (target.reshape(32, 64) == expected).all()


def test_cluster(module: Module, schedule: dict[str, int]) -> None:
    target = blank(2 * 1024)
    module.run("cluster", target, grid=2, block=32, cluster=2, **schedule)
    for rank in (0, 1):
        words = target.view(np.uint32)[256 * rank :]
        sent = [101 - rank + 10 * k for k in range(4)]
        for k, (type_, count) in enumerate(ptx_meetings.STORES):
            have = size(type_) * count // 4
            assert list(words[4 * k : 4 * k + 4]) == sent[:have] + (4 - have) * [0xFFFFFFFF], k
        assert words[250] == 1 - rank
        assert words[251] == 42


def test_phases(module: Module, schedule: dict[str, int]) -> None:
    target = blank(8)
    module.run("phases", target, grid=2, block=32, cluster=2, **schedule)
    assert list(target.view(np.uint32)) == [1, 1]
