"""`rnnfast.inspect` finds a unit that was built to know something, and refuses what is wrong."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import rnnfast
from planted_unit import PLANTED, model_with_a_quote_unit, text_with_quotes
from rnnfast.inspection import Inspection
from rnnfast.training import ByteVocabulary, CharLM, CharLMConfig, TextError, Vocabulary

TEXT = text_with_quotes(4000)


@pytest.fixture(autouse=True)
def _one_thread(threads: None) -> None:  # noqa: ARG001
    rnnfast.set_num_threads(1)


@pytest.fixture(scope="module")
def planted() -> CharLM:
    return model_with_a_quote_unit()


@pytest.fixture(scope="module")
def found(planted: CharLM) -> Inspection:
    names = ["inside quotes", "position in word", "position in line"]
    return rnnfast.inspect(planted, TEXT, names, language="prose")


def small(cell: str = "lstm", **options: Any) -> CharLM:
    return CharLM(Vocabulary(TEXT), CharLMConfig(cell, 5, **options), seed=0)


def test_a_planted_unit_is_found_among_512(found: Inspection) -> None:
    quotes = found.concepts["inside quotes"]
    assert list(quotes.ranking[:1]) == [PLANTED]
    assert quotes.score[PLANTED] == 1
    assert quotes.score[quotes.ranking[1]] < 0.9
    assert (quotes.sign[PLANTED], quotes.p_value[PLANTED]) == (1, 1 / 200)
    says_yes = found.activations[:, PLANTED] > quotes.threshold[PLANTED]
    assert (says_yes == quotes.values).all()
    assert quotes.probe is not None
    assert quotes.probe.units[0] == (PLANTED,)
    assert quotes.probe.needed == 0
    assert found.concept_of(PLANTED) == "inside quotes"
    assert found.units[PLANTED] == "l0[300]"
    assert list(found.concepts) == ["inside quotes", "position in word", "position in line"]


def test_a_unit_that_says_the_opposite_is_found_as_well(planted: CharLM) -> None:
    turned = CharLM(planted.vocabulary, planted.config, seed=0)
    turned.load_state_dict(planted.state_dict())
    turned.recurrent.bias_ih_l0[2 * 512 + PLANTED] = -5
    quotes = rnnfast.inspect(turned, TEXT, ["inside quotes"], probe=False).concepts["inside quotes"]
    assert quotes.ranking[0] == PLANTED
    assert (quotes.score[PLANTED], quotes.sign[PLANTED]) == (1, -1)


def test_the_model_is_shown_what_the_units_are_connected_to(
    found: Inspection, planted: CharLM
) -> None:
    quote = found.vocabulary.index('"')
    gates = {name: weights[PLANTED, quote] for name, weights in found.input_weights.items()}
    assert gates == {"i": 20, "f": -20, "g": 0, "o": 0}
    assert found.output_weights.shape == (512, len(found.vocabulary))
    np.testing.assert_array_equal(found.output_weights, planted.head.weight.value.T)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("embedding_size", [0, 3])
def test_activations_are_the_states_of_all_layers(cell: str, embedding_size: int) -> None:
    model = small(cell, num_layers=2, embedding_size=embedding_size)
    found = rnnfast.inspect(model, TEXT[:600], ["position in word"], probe=False)
    assert found.units == tuple(f"l{layer}[{unit}]" for layer in (0, 1) for unit in range(5))
    assert found.activations.dtype == np.float32
    ids = model.vocabulary.encode(TEXT)
    for n in (0, 1, 77, 599):
        _, state = model.eval()(ids[: n + 1, None])
        values = np.tanh(state[1]) if isinstance(state, tuple) else state
        np.testing.assert_array_equal(found.activations[n], values.reshape(-1))
    for weights in found.input_weights.values():
        assert np.isfinite(weights[:5]).all()
        assert np.isnan(weights[5:]).all()
    assert np.isnan(found.output_weights[:5]).all()
    first = next(iter(found.input_weights.values()))
    reads = np.eye(len(found.vocabulary)) if not embedding_size else model.embedding.weight.value
    np.testing.assert_allclose(
        first[:5], model.recurrent.weight_ih_l0.value[:5] @ reads.T, atol=1e-6
    )


def test_gates_are_named_after_the_values_of_the_cell() -> None:
    for cell, names in (("gru", ["r", "z", "n"]), ("rnn_tanh", ["gate 0"])):
        found = rnnfast.inspect(small(cell), TEXT[:600], ["position in word"], probe=False)
        assert list(found.input_weights) == names


def test_other_values_of_the_units_can_be_looked_at() -> None:
    model = small()
    ids = model.vocabulary.encode(TEXT[:600])
    traced = rnnfast.trace(model, ids[:, None])["recurrent.l0"]
    for value in ("h", "c", "i"):
        found = rnnfast.inspect(model, TEXT[:600], ["position in word"], value=value, probe=False)
        np.testing.assert_array_equal(found.activations, traced[value][:, 0])


def test_a_model_of_bytes_is_read_at_the_last_byte_of_each_character() -> None:
    model = CharLM(ByteVocabulary(), CharLMConfig("gru", 4), seed=0)
    text = "é a € " * 60
    found = rnnfast.inspect(model, text, ["position in word"], probe=False)
    assert found.activations.shape == (len(text), 4)
    _, state = model.eval()(model.vocabulary.encode("é a €")[:, None])
    np.testing.assert_array_equal(found.activations[4], state.reshape(-1))


def test_several_texts_are_annotated_one_by_one() -> None:
    model = small()
    halves = ['a "b ' * 60 + '"c', "d " * 150]
    found = rnnfast.inspect(model, halves, ["inside quotes"], held_out=0.75, probe=False)
    values = found.concepts["inside quotes"].values
    assert found.text == "".join(halves)
    assert values[len(halves[0]) - 1]
    assert not values[len(halves[0]) :].any()


def test_annotations_may_be_functions_and_arrays() -> None:
    def letters_so_far(text: str) -> list[int]:
        return list(np.cumsum([character == "a" for character in text]))

    model = small()
    found = rnnfast.inspect(
        model, TEXT, [letters_so_far, "position in word"], language="prose", probe=False
    )
    assert list(found.concepts) == ["position in word", "letters so far"]
    assert found.concepts["letters so far"].kind == "count"
    given = {
        "vowel": lambda text: np.isin(list(text), list("ae")),
        "half": np.arange(4000) % 2 == 0,
    }
    found = rnnfast.inspect(model, TEXT, given, probe=False)
    assert [concept.kind for concept in found.concepts.values()] == ["yes/no", "yes/no"]


def test_concepts_of_a_language_that_do_not_occur_are_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="left out, as they do not vary.*'in a URL'"):
        found = rnnfast.inspect(small(), TEXT, language="prose", probe=False)
    assert "inside quotes" in found.concepts
    assert "in a URL" not in found.concepts
    with pytest.warns(UserWarning, match="left out"):
        same = rnnfast.inspect(small(), TEXT, "prose", probe=False)
    assert list(same.concepts) == list(found.concepts)


def test_nothing_is_learned_from_the_held_out_part() -> None:
    model, other = small(), TEXT[:2000] + text_with_quotes(2000, seed=5)
    names = ["inside quotes", "position in line"]
    one, two = (rnnfast.inspect(model, text, names) for text in (TEXT, other))
    for name in names:
        a, b = one.concepts[name], two.concepts[name]
        np.testing.assert_array_equal(a.threshold, b.threshold)
        np.testing.assert_array_equal(a.sign, b.sign)
        assert a.probe is not None
        assert b.probe is not None
        assert a.probe.units == b.probe.units
        assert (a.score != b.score).any()


def test_inspecting_leaves_the_model_as_it_was() -> None:
    model = small(dropout=0.5, num_layers=2).train()
    before = model.state_dict()
    one, two = (
        rnnfast.inspect(model, TEXT[:600], ["position in word"], probe=False) for _ in range(2)
    )
    assert model.training
    np.testing.assert_array_equal(one.activations, two.activations)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": 3}, TypeError, "model: expected CharLM, got int"),
        ({"text": 3}, TypeError, "text: expected str or a list of str, got int"),
        ({"text": b"ab" * 200}, TypeError, "text: expected str or a list of str, got bytes"),
        ({"text": [TEXT, 3]}, TypeError, "text[1]: expected str, got int"),
        ({"text": "ab"}, TextError, "text: expected at least 100 characters in each part, got 1"),
        (
            {"text": TEXT + "€", "annotations": ["inside quotes"]},
            TextError,
            "text: character '€'",
        ),
        (
            {"value": "cell", "annotations": ["inside quotes"]},
            ValueError,
            "value: expected one of h, c, ",
        ),
        ({"held_out": 1.5}, ValueError, "held_out: expected a number in [0, 1], got 1.5"),
        ({"probe": 1}, TypeError, "probe: expected True or False, got 1"),
        ({"text": [TEXT, "a€"]}, TextError, "text[1]: character '€' (U+20AC) at position 1 ("),
        (
            {"annotations": "inside quotes"},
            ValueError,
            "annotations: expected a list of names, or a language (python, c, latex, prose or",
        ),
        (
            {"annotations": "python", "language": "c"},
            ValueError,
            "language: expected None, as annotations names a language, 'python', got 'c'",
        ),
        (
            {"annotations": {1: np.ones(4000)}},
            TypeError,
            "annotations: each name: expected str, got int",
        ),
        ({"annotations": ["inside quote"]}, ValueError, "annotations: expected one of "),
        (
            {"annotations": [3]},
            TypeError,
            "annotations: expected names and functions, or a dict, got",
        ),
        ({"annotations": 3}, TypeError, "annotations: expected names and functions"),
        ({"annotations": ["in a URL"]}, ValueError, "'in a URL' is the same everywhere in text["),
        (
            {"annotations": [lambda text: len(text), lambda text: text]},
            ValueError,
            "annotations: expected different names; a dict names functions",
        ),
        ({"annotations": {}}, ValueError, "annotations: expected at least one"),
        ({"annotations": []}, ValueError, "annotations: expected at least one"),
        (
            {"annotations": {"a": np.ones(3)}},
            ValueError,
            "annotations['a']: expected shape (characters of text,) = (4000,), got (3,)",
        ),
        (
            {"annotations": {"a": np.full(4000, np.nan)}},
            ValueError,
            "annotations['a']: expected finite numbers",
        ),
        (
            {"annotations": {"a": list(TEXT)}},
            TypeError,
            "annotations['a']: expected bools or real numbers, got dtype <U1",
        ),
        ({"language": "klingon"}, ValueError, "language: expected python, c, latex, prose"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"model": small(), "text": TEXT, "annotations": None, "probe": False} | arguments
    with pytest.raises(error, match=re.escape(message)):
        rnnfast.inspect(given.pop("model"), given.pop("text"), given.pop("annotations"), **given)


def test_a_missing_package_is_said_before_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    monkeypatch.setattr("rnnfast.inspection.finder.score", None)
    with pytest.raises(ImportError, match="probe: needs the package scikit-learn, which is not"):
        rnnfast.inspect(small(), TEXT, ["inside quotes"])


def test_a_model_that_has_diverged_is_refused() -> None:
    model = small()
    state = model.state_dict()
    state["recurrent.weight_hh_l0"][0, 0] = np.nan
    model.load_state_dict(state)
    with pytest.raises(ValueError, match=r"model: expected finite values, got nan in l0\[0\] at "):
        rnnfast.inspect(model, TEXT, ["inside quotes"])


def test_units_are_asked_for_by_their_index(found: Inspection) -> None:
    with pytest.raises(IndexError, match="unit: expected an index in \\[0, 512\\), got 512"):
        found.concept_of(512)
    with pytest.raises(TypeError, match="unit: expected an integer, got str"):
        found.concept_of("l0[3]")  # type: ignore[arg-type]
    noise = np.random.default_rng(0).random(4000) > 0.5
    nothing = rnnfast.inspect(small(), TEXT, {"noise": noise}, probe=False)
    sure = [nothing.concept_of(unit) for unit in range(5)]
    assert sure == ["noise" if p <= 0.05 else None for p in nothing.concepts["noise"].p_value]
    assert None in sure
