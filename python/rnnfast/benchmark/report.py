"""Results as lines of text, in the form of `Result.as_json`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rnnfast.benchmark.runner import OWN

Record = Mapping[str, Any]

# With these columns and those of PyTorch and onnxruntime a line has 79 characters.
_COLUMNS = {"cell": 16, "time": 9, "spread": 6, "GF/s": 6, "peak": 5, "floor": 6}
LEGEND = textwrap.fill(
    "time: median of a call; spread: interquartile range; peak: share of the measured peak rate "
    "of multiply-adds; floor: time as a multiple of the least that operations or memory traffic "
    "need; vs: the peer's time divided by ours; !: other programs were running.",
    79,
)


def lines(records: Iterable[Record], peers: Sequence[str]) -> Iterator[str]:
    """Yield results as lines of plain text as they arrive.

    Consecutive results of the same shape, mode, type and threads share a heading.
    """
    heading = ""
    for record in records:
        if heading != _heading(record):
            yield from [""] if heading else []
            heading = _heading(record)
            yield heading
            yield _line([*_COLUMNS, *map(_title, peers), ""], peers)
        yield _line(_row(record, peers), peers)


def _heading(record: Record) -> str:
    shape = ",".join(str(record[k]) for k in ("seq_len", "batch", "input_size", "hidden_size"))
    threads = f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"
    return f"T,B,I,H = {shape}: {record['mode']}, {record['dtype']}, {threads}"


def _title(peer: str) -> str:
    return f"vs {peer}"


def _row(record: Record, peers: Sequence[str]) -> list[str]:
    timing = record["seconds"][OWN]
    seconds = timing["median"]
    return [
        record["cell"],
        _time(seconds),
        f"{(timing['high'] - timing['low']) / seconds:.0%}",
        f"{record['flops'] / seconds / 1e9:.1f}",
        f"{record['share_of_peak']:.0%}",
        f"{record['times_floor']:.2f}",
        *(_ratio(record, peer) for peer in peers),
        "!" if record["busy"] else "",
    ]


def _line(columns: Sequence[str], peers: Sequence[str]) -> str:
    widths = [*_COLUMNS.values(), *(len(_title(peer)) for peer in peers), 1]
    return " ".join(f"{c:{w}}" for c, w in zip(columns, widths, strict=True)).rstrip()


def absences(records: Sequence[Record]) -> list[str]:
    """Return the reasons why peers have no times, each reason once."""
    return sorted({f"{peer}: {why}" for r in records for peer, why in r["absent"].items()})


def _ratio(record: Record, peer: str) -> str:
    ratio = record["ratios"].get(peer)
    return "-" if ratio is None else f"{ratio:.2f}"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
