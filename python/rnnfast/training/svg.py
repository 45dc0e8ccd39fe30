"""A small chart of loss curves as SVG, which notebooks show without any other package."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from rnnfast.training.curves import VALIDATION, Curve, limits, thinned

_WIDTH, _HEIGHT = 480, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 36  # margins, for the texts
_COLOURS = {VALIDATION: "#d95f02"}
_COLOUR = "#1b6ca8"


def svg_of(drawn: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Return a chart of at least one curve; training and validation have a colour each."""
    x_low, x_high, y_low, y_high = limits(drawn)
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="11" fill="currentColor">',
        f"<title>{escape(y_label)} over {escape(x_label)}</title>",
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="currentColor" '
        'stroke-opacity="0.4"/>',
        _text(_LEFT - 6, _TOP + 8, "end", f"{y_high:.4g}"),
        _text(_LEFT - 6, (_TOP + bottom) / 2 + 4, "end", y_label),
        _text(_LEFT - 6, bottom, "end", f"{y_low:.4g}"),
        _text(_LEFT, bottom + 16, "start", f"{x_low:,.6g}"),
        _text((_LEFT + right) / 2, bottom + 16, "middle", x_label),
        _text(right, bottom + 16, "end", f"{x_high:,.6g}"),
    ]
    for number, whole in enumerate(drawn):
        curve, colour = thinned(whole, (right - _LEFT) // 2), _COLOURS.get(whole.kind, _COLOUR)
        x = _LEFT + (curve.x - x_low) / (x_high - x_low) * (right - _LEFT)
        y = bottom - (curve.y - y_low) / (y_high - y_low) * (bottom - _TOP)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in np.column_stack([x, y]))
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
            f'<circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="2.5" fill="{colour}"/>',
            _text(right, _TOP + 12 * (number + 1), "end", curve.label, colour),
        ]
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, anchor: str, text: str, colour: str = "currentColor") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
