"""Tables of plain text and of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines, with the columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def html_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", style: str = ""
) -> str:
    """Return rows of cells as a table with a row of titles.

    Args:
        titles: The titles of the columns.
        rows: The texts of the cells, which are escaped like all others.
        caption: The title of the table; empty for none.
        style: CSS of each cell; empty for none.
    """
    attribute = f' style="{style}"' if style else ""

    def row(tag: str, cells: Sequence[str]) -> str:
        inside = "".join(f"<{tag}{attribute}>{escaped(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inside}</tr>"

    above = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return f"<table>{above}{row('th', titles)}{''.join(row('td', cells) for cells in rows)}</table>"


def escaped(text: str) -> str:
    """Return text for HTML, with pictures for control characters and no halves of characters."""
    shown = (char if char == "\n" or ord(char) >= 32 else chr(0x2400 + ord(char)) for char in text)
    return escape("".join(shown).encode("utf-8", "replace").decode())
