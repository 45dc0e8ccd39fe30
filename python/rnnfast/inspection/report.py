"""The report of an inspection: one HTML file that needs no network.

The page consists of the files in `page`. A content security policy forbids it to load anything and
to run any code but its own, whose digest it names.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from rnnfast import _files
from rnnfast._engine import checks
from rnnfast._files import AnyPath
from rnnfast.inspection import packing
from rnnfast.inspection.reading import check_finite

if TYPE_CHECKING:
    from rnnfast.inspection.result import Inspection

LIMIT = 5_000_000  # bytes of a report
_SCRIPTS = ("data", "elements", "text", "unit", "ranking", "matching", "main")


def write_report(
    inspection: Inspection, path: AnyPath, *, start: int | None = None, length: int = 20_000
) -> None:
    """Write the report of an inspection; see `Inspection.save_html`.

    Raises:
        TypeError: `start` or `length` is no integer.
        ValueError: `start` or `length` lies outside the text, too much is to be shown, or a
            value is not finite.
        OSError: The file cannot be written.
    """
    total = len(inspection.text)
    length = checks.positive_int("length", length)
    if start is None:
        start = max(0, min(inspection.held_out, total - length))
    start = checks.integer("start", start, 0, total - 1)
    stop = min(total, start + length)
    check_finite("activations", inspection.activations[start:stop], inspection.units, start)
    _files.replace(path, report_html(inspection, start, stop).encode())


def report_html(inspection: Inspection, start: int, stop: int) -> str:
    """Return the page that shows the characters `start` to `stop`."""
    order = packing.by_importance(inspection.concepts.values(), len(inspection.units))
    steps, scale = packing.in_steps(inspection.activations[start:stop, order])
    parts = _page_parts()
    facts = packing.in_base64(packing.facts(inspection, start, stop, order, scale))
    room = LIMIT - len(facts) - sum(len(part.encode()) for part in parts.values())
    values, kept = packing.deflate_rows(steps, room * 3 // 4)
    if kept == 0:
        raise ValueError(
            f"length: expected so few characters that they and a unit fit into {LIMIT:,} bytes, "
            f"got {stop - start:,}"
        )
    if kept < len(order):
        facts = packing.in_base64(
            packing.facts(inspection, start, stop, order[:kept], scale[:kept])
        )
    page = parts.pop("page")
    parts |= {"facts": facts, "values": packing.in_base64(values)}
    return re.sub("@@([a-z]+)@@", lambda mark: parts[mark[1]], page)


def _page_parts() -> dict[str, str]:
    """Return the page and what it contains, but for the data, by their marks."""
    folder = files("rnnfast.inspection") / "page"

    def read(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    style = read("page.css")
    script = "\n".join(read(f"{name}.js") for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return {"page": read("page.html"), "style": style, "script": script, "policy": policy}


def _digest(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode('ascii')}'"
