"""Noise inside the steps: zoneout, dropout of inputs and of the recurrent products' operands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import cases
import rnnfast
from cases import Case
from noise_cases import (
    ALL,
    EARLY_STATE,
    INDEPENDENT,
    KINDS,
    OTHER_STATE,
    SIZES,
    assert_as_reference,
    final_of,
    made,
    masks_of,
    reserve_of,
)
from philox import philox
from rnnfast import functional
from rnnfast._engine.known import cell_named
from sequence_cases import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ALL)
def test_noise_matches_the_reference_with_the_same_masks(
    cell: str, kind: str, size: str, dtype: str
) -> None:
    assert_as_reference(made(cell, dtype=dtype, **SIZES[size]), **KINDS[kind])


@pytest.mark.parametrize("cell", ALL)
def test_zoneout_of_each_state(cell: str) -> None:
    case = made(cell, T=7, B=4, H=18)
    states = cell_named(cell).states
    assert_as_reference(case, zoneout=tuple(0.6 / (1 + k) for k in range(states)))
    assert_as_reference(case, zoneout=(0.0,) * (states - 1) + (0.5,))


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "janet"])
def test_noise_of_indices(cell: str, lengths: bool) -> None:
    for size in ({"T": 6, "B": 5}, {"T": 4, "B": 1}):
        case = made(cell, **size, I=11, H=17, L=2, indices=True, lengths=lengths)
        assert_as_reference(case, **KINDS["all"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ALL)
def test_noise_in_bfloat16(cell: str, kind: str) -> None:
    case = made(cell, T=5, B=6, I=5, H=19, precision="bfloat16")
    assert_as_reference(case, **KINDS[kind])


@pytest.mark.parametrize("cell", ["lstm", "mut3", EARLY_STATE])
def test_noise_beside_dropout_between_layers(cell: str) -> None:
    case = made(cell, T=5, B=4, H=9, L=3, lengths=True)
    options = {"seed": 5, **KINDS["all"]}
    core = reserve_of(case, dropout=0.3, **options)
    masks = masks_of(case, **options)
    outputs = [core.dropout_mask(layer) for layer in range(case.L - 1)]
    expected = cases.run_reference(case, masks=outputs, **masks)
    results = cases.run_engine(case, dropout=0.3, **options)
    plain = cases.plain_errors(case, masks=outputs, **masks)
    cases.assert_close(results, expected, plain, case)


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("cell", ALL)
def test_evaluation_takes_zoneouts_expectation(cell: str, lengths: bool) -> None:
    case = made(cell, T=6, B=5, H=20, L=2, D=2, dtype="float64", lengths=lengths)
    states = cell_named(cell).states
    zoneout = tuple(0.5 / (1 + k) for k in range(states))
    masks = {
        "zoneout_masks": [
            [np.full((case.T, case.B, case.H), 1 - p) for p in zoneout]
            for _ in range(case.L * case.D)
        ]
    }
    expected = cases.run_reference(case, **masks)
    names = ["y", *(f"state[{k}]" for k in range(states))]
    got = final_of(case, zoneout=zoneout, input_dropout=0.5, recurrent_dropout=0.5)
    plain = cases.plain_errors(case, **masks)
    cases.assert_close(
        dict(zip(names, got, strict=True)), {n: expected[n] for n in names}, plain, case
    )


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before"])
def test_streams_take_zoneouts_expectation(cell: str) -> None:
    layer: Any = rnnfast.Recurrent(cell, 4, 18, 2, zoneout=0.3, recurrent_dropout=0.2, seed=1)
    x = np.random.default_rng(2).standard_normal((5, 2, 4)).astype(np.float32)
    y, _ = layer.eval()(x)
    stream = layer.stream(batch=2)
    np.testing.assert_array_equal(np.stack([stream(step) for step in x]), y)
    layer.zoneout = 0.0
    assert not np.array_equal(layer(x)[0], y)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cell", ALL)
def test_zeros_are_no_noise(cell: str, training: bool) -> None:
    case = made(cell, T=4, B=3, H=17, L=2)
    zeros = {
        "zoneout": (0.0,) * cell_named(cell).states,
        "input_dropout": 0,
        "recurrent_dropout": 0.0,
    }
    if training:
        cases.assert_identical(cases.run_engine(case, **zeros), cases.run_engine(case))
    else:
        for a, b in zip(final_of(case, **zeros), final_of(case), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", ALL)
def test_zoneout_of_one_keeps_the_initial_state(cell: str) -> None:
    case = made(cell, T=5, B=3, H=17)
    d = cases.make_data(case)
    for y, *final in (final_of(case, zoneout=1.0), final_of(case, zoneout=1, training=True)):
        np.testing.assert_array_equal(y, np.broadcast_to(d.state[0], y.shape))
        for got, initial in zip(final, d.state, strict=True):
            np.testing.assert_array_equal(got, initial)
    results = cases.run_engine(case, zoneout=1.0)
    assert not any(results[name].any() for name in results if name.startswith(("dweight", "dx")))


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", INDEPENDENT])
def test_dropout_of_everything(cell: str) -> None:
    assert_as_reference(made(cell, T=5, B=3, H=17, L=2), input_dropout=1.0, recurrent_dropout=1.0)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("kind", ["zoneout", "all"])
@pytest.mark.parametrize("cell", ALL)
def test_threads_and_recomputation_leave_the_bits(cell: str, kind: str, lengths: bool) -> None:
    for size in ({"T": 700, "B": 3, "H": 18}, {"T": 30, "B": 70, "H": 70}):
        case = made(cell, **size, D=2, lengths=lengths)
        options = {"seed": 3, **KINDS[kind]}
        rnnfast.set_num_threads(1)
        kept = cases.run_engine(case, **options)
        for threads, recompute in ((2, False), (1, True), (3, 200)):
            rnnfast.set_num_threads(threads)
            cases.assert_identical(cases.run_engine(case, recompute=recompute, **options), kept)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_are_words_of_philox(dtype: str) -> None:
    """The counter is (unit / 4, sequence, step, 16 * (layer and direction) + kind)."""
    case = Case("lstm", T=3, B=4, I=6, H=35, L=2, D=2, dtype=dtype)
    seed, noise = 0x1234567890ABCDEF, {"input_dropout": 0.3, "recurrent_dropout": 0.6}
    masks = masks_of(case, seed, zoneout=(0.3, 0.8), **noise)

    def words(width: int, steps: int, last: int) -> np.ndarray:
        blocks = np.arange((width + 3) // 4)
        grid = np.meshgrid(np.arange(steps), np.arange(case.B), blocks, indexing="ij")
        step, sequence, block = (axis.astype(np.uint64) for axis in grid)
        # A row begins with element 2**34 * sequence, which is in block 2**32 * sequence.
        counter = np.stack([block, sequence, step, np.full_like(step, last)], -1)
        made = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
        return made.reshape(steps, case.B, -1)[..., :width]

    def kept(words: np.ndarray, p: float) -> np.ndarray:
        return words >= int(p * 2**32)

    for k in range(case.L * case.D):
        for s, p in enumerate((0.3, 0.8)):
            expected = kept(words(case.H, case.T, 16 * k + 1 + s), p)
            np.testing.assert_array_equal(masks["zoneout_masks"][k][s], expected)
        (expected,) = kept(words(case.H, 1, 16 * k + 15), 0.6) * np.array(1 / 0.4, dtype)
        np.testing.assert_array_equal(masks["recurrent_masks"][k], expected)
    for layer, width in enumerate((case.I, case.D * case.H)):
        (expected,) = kept(words(width, 1, 32 * layer + 14), 0.3) * np.array(1 / 0.7, dtype)
        np.testing.assert_array_equal(masks["input_masks"][layer], expected)


def all_masks(case: Case, seed: int, **noise: Any) -> list[np.ndarray]:
    """Return the masks with the axis of the sequences first."""
    masks = masks_of(case, seed, **noise)
    zoneout = [m.swapaxes(0, 1) for of_cell in masks["zoneout_masks"] for m in of_cell]
    return [*zoneout, *masks["input_masks"], *masks["recurrent_masks"]]


def test_masks_are_bernoulli_and_their_own() -> None:
    case = Case("lstm", T=30, B=40, I=64, H=64, L=2, D=2)
    p = 0.25
    noise = {"zoneout": p, "input_dropout": p, "recurrent_dropout": p}
    agreement = p**2 + (1 - p) ** 2  # expected of independent masks

    def assert_share(hits: np.ndarray, expected: float) -> None:
        deviation = np.sqrt(expected * (1 - expected) / hits.size)
        assert abs(hits.mean() - expected) < 5 * deviation

    zeros = [mask == 0 for seed in (1, 2) for mask in all_masks(case, seed, **noise)]
    for k, mask in enumerate(zeros):
        assert_share(mask, p)
        assert_share(mask[1:] == mask[:-1], agreement)
        assert_share(mask[..., 1:] == mask[..., :-1], agreement)
        if mask.ndim == 3:
            assert_share(mask[:, 1:] == mask[:, :-1], agreement)
        for other in zeros[:k]:
            units = min(mask.shape[-1], other.shape[-1])
            both = mask, other
            if mask.ndim != other.ndim:  # zoneout's mask of one step, the other's of all steps
                both = tuple(m if m.ndim == 2 else m[:, 1] for m in both)
            assert_share(both[0][..., :units] == both[1][..., :units], agreement)


def test_a_sequence_has_the_same_masks_in_any_batch() -> None:
    case = Case("gru", T=6, B=5, I=7, H=21, L=2, D=2)
    masks = all_masks(case, 9, **KINDS["all"])
    for other in (replace(case, lengths=True), replace(case, B=2), replace(case, B=1)):
        for mask, full in zip(all_masks(other, 9, **KINDS["all"]), masks, strict=True):
            np.testing.assert_array_equal(mask, full[: other.B])


def test_masks_tell_where_there_are_none() -> None:
    core = reserve_of(Case("lstm"), 1)
    for mask in (core.zoneout_mask(0, 1), core.input_mask(0), core.recurrent_mask(0)):
        assert (mask == 1).all()
    for function, arguments, message in (
        (core.zoneout_mask, (1, 0), "cell: expected 0 to 0, got 1"),
        (core.zoneout_mask, (0, 2), "state: expected 0 to 1, got 2"),
        (core.input_mask, (-1,), "layer: expected 0 to 0, got -1"),
        (core.recurrent_mask, (1,), "cell: expected 0 to 0, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", OTHER_STATE])
def test_what_zoneout_and_dropout_of_inputs_keep(cell: str) -> None:
    """Memory follows the formula of `functional.Reserve`."""
    case = made(cell, T=8, B=4, I=16, H=64)  # whole tiles and cache lines
    states, rows = cell_named(cell).states, case.T * case.B

    def nbytes(**noise: Any) -> int:
        return int(reserve_of(case, 1, **noise).nbytes)

    assert nbytes(zoneout=0.1) == nbytes() + 4 * rows * case.H * states
    assert nbytes(input_dropout=0.1) == nbytes() + 4 * rows * case.I
    assert nbytes(recurrent_dropout=0.1) == nbytes()


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"zoneout": 1.5}, ValueError, r"zoneout: expected a number in \[0, 1\], got 1.5"),
    ({"zoneout": "0.5"}, TypeError, "zoneout: expected a number, got str"),
    ({"zoneout": None}, TypeError, "zoneout: expected a number, got NoneType"),
    ({"zoneout": (0.1,)}, ValueError, "zoneout: expected a number, or a tuple of 2.* got 1 num"),
    ({"zoneout": ()}, ValueError, "zoneout: expected a number, or a tuple of 2.* got 0 numbers"),
    ({"zoneout": (0.1, -1)}, ValueError, r"zoneout\[1\]: expected a number in \[0, 1\], got -1"),
    ({"input_dropout": 2}, ValueError, r"input_dropout: expected a number in \[0, 1\], got 2"),
    ({"input_dropout": True}, TypeError, "input_dropout: expected a number, got bool"),
    ({"recurrent_dropout": -0.1}, ValueError, "recurrent_dropout: expected a number in"),
    ({"recurrent_dropout": [0.1]}, TypeError, "recurrent_dropout: expected a number, got list"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_a_wrong_probability_is_named(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    d = cases.make_data(Case("lstm"))
    with pytest.raises(error, match=message):
        functional.forward("lstm", d.x, cases.weights_of(d), **options)
    with pytest.raises(error, match=message):
        rnnfast.LSTM(4, 8, **options)
    layer = rnnfast.LSTM(4, 8)
    for name, value in options.items():
        setattr(layer, name, value)
    with pytest.raises(error, match=message):
        layer(d.x)


def test_layers_draw_anew_for_each_call_and_say_what_they_do() -> None:
    layer = rnnfast.LSTM(4, 8, zoneout=(0.1, 0.3), input_dropout=0.2, recurrent_dropout=0.4, seed=1)
    assert repr(layer) == (
        "LSTM(4, 8, zoneout=(0.1, 0.3), input_dropout=0.2, recurrent_dropout=0.4)"
    )
    x = np.ones((5, 2, 4), np.float32)
    first, second = layer.call(x), layer.call(x)
    assert not np.array_equal(first.y, second.y)
    again = rnnfast.LSTM(4, 8, zoneout=(0.1, 0.3), input_dropout=0.2, recurrent_dropout=0.4, seed=1)
    np.testing.assert_array_equal(again(x)[0], first.y)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0], layer(x)[0])
    y, _ = rnnfast.GRU(4, 8, recurrent_dropout=0.4, seed=1).eval()(x)
    np.testing.assert_array_equal(y, rnnfast.GRU(4, 8, seed=1).eval()(x)[0])


def test_named_layers_take_them() -> None:
    noise: dict[str, Any] = {"zoneout": 0.1, "input_dropout": 0.2, "recurrent_dropout": 0.3}
    for layer in (rnnfast.RNN, rnnfast.LSTM, rnnfast.PeepholeLSTM, rnnfast.GRU):
        made = layer(3, 5, **noise)
        assert {name: getattr(made, name) for name in noise} == noise
