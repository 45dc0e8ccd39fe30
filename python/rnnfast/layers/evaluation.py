"""Recurrent layers in evaluation: their weights packed once, for many calls."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from rnnfast import functional
from rnnfast._engine import backend
from rnnfast.layers.calls import Layer
from rnnfast.layers.stream_layers import KeptWeights

if TYPE_CHECKING:
    from typing_extensions import Self


class _Evaluation:
    """What evaluation mode has made of a layer's weights.

    A shallow copy of a layer has the same weights and shares this, so that what was made is dropped
    whichever of them may change the weights. Copies with weights of their own make their own.
    """

    kept: KeptWeights | None = None

    def __reduce__(self) -> tuple[type[_Evaluation], tuple[()]]:
        return _Evaluation, ()


class PackedInEvaluation(Layer):
    """A recurrent layer that keeps its weights in the kernels' form while it is in evaluation.

    The parameters are read-only meanwhile, so that the copy cannot become wrong. `train()`,
    `load_state_dict()` and copies drop it.
    """

    cell: str
    num_layers: int
    bidirectional: bool
    precision: str
    _weights: list[functional.Weights]

    def __init__(self, device: str | None = None) -> None:
        super().__init__(device)
        self._evaluation = _Evaluation()
        self._can_freeze = True

    def train(self, mode: bool = True) -> Self:
        """Switch to training, in which the parameters may change, or to evaluation."""
        super().train(mode)
        if mode:
            self._thaw()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold the parameters, writable; what was made of them is made again."""
        self._thaw()
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # Pickle's arrays may lie in bytes objects; NumPy lets such an array never be written again
        # once it was read-only. Then evaluation reads the weights where they are, as training does.
        self._can_freeze = not any(isinstance(p.value.base, bytes) for p in self.parameters())

    def _pack(self) -> functional.Packed:
        return functional.pack(
            self.cell,
            self._weights,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            precision=self.precision,
        )

    @property
    def _freezes(self) -> bool:
        """Whether evaluation goes with packed weights, which need arrays that can be read-only."""
        return self._on is backend.CPU and self._can_freeze

    def _frozen(self) -> KeptWeights:
        """Packed weights that stay right, as nobody may change the weights meanwhile."""
        kept = self._evaluation.kept
        if kept is None or kept.packed.precision != self.precision:
            self._thaw()
            self._set_writable(False)
            kept = self._evaluation.kept = KeptWeights(self._pack(), self._weights)
        return kept

    def _kept(self) -> KeptWeights:
        """Packed weights that do not follow those of the layer, for streams."""
        if not self.training and self._freezes:
            return self._frozen()
        kept = KeptWeights(self._pack(), self._weights)
        kept.detach()
        return kept

    def _thaw(self) -> None:
        kept = self._evaluation.kept
        if kept is None:
            return
        self._evaluation.kept = None
        reference = weakref.ref(kept)
        del kept
        if (of_streams := reference()) is not None:  # which go on with these weights
            of_streams.detach()
        self._set_writable(True)

    def _set_writable(self, writable: bool) -> None:
        for parameter in self.parameters():
            parameter.value.flags.writeable = writable
