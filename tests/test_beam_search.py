"""Beam search: against all sequences and plain code; over streams and decoders of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnfast
from decoding_cases import (
    Found,
    exhaustive,
    first,
    log_softmax,
    logits_of,
    plain_beam_search,
    step_of,
    table,
)
from rnnfast.decoding import Hypothesis, beam_search
from tolerances import LOG_PROBABILITY_FLOAT64


def assert_same(found: list[Hypothesis], expected: list[Found]) -> None:
    assert [tuple(h.tokens) for h in found] == [tokens for _, _, tokens in expected]
    values = [(h.score, h.log_probability) for h in found]
    np.testing.assert_allclose(
        values, [one[:2] for one in expected], rtol=0, atol=LOG_PROBABILITY_FLOAT64
    )


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("stop", [(), (2,), (1, 2), (0, 0)])
def test_beams_for_all_sequences_find_the_best(stop: tuple[int, ...], penalty: float) -> None:
    V, length = 3, 5
    beams = V ** (length - 1)
    for seed in range(3):
        model = table(V, seed)
        before, start = np.array([0, 1, 2, 1]), np.array([1, 1, 0, 2])
        found = beam_search(
            step_of(model),
            start,
            first(before),
            beams=beams,
            length=length,
            stop=stop,
            length_penalty=penalty,
        )
        for one, *tokens in zip(found, before, start, strict=True):
            best = exhaustive(logits_of(model, *tokens), V, length, stop, penalty)
            assert_same(one, best[:beams])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    vocabulary=st.integers(1, 6),
    scale=st.sampled_from([0.3, 2.0, 6.0]),
    beams=st.integers(1, 7),
    length=st.integers(1, 8),
    stop=st.lists(st.integers(0, 5), max_size=2),
    penalty=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    batch=st.integers(1, 4),
)
def test_early_ends_change_no_result(
    seed: int,
    vocabulary: int,
    scale: float,
    beams: int,
    length: int,
    stop: list[int],
    penalty: float,
    batch: int,
) -> None:
    model = table(vocabulary, seed, scale)
    before, start = np.random.default_rng(seed).integers(0, vocabulary, (2, batch))
    options: dict[str, Any] = {"beams": beams, "length": length, "stop": stop}
    found = beam_search(step_of(model), start, first(before), length_penalty=penalty, **options)
    for one, *tokens in zip(found, before, start, strict=True):
        logits = logits_of(model, *tokens)
        every = plain_beam_search(logits, beams, length, tuple(stop), penalty)
        assert_same(one, every[:beams])


def test_a_search_ends_when_no_beam_can_win() -> None:
    steps = []

    def step(tokens: Any, state: Any) -> tuple[Any, Any]:
        steps.append(len(tokens))
        return np.log(np.tile([0.5, 0.3, 0.2], (len(tokens), 1))), state

    def run(**options: Any) -> list[list[Hypothesis]]:
        steps.clear()
        return beam_search(step, [1, 1], length=100, stop=0, **options)

    ((best,), (same,)) = run(beams=1)
    assert best.tokens.tolist() == same.tokens.tolist() == [0]
    assert steps == [2]
    # The end after one token scores log 0.5 / (6/6) = -0.69. T tokens of probability 0.3 could
    # still reach T log 0.3 / (105/6), which is -0.688 for T = 10.
    ((best,), _) = run(beams=1, length_penalty=1.0)
    assert best.tokens.tolist() == [0]
    assert steps == [2] * 11


def test_one_beam_is_greedy_decoding() -> None:
    model = table(7, 3, length=20)
    start, before = np.arange(7), np.zeros(7, np.int64)
    found = beam_search(step_of(model), start, first(before), beams=1, length=20, stop=4)
    greedy = rnnfast.decoding.sample(
        step_of(model), start, first(before), temperature=0, length=20, stop=4
    )
    assert [one[0].tokens.tolist() for one in found] == [tokens.tolist() for tokens in greedy]
    assert len({len(tokens) for tokens in greedy}) > 1


def test_excluded_tokens_are_in_no_hypothesis() -> None:
    model = table(4, 0)
    model[..., 3] = -np.inf
    ((*found,),) = beam_search(step_of(model), [0], first([0]), beams=50, length=3)
    assert len(found) == 27
    assert max(h.tokens.max() for h in found) == 2


def language_model() -> rnnfast.Sequential:
    options: Any = {"dtype": "float64", "seed": 5}
    head = rnnfast.Linear(6, 4, **options)
    head.weight.value[...] *= 20  # far from uniform
    model = rnnfast.Sequential(
        rnnfast.Embedding(4, 5, **options), rnnfast.LSTM(5, 6, 2, **options), head
    )
    return model.eval()


def test_streams_are_searched_and_stay_as_they_are() -> None:
    model, prompts = language_model(), np.array([[1, 2, 0], [3, 3, 1]])
    stream = model.stream(2)
    for tokens in prompts.T[:-1]:
        stream(tokens)
    before = stream.take().values
    found = beam_search(stream, prompts[:, -1], beams=64, length=4, stop=[2], length_penalty=1.0)
    np.testing.assert_array_equal(stream.take().values, before)
    for one, prompt in zip(found, prompts, strict=True):

        def logits(written: tuple[int, ...], prompt: Any = prompt) -> Any:
            return model(np.array([*prompt, *written])[:, None])[-1, 0]

        best = exhaustive(logits, 4, 4, (2,), 1.0)
        assert_same(one[:5], best[:5])


def test_an_input_has_the_same_bits_alone_and_in_any_batch() -> None:
    model = rnnfast.Sequential(
        rnnfast.Embedding(13, 5, seed=0), rnnfast.GRU(5, 9, seed=1), rnnfast.Linear(9, 13, seed=2)
    ).eval()
    options: Any = {"beams": 3, "length": 20, "stop": 4, "length_penalty": 1.0}
    together = beam_search(model.stream(5), np.arange(5), **options)
    for i, one in enumerate(together):
        (alone,) = beam_search(model.stream(), [i], **options)
        assert [(*h.tokens, *h[1:]) for h in alone] == [(*h.tokens, *h[1:]) for h in one]


def test_decoders_of_pytorch_with_attention_are_searched() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    V, E, H, L, length = 4, 3, 6, 2, 3
    embedding, lstm = torch.nn.Embedding(V, E), torch.nn.LSTM(E, H, L)
    head = torch.nn.Linear(2 * H, V)
    head.weight.data *= 15

    def attend(h: Any, memory: Any) -> Any:
        weights = torch.softmax((memory @ h[:, :, None])[..., 0], dim=1)  # (N, T)
        return (weights[:, None] @ memory)[:, 0]

    shapes = []

    def step(tokens: Any, state: Any) -> tuple[Any, Any]:
        memory, recurrent, bias = state["memory"], state["recurrent"], state["bias"]
        y, recurrent = lstm(embedding(torch.from_numpy(tokens))[None], recurrent)
        shapes.append((len(memory), *recurrent[0].shape))
        logits = head(torch.cat([y[0], attend(y[0], memory)], dim=1)) + bias
        return logits, {"memory": memory, "recurrent": recurrent, "bias": bias}

    state = {
        "memory": torch.randn(3, 5, H),
        "recurrent": (torch.zeros(L, 3, H), torch.randn(L, 3, H)),
        "bias": torch.randn(V),
    }
    axes: Any = {"memory": 0, "recurrent": 1, "bias": None}
    start = np.array([0, 1, 2])
    options: Any = {"beams": 16, "length": length, "stop": 3, "length_penalty": 0.6}
    found = beam_search(step, start, state, axes=axes, **options)
    assert shapes[:2] == [(3, L, 3, H), (9, L, 9, H)]  # three beams of an input are open
    for i, one in enumerate(found):

        def logits(written: tuple[int, ...], i: int = i) -> Any:
            own = {
                "memory": state["memory"][i : i + 1],
                "recurrent": tuple(s[:, i : i + 1] for s in state["recurrent"]),
                "bias": state["bias"],
            }
            for token in (start[i], *written):
                result, own = step(np.array([token]), own)
            return result[0].detach().double().numpy()

        best = exhaustive(logits, V, length, (3,), 0.6)
        assert tuple(one[0].tokens) == best[0][2]
        # Steps of several rows and of one differ by float32 rounding.
        assert one[0].score == pytest.approx(best[0][0], abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"beams": 0}, ValueError, "beams: expected at least 1, got 0"),
        ({"length": 0}, ValueError, "length: expected at least 1, got 0"),
        ({"length": None}, TypeError, "length: expected an integer, got NoneType"),
        ({"length_penalty": -1}, ValueError, "length_penalty: expected"),
        ({"length_penalty": np.inf}, ValueError, "length_penalty: expected"),
        ({"stop": "a"}, TypeError, "stop: expected an array of integers"),
        ({"start": [[0]]}, ValueError, r"start: expected shape \(batch,\), got \(1, 1\)"),
        ({"step": 3}, TypeError, "step: expected a function or a stream, got int"),
        ({"axes": 1}, ValueError, r"state: expected 2 sequences on axis 1, got shape \(2,\)"),
        ({"axes": "0"}, TypeError, "axes: expected an integer, got str"),
    ],
)
def test_beam_search_refuses(changes: dict, error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"step": step_of(table(3, 0)), "start": [0, 1]}
    arguments |= {"state": np.array([0, 0]), "beams": 2, "length": 3}
    with pytest.raises(error, match=message):
        beam_search(**(arguments | changes))


def test_log_probabilities_are_those_of_the_tokens() -> None:
    model = table(20, 1, length=30)
    ((*found,),) = beam_search(step_of(model), [3], first([4]), beams=4, length=30)
    for one in found:
        path = [4, 3, *one.tokens]
        rows = log_softmax(model[np.arange(30), path[:-2], path[1:-1]])
        expected = rows[np.arange(30), one.tokens].sum()
        assert one.log_probability == pytest.approx(expected, abs=LOG_PROBABILITY_FLOAT64)
