"""The values of recurrent layers over time, as `rnnfast.trace` returns them."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rnnfast.inspection.named import Named
from rnnfast.inspection.tables import aligned, html_table

Array = NDArray[Any]


class LayerStates(Named[Array]):
    """The values of one layer in one direction: arrays (T, B, H), by their names in the cell.

    "h" is the output of the layer; with a projection it has P units instead of H. The values after
    the end of a sequence are zero.
    """

    _of = "value"

    def __repr__(self) -> str:
        return _text([(name, *_described(array)) for name, array in self.items()])

    def _repr_html_(self) -> str:
        return html_table(_VALUE, [(name, *_described(array)) for name, array in self.items()])


class States(Named[LayerStates]):
    """The values of all recurrent layers of a model over time.

    `states["l0"]["c"]` is an array (T, B, H). The names of layers are "l0", "l0_reverse", "l1" and
    so on; in a model they follow the path of the module, as in "encoder.l0".
    """

    _of = "layer"

    def __repr__(self) -> str:
        return _text(self._rows())

    def _repr_html_(self) -> str:
        return html_table(("layer", *_VALUE), self._rows())

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (layer, name, *_described(array))
            for layer, values in self.items()
            for name, array in values.items()
        ]


_VALUE = ("value", "shape", "dtype")


def _described(array: Array) -> tuple[str, str]:
    return str(array.shape), str(array.dtype)


def _text(rows: list[tuple[str, ...]]) -> str:
    return aligned(rows) or "no values"
