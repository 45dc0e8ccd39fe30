"""Evaluation mode of recurrent layers, which packs the weights once for many calls."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from rnnfast import functional
from rnnfast._engine import backends
from rnnfast.layers.calls import Layer
from rnnfast.layers.stream_layers import KeptWeights

if TYPE_CHECKING:
    from typing_extensions import Self


class _Evaluation:
    """The packed weights of a layer in evaluation mode.

    A shallow copy of a layer shares this object because it shares the weights: the packed weights
    must be dropped whichever of the two may change them. A deep copy gets an object of its own.
    """

    kept: KeptWeights | None = None

    def __reduce__(self) -> tuple[type[_Evaluation], tuple[()]]:
        return _Evaluation, ()


class PackedInEvaluation(Layer):
    """A recurrent layer that keeps a packed copy of its weights while it is in evaluation mode.

    The parameters are read-only meanwhile, so that the packed copy cannot become outdated. It is
    dropped by `train()` and `load_state_dict()`, and when the layer is copied or pickled.
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
        """Return the state for copies and pickles, without packed weights and read-only arrays."""
        self._thaw()
        return super().__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # Pickle may put arrays into bytes objects. NumPy cannot make such an array writable again
        # once it was read-only, so evaluation then reads the weights unpacked, as training does.
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
        """Whether evaluation uses packed weights, for which the arrays must become read-only."""
        return self._backend is backends.CPU and self._can_freeze

    def _frozen(self) -> KeptWeights:
        """Return the packed weights, which stay valid because the parameters become read-only."""
        kept = self._evaluation.kept
        if kept is None or kept.packed.precision != self.precision:
            self._thaw()
            self._set_writable(False)
            kept = self._evaluation.kept = KeptWeights(self._pack(), self._weights)
        return kept

    def _kept(self) -> KeptWeights:
        """Return packed weights for streams, which later changes of the layer do not affect."""
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
        if (of_streams := reference()) is not None:  # streams keep using these weights
            of_streams.detach()
        self._set_writable(True)

    def _set_writable(self, writable: bool) -> None:
        for parameter in self.parameters():
            parameter.value.flags.writeable = writable
