"""The values of recurrent layers over time, as `rnnfast.trace` returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from rnnfast.inspection.tables import aligned, html_table

Array = NDArray[Any]


class LayerStates(Mapping[str, Array]):
    """The values of one layer in one direction: arrays (T, B, H), by their names in the cell.

    "h" is the output of the layer; with a projection it has P units instead of H. The values after
    the end of a sequence are zero.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, value: str) -> Array:
        if value not in self._arrays:
            raise KeyError(f"value: expected one of {', '.join(self._arrays)}, got {value!r}")
        return self._arrays[value]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return _text([(name, *_described(array)) for name, array in self.items()])

    def _repr_html_(self) -> str:
        return html_table(_VALUE, [(name, *_described(array)) for name, array in self.items()])


class States(Mapping[str, LayerStates]):
    """The values of all recurrent layers of a model over time.

    `states["l0"]["c"]` is an array (T, B, H). The names of layers are "l0", "l0_reverse", "l1" and
    so on; in a model they follow the path of the module, as in "encoder.l0".
    """

    def __init__(self, layers: Mapping[str, LayerStates]) -> None:
        self._layers = dict(layers)

    def __getitem__(self, layer: str) -> LayerStates:
        if layer not in self._layers:
            raise KeyError(f"layer: expected one of {', '.join(self._layers)}, got {layer!r}")
        return self._layers[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

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
