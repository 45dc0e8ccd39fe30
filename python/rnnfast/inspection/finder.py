"""`rnnfast.inspect`: units of a language model that mean something."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfast._engine import checks
from rnnfast.inspection.annotations import Annotations, annotate
from rnnfast.inspection.probe import check_installed, with_probes
from rnnfast.inspection.reading import (
    check_finite,
    names_of_units,
    values_of_units,
    weights_from_characters,
    weights_to_characters,
)
from rnnfast.inspection.result import Inspection
from rnnfast.inspection.scores import score
from rnnfast.training import CharLM, TextError, UnknownCharacterError

Chosen = str | Sequence[str | Callable[[str], Any]] | Mapping[str, Any] | None
_LEAST = 100  # characters of a part of the text


def inspect(
    model: CharLM,
    text: str | Sequence[str],
    annotations: Chosen = None,
    *,
    language: str | None = None,
    value: str | None = None,
    held_out: float = 0.5,
    probe: bool = True,
) -> Inspection:
    """Find units of a language model whose value alone tells something about the text.

    The model reads the text from a zero state. For each annotation of the text, such as "inside
    quotes", every unit is scored by how well its value tells it, on a part of the text from which
    nothing was chosen. What a unit can know is what it has read: see `annotate`. Karpathy, Johnson
    and Fei-Fei, "Visualizing and understanding recurrent networks", 2016, looked for such cells by
    eye.

    Args:
        model: A language model of characters or bytes.
        text: The text, or several, such as files, which are annotated one by one and read one after
            another.
        annotations: What to look for: a list of names of annotations, and of functions from a text
            to an array with a value for each character, of bool for yes/no or of numbers for a
            count; or a dict of such functions, or of arrays, by name; or a language, for all of its
            annotations. None for all of `language`.
        language: The language that `annotate` takes; None to guess it from the text.
        value: The units' value to look at, by its name in the cell as of `trace`; None for tanh of
            the second state where the cell has one (an LSTM's memory c), else h.
        held_out: The share of the text, at its end, that scores are of. Thresholds, directions and
            probes are chosen on the rest.
        probe: Whether to find out how few units together tell a concept, which needs scikit-learn.

    Returns:
        The scores, with the activations that they are of.

    Raises:
        ValueError: The model is one of tokens, or computes values that are not finite, or its cell
            has no such value. An annotation or a
            language is unknown. An annotation has the wrong shape, or is the same everywhere in one
            part of the text; those of a language are then left out, with a `UserWarning`.
        TypeError: An argument is of the wrong type.
        rnnfast.training.TextError: The text is too short, or has a character that is not in the
            vocabulary.
        ImportError: pygments or scikit-learn is needed and not installed.
    """
    checks.of_type("model", model, CharLM)
    if model.vocabulary.unit == "token":
        raise ValueError("model: expected one of characters or bytes, got one of tokens")
    if checks.boolean("probe", probe):
        check_installed()  # rather than after minutes of scoring
    share = checks.number("held_out", held_out, 0, 1)
    if not isinstance(text, (str, Sequence)) or isinstance(text, (bytes, bytearray)):
        raise TypeError(f"text: expected str or a list of str, got {type(text).__name__}")
    texts = [text] if isinstance(text, str) else list(text)
    for i, part in enumerate(texts):
        checks.of_type(f"text[{i}]", part, str)
    whole = "".join(texts)
    bound = len(whole) - round(share * len(whole))
    if min(bound, len(whole) - bound) < _LEAST:
        raise TextError(
            f"text: expected at least {_LEAST} characters in each part, got {bound} before and "
            f"{len(whole) - bound} in the held-out part"
        )
    if isinstance(annotations, str):
        language, annotations = _language(annotations, language), None
    _check_known(model, texts)
    found = _annotations(texts, annotations, language)
    varying = _varying(found, bound, strict=annotations is not None)
    activations, units = values_of_units(model, whole, value), names_of_units(model)
    check_finite("model", activations, units)
    concepts = score(activations, varying, bound)
    if probe:
        concepts = with_probes(activations, concepts, bound)
    return Inspection(
        text=whole,
        activations=activations,
        units=units,
        held_out=bound,
        concepts=concepts,
        vocabulary=tuple(model.vocabulary.characters),
        input_weights=weights_from_characters(model),
        output_weights=weights_to_characters(model),
    )


def _language(annotations: str, language: str | None) -> str:
    """Return the language that `annotations` names."""
    if language is not None:
        raise ValueError(
            f"language: expected None, as annotations names a language, {annotations!r}, got "
            f"{language!r}"
        )
    try:
        annotate("", annotations)
    except ValueError:
        raise ValueError(
            "annotations: expected a list of names, or a language (python, c, latex, prose or "
            f"another that pygments knows), got {annotations!r}"
        ) from None
    return annotations


def _check_known(model: CharLM, texts: Sequence[str]) -> None:
    """Check that all characters are in the vocabulary, and name the text of one that is not."""
    i = 0
    try:
        for i, part in enumerate(texts):  # noqa: B007
            model.vocabulary.encode(part)
    except UnknownCharacterError as error:
        name = "text" if len(texts) == 1 else f"text[{i}]"
        where = str(error).removeprefix("text: ")
        raise UnknownCharacterError(f"{name}: {where}") from None


def _annotations(texts: list[str], chosen: Chosen, language: str | None) -> Annotations:
    """Return the chosen annotations of the texts, one after another."""
    names, given = _sorted_out(chosen)
    result: Annotations = {}
    if names is None or names:
        each = [annotate(part, language) for part in texts]
        known = {
            name: np.concatenate([annotations[name] for annotations in each])
            for name in each[0]
            if all(name in annotations for annotations in each)
        }
        for name in known if names is None else names:
            result[name] = known[checks.choice("annotations", name, known)]
    for name, values in given.items():
        parts = [values(part) for part in texts] if callable(values) else [values]
        array = np.concatenate([np.atleast_1d(np.asarray(part)) for part in parts])
        result[name] = _checked(name, array, sum(map(len, texts)))
    return result


def _sorted_out(chosen: Chosen) -> tuple[list[str] | None, dict[str, Any]]:
    """Return names, None for all of the language, and functions or arrays by name."""
    if chosen is None:
        return None, {}
    if isinstance(chosen, Mapping):
        names, given = [], dict(chosen)
        for name in given:
            checks.of_type("annotations: each name", name, str)
    elif isinstance(chosen, Sequence) and all(isinstance(a, str) or callable(a) for a in chosen):
        names = [annotation for annotation in chosen if isinstance(annotation, str)]
        functions = [annotation for annotation in chosen if not isinstance(annotation, str)]
        given = {getattr(f, "__name__", repr(f)).replace("_", " "): f for f in functions}
        if len({*names, *given}) < len(chosen):
            raise ValueError("annotations: expected different names; a dict names functions")
    else:
        raise TypeError(f"annotations: expected names and functions, or a dict, got {chosen!r}")
    if not names and not given:
        raise ValueError("annotations: expected at least one, got none")
    return names, given


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
