"""Results as lines of text, in the form of `Result.as_json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnnfast.benchmark.runner import OWN

Record = Mapping[str, Any]

_COLUMNS = {
    "cell": 16,
    "T,B,I,H": 17,
    "mode": 11,
    "type": 8,
    "threads": 7,
    "time": 9,
    "spread": 6,
    "GF/s": 6,
    "peak": 5,
    "floor": 6,
}
LEGEND = (
    "time: median of a call; spread: distance of the quartiles; peak: share of the probed rate of "
    "multiply-adds; floor: times what operations or memory traffic need at least; vs: the peer's "
    "time over ours; !: other programs were at work."
)


def header(peers: Sequence[str]) -> list[str]:
    """Titles of the columns."""
    return [*_COLUMNS, *(f"vs {peer}" for peer in peers), ""]


def row(record: Record, peers: Sequence[str]) -> list[str]:
    """The columns of a result."""
    timing = record["seconds"][OWN]
    seconds = timing["median"]
    shape = ",".join(str(record[k]) for k in ("seq_len", "batch", "input_size", "hidden_size"))
    return [
        record["cell"],
        shape,
        record["mode"],
        record["dtype"],
        str(record["threads"]),
        _time(seconds),
        f"{(timing['high'] - timing['low']) / seconds:.0%}",
        f"{record['flops'] / seconds / 1e9:.1f}",
        f"{record['share_of_peak']:.0%}",
        f"{record['times_floor']:.2f}",
        *(_ratio(record, peer) for peer in peers),
        "!" if record["busy"] else "",
    ]


def line(columns: Sequence[str]) -> str:
    """Columns as a line of plain text."""
    widths = [*_COLUMNS.values(), *(14 for _ in columns[len(_COLUMNS) : -1]), 1]
    return " ".join(f"{c:{w}}" for c, w in zip(columns, widths, strict=True)).rstrip()


def absences(records: Sequence[Record]) -> list[str]:
    """Why peers have no times: each reason once."""
    return sorted({f"{peer}: {why}" for r in records for peer, why in r["absent"].items()})


def _ratio(record: Record, peer: str) -> str:
    ratio = record["ratios"].get(peer)
    return "-" if ratio is None else f"{ratio:.2f}"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
