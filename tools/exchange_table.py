"""Write the table of conventions into docs/exchange.md, from the data in `rnnfast.exchange`.

    python tools/exchange_table.py

A test checks that the page has the table that this script would write.
"""

from __future__ import annotations

from pathlib import Path

from rnnfast.exchange import CONVENTIONS, Convention

PAGE = Path(__file__).parents[1] / "docs" / "exchange.md"
START, END = "<!-- the table, by tools/exchange_table.py -->\n", "<!-- its end -->\n"
HEADINGS = ("`convention=`", "layers", "cell", "gates", "matrices", "biases", "besides", "checked")


def matrices(row: Convention) -> str:
    """Return how matrices are stored, in words."""
    axes = {"units, inputs": "(G·H, I)", "inputs, units": "(I, G·H)"}[row.axes]
    arrays = [a for a in row.arrays if "x" in a.parts or "h" in a.parts]
    if all(len(row.gates_of(a)) == 1 for a in arrays) and row.gates != "n":
        axes = axes.replace("G·", "") + " for each gate"
    joined = "".join(arrays[0].parts)
    words = {"xh": ", x and h joined", "xhb": ", x, h and the bias joined"}.get(joined, "")
    units = {
        "by gate": "",
        "by unit": ", gates of a unit in turn",
        "by gate, units first": ", blocks in memory as (H, I)",
        "by stage": ", R as (H, 2H) and then (H, H)",
    }
    return axes + words + units[row.units]


def biases(row: Convention) -> str:
    """Return which biases there are, in words."""
    both = [part for part in "bc" if any(part in a.parts for a in row.arrays)]
    inner = [a for a in row.arrays if a.parts == "c" and a.gates == "n" and len(row.gates) > 1]
    if inner and all(a.gates == "n" for a in row.arrays if a.parts == "c"):
        return "one, and one of n inside the reset"
    return {0: "none", 1: "one", 2: "two"}[len(both)]


def besides(row: Convention) -> str:
    """Return what steps do besides, and what has to be told."""
    words = []
    if row.forget_offset:
        words.append(f"f gets {row.forget_offset:+g} in every step")
    if row.z == "replaces":
        words.append("z = 1 replaces the state")
    if any("p" in a.parts for a in row.arrays):
        words.append("peepholes")
    if any("m" in a.parts for a in row.arrays):
        words.append("f = 1 - i, matrices from c")
    if any("r" in a.parts for a in row.arrays):
        words.append("a projection")
    if row.asks:
        words.append("asks " + ", ".join(f"`{name}`" for name in row.asks))
    return "; ".join(words)


def table() -> str:
    """Return the table in Markdown."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for row in CONVENTIONS:
        cells = (
            f"`{row.source}`",
            row.layers,
            f"`{row.cell}`",
            row.gates,
            matrices(row),
            biases(row),
            besides(row),
            row.checked,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """Return the text of the page with the table in its place."""
    before, rest = page.split(START)
    _, after = rest.split(END)
    return before + START + table() + END + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
