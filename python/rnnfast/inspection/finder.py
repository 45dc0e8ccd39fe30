"""`rnnfast.inspect`: units of a language model that mean something."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import backend, checks
from rnnfast.inspection.annotations import Annotations, annotate
from rnnfast.inspection.probe import with_probes
from rnnfast.inspection.result import Inspection
from rnnfast.inspection.scores import score
from rnnfast.training import ByteVocabulary, CharLM, TextError

Function = Callable[[str], Any]
_LEAST = 100  # characters of a part of the text


def inspect(
    model: CharLM,
    text: str | Sequence[str],
    annotations: Sequence[str | Function] | Mapping[str, Any] | None = None,
    *,
    language: str | None = None,
    held_out: float = 0.5,
    probe: bool = True,
) -> Inspection:
    """Find units of a language model whose value alone tells something about the text.

    The model reads the text from a zero state. For each annotation of the text, such as "inside
    quotes", every unit is scored by how well its value tells it, on a part of the text from which
    nothing was chosen. What a unit can know is what it has read: see `annotate`.

    A unit's value is the tanh of its second state where the cell has one (an LSTM's memory c), else
    its h. Karpathy, Johnson and Fei-Fei, "Visualizing and understanding recurrent networks", 2016,
    looked for such cells by eye.

    Args:
        model: A language model of characters or bytes.
        text: The text, or several, such as files, which are annotated one by one and read one after
            another.
        annotations: What to look for: names of annotations of the language, and functions from a
            text to an array with a value for each character, of bool for yes/no or of numbers for a
            count; or a dict of such functions, or of arrays, by name. None for all of the language.
        language: The language of `annotate`; None to guess it from the text.
        held_out: The share of the text, at its end, that scores are of. Thresholds, directions and
            probes are chosen on the rest.
        probe: Whether to find out how few units together tell a concept, which needs scikit-learn.

    Returns:
        The scores, with the activations that they are of.

    Raises:
        ValueError: An annotation is unknown, has the wrong shape, or is the same everywhere in one
            part of the text. Those of a language are then left out, with a `UserWarning`.
        TypeError: An argument is of the wrong type.
        rnnfast.training.TextError: The text is too short, or has a character that is not in the
            vocabulary.
        ImportError: pygments or scikit-learn is needed and not installed.
    """
    checks.of_type("model", model, CharLM)
    if model.vocabulary.unit == "token":
        raise ValueError("model: expected one of characters or bytes, got one of tokens")
    checks.boolean("probe", probe)
    share = checks.number("held_out", held_out, 0, 1)
    texts = [text] if isinstance(text, str) else list(text)
    for i, part in enumerate(texts):
        checks.of_type(f"text[{i}]" if texts is not text else "text", part, str)
    whole = "".join(texts)
    bound = len(whole) - round(share * len(whole))
    if min(bound, len(whole) - bound) < _LEAST:
        raise TextError(
            f"text: expected at least {_LEAST} characters in each part, got {bound} before and "
            f"{len(whole) - bound} in the held-out part"
        )
    found = _annotations(texts, annotations, language)
    varying = _varying(found, bound, strict=annotations is not None)
    activations = _activations(model, whole)
    concepts = score(activations, varying, bound)
    if probe:
        concepts = with_probes(activations, concepts, bound)
    recurrent = model.recurrent
    names = (
        f"l{layer}[{unit}]"
        for layer in range(recurrent.num_layers)
        for unit in range(recurrent.hidden_size)
    )
    inputs, outputs = _character_weights(model)
    return Inspection(
        whole, activations, tuple(names), bound, concepts,
        tuple(model.vocabulary.characters), inputs, outputs,
    )  # fmt: skip


def _annotations(
    texts: list[str],
    chosen: Sequence[str | Function] | Mapping[str, Any] | None,
    language: str | None,
) -> Annotations:
    """Return the chosen annotations of the texts, one after another."""
    if isinstance(chosen, str):
        raise TypeError(
            f"annotations: expected a list of names or functions, or a dict, got the text "
            f"{chosen!r}; a language is given as language="
        )
    functions: dict[str, Any] = {}
    names: list[str] | None = None
    if isinstance(chosen, Mapping):
        functions, names = dict(chosen), []
    elif chosen is not None:
        names = [item for item in chosen if isinstance(item, str)]
        functions = {f.__name__.replace("_", " "): f for f in chosen if callable(f)}
        if len(names) + len(functions) < len(chosen):
            raise TypeError("annotations: expected names and functions of different names")
    result: Annotations = {}
    if names is None or names:
        each = [annotate(part, language) for part in texts]
        known = {
            n: np.concatenate([a[n] for a in each]) for n in each[0] if all(n in a for a in each)
        }
        for name in known if names is None else names:
            result[name] = known[checks.choice("annotations", name, known)]
    size = sum(map(len, texts))
    for name, function in functions.items():
        values = [function(part) for part in texts] if callable(function) else [function]
        result[name] = _checked(name, np.concatenate([np.asarray(v) for v in values]), size)
    return result


def _checked(name: str, values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return an annotation that a user gave, if it has a value for each character."""
    argument = f"annotations[{name!r}]"
    checks.shape(argument, values, (size,), "(characters of text,)")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{argument}: expected bools or real numbers, got dtype {values.dtype}")
    if not np.isfinite(values).all():
        raise ValueError(f"{argument}: expected finite numbers")
    return values


def _varying(found: Annotations, bound: int, *, strict: bool) -> Annotations:
    """Return the annotations that vary in both parts of the text."""
    parts = ((slice(None, bound), f"text[:{bound}]"), (slice(bound, None), f"text[{bound}:]"))
    constant = {
        name: where
        for name, values in found.items()
        for part, where in parts
        if (values[part] == values[part][0]).all()
    }
    if constant and (strict or len(constant) == len(found)):
        name, where = next(iter(constant.items()))
        raise ValueError(f"annotations: {name!r} is the same everywhere in {where}")
    if constant:
        names = ", ".join(map(repr, constant))
        warnings.warn(
            f"annotations: left out, as they do not vary in both parts of the text: {names}",
            stacklevel=3,
        )
    return {name: values for name, values in found.items() if name not in constant}


def _activations(model: CharLM, text: str) -> NDArray[np.float32]:
    """Return each unit's value after each character of the text, (N, U)."""
    ids = model.vocabulary.encode(text)
    stream = model.stream()
    result = np.empty(
        (ids.size, model.recurrent.num_layers * model.recurrent.hidden_size), np.float32
    )
    for n in range(ids.size):
        stream(ids[n : n + 1])
        (state,) = stream.state
        values = np.tanh(state[1]) if isinstance(state, tuple) else state
        result[n] = backend.to_host(values).reshape(-1)
    if isinstance(model.vocabulary, ByteVocabulary):
        result = result[_last_bytes(text)]
    return result


def _last_bytes(text: str) -> NDArray[np.int64]:
    """Return the place of the last byte of each character."""
    return np.cumsum([len(c.encode("utf-8", "surrogateescape")) for c in text]) - 1


def _character_weights(
    model: CharLM,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]:
    """Return the weights from characters by gate, and those to characters, (U, V) each."""
    recurrent = model.recurrent
    hidden, size = recurrent.hidden_size, len(model.vocabulary)
    units = recurrent.num_layers * hidden
    weight = backend.to_host(recurrent.weight_ih_l0.value).astype(float)
    if model.embedding is not None:
        weight = weight @ backend.to_host(model.embedding.weight.value).T
    blocks = weight.reshape(-1, hidden, size)
    inputs = {}
    for gate, block in enumerate(blocks):
        inputs[str(gate)] = np.full((units, size), np.nan, np.float32)
        inputs[str(gate)][:hidden] = block
    outputs = np.full((units, size), np.nan, np.float32)
    outputs[units - hidden :] = backend.to_host(model.head.weight.value).T
    return inputs, outputs
