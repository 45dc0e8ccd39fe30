"""The rows of the table in docs/published.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

START, END = "<!-- the table, by tests/published -->\n", "<!-- its end -->\n"

COLUMNS = (
    "package",
    "licence",
    "network",
    "loaded by",
    "largest error",
    "its own engine",
    "rnnfast",
    "factor",
)


@dataclass(frozen=True)
class Row:
    """What one comparison found.

    Attributes:
        package: Name and version.
        license: The licence of package and weights.
        network: Which network of the package ran on what, in a few words.
        engine: What computed it in the package, such as NumPy or PyTorch.
        line: The Python expression that loads it.
        error: The largest difference of the outputs, relative to their largest value.
        theirs: Seconds of a call of the package's own engine, the median.
        ours: Seconds of the same call by rnnfast, the median.
    """

    package: str
    license: str
    network: str
    engine: str
    line: str
    error: float
    theirs: float
    ours: float

    def __str__(self) -> str:
        factor = self.theirs / self.ours
        cells = (
            self.package,
            self.license,
            self.network,
            f"`{self.line}`".replace("|", "\\|"),
            f"{self.error:.0e}" if self.error else "0",
            f"{_milliseconds(self.theirs)} ({self.engine})",
            _milliseconds(self.ours),
            f"{factor:.1f}" if factor < 10 else f"{factor:.0f}",
        )
        return _line(cells)


def table(rows: list[Row]) -> str:
    """Return rows as a table in Markdown, sorted by package."""
    ordered = sorted(rows, key=lambda row: (row.package.lower(), row.network))
    return "\n".join([_line(COLUMNS), "|---" * len(COLUMNS) + "|", *map(str, ordered)]) + "\n"


def write(path: Path, rows: list[Row]) -> None:
    """Write the table into a page between its marks, or into a file that has none."""
    page = path.read_text() if path.exists() else START + END
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + START + table(rows) + END + after)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"
