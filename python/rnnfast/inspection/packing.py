"""The data of a report: what the page shows, small enough for one file.

The page gets two streams in the format of zlib, each in base64: facts, which are JSON, and the
values of the units, a byte each. A value v of a unit whose largest |v| is s becomes the step
round(31 v / s) + 31, from 0 to 62. Activations hardly compress: of the 6 bits of a step 4.4 remain
for an LSTM trained on source code, and 6 for noise. All 512 units over 20,000 characters would
take 8 to 10 MB, so only as many are kept as the limit allows, in the order of their best place in
the ranking of any concept.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rnnfast.inspection.result import Concept, Inspection

_STEPS = 31  # on each side of 0
_WEIGHTS = 6  # shown of the largest, and of the smallest
_END = 16  # bytes that close a stream are fewer
_SURROGATES = re.compile("[\ud800-\udfff]")  # a browser would join two of them to one character


def by_importance(concepts: Iterable[Concept], units: int) -> NDArray[np.intp]:
    """Return the indices of the units in the order in which a report keeps them.

    That is the order of their best place in the ranking of any concept; of units with equal places
    the one that tells it better comes first.
    """
    place = np.full(units, units)
    strength = np.full(units, -1.0)
    for concept in concepts:
        ranking = concept.ranking
        here = np.empty(units, dtype=np.intp)
        here[ranking] = np.arange(units)
        its = np.nan_to_num(concept.strength, nan=-1)
        strength = np.where(
            here == place, np.maximum(strength, its), np.where(here < place, its, strength)
        )
        place = np.minimum(place, here)
    return np.lexsort((-strength, place))


def in_steps(values: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the steps (U, N) of values (N, U), and the largest size of each unit's values (U,)."""
    scale = np.abs(values).max(axis=0)
    parts = values / np.where(scale > 0, scale, 1)
    return np.ascontiguousarray((np.rint(_STEPS * parts) + _STEPS).astype(np.uint8).T), scale


def deflate_rows(rows: NDArray[np.uint8], limit: int) -> tuple[bytes, int]:
    """Compress as many rows as fit into `limit` bytes; return the stream and their number."""
    packer = zlib.compressobj(9, strategy=zlib.Z_FILTERED)
    packed = bytearray()
    for kept, row in enumerate(rows):
        before = packer.copy()
        piece = packer.compress(row.tobytes()) + packer.flush(zlib.Z_FULL_FLUSH)
        if len(packed) + len(piece) + _END > limit:
            return bytes(packed) + before.flush(), kept
        packed += piece
    return bytes(packed) + packer.flush(), len(rows)


def in_base64(packed: bytes) -> str:
    """Return the characters that the page decodes by atob."""
    return base64.b64encode(packed).decode("ascii")


def facts(
    inspection: Inspection,
    start: int,
    stop: int,
    units: NDArray[np.intp],
    scale: NDArray[np.float32],
) -> bytes:
    """Return all that the page shows beside the units' values, as compressed JSON.

    Args:
        inspection: What to show.
        start: The first character to show.
        stop: The end of the characters to show.
        units: The indices of the units to show, in their order.
        scale: The largest size of each one's values, in the same order.
    """
    concepts = sorted(inspection.concepts.values(), key=lambda one: -one.best_strength)
    # None stands for the concept of a unit that surely tells none.
    numbers: dict[str | None, int] = {one.name: k for k, one in enumerate(concepts)}
    shown = {
        "text": _SURROGATES.sub("\ufffd", inspection.text[start:stop]),
        "start": start,
        "length": len(inspection.text),
        "held_out": inspection.held_out,
        "total": len(inspection.units),
        "left_out": len(inspection.units) - len(units),
        "units": [
            {
                "name": inspection.units[u],
                "scale": size,
                "best": numbers.get(inspection.concept_of(int(u))),
            }
            for u, size in zip(units, _plain(scale), strict=True)
        ],
        "concepts": [_concept(c, start, stop, units, inspection.units) for c in concepts],
        "vocabulary": [_SURROGATES.sub("\ufffd", char) for char in inspection.vocabulary],
        "gates": [
            {"name": name, "weights": _extreme_weights(weights[units])}
            for name, weights in inspection.input_weights.items()
        ],
        "outputs": _extreme_weights(inspection.output_weights[units]),
    }
    text = json.dumps(shown, separators=(",", ":"), allow_nan=False)
    return zlib.compress(text.encode("ascii"))


def _concept(
    concept: Concept, start: int, stop: int, units: NDArray[np.intp], names: tuple[str, ...]
) -> dict[str, Any]:
    truth = concept.values[start:stop].astype(np.float64)
    probe = concept.probe
    return {
        "name": concept.name,
        "kind": concept.kind,
        "truth": _plain(truth),
        "largest": float(np.nanmax(np.abs(truth), initial=0.0)),
        "score": _plain(concept.score[units]),
        "sign": _plain(concept.sign[units].astype(np.float64)),
        "threshold": _plain(concept.threshold[units]),
        "spearman": _plain(concept.spearman[units]),
        "p_value": _plain(concept.p_value[units]),
        "probe": probe
        and {
            "units": [names[u] for u in probe.units[probe.needed]],
            "score": probe.scores[probe.needed],
        },
    }


def _extreme_weights(weights: NDArray[Any]) -> list[list[tuple[int, float]] | None]:
    """Return the largest and the smallest weights of each row as (column, weight), None for NaN."""
    order = np.argsort(-weights, axis=1, kind="stable")
    if order.shape[1] > 2 * _WEIGHTS:
        order = np.concatenate([order[:, :_WEIGHTS], order[:, -_WEIGHTS:]], axis=1)
    chosen = np.take_along_axis(weights, order, axis=1)
    return [
        None if np.isnan(row).any() else list(zip(columns.tolist(), _plain(row), strict=True))
        for columns, row in zip(order, chosen, strict=True)
    ]


def _plain(values: NDArray[Any]) -> list[Any]:
    """Return numbers for JSON: with 5 significant digits, whole ones as integers, None for NaN."""
    return [
        None if value != value else int(value) if value.is_integer() else float(f"{value:.5g}")
        for value in values.astype(np.float64).tolist()
    ]
