"""Weights in the form that the kernels read, kept from call to call."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rnnfast import functional
from rnnfast.torch.network import Options, memory_of


class Prepacked:
    """A layer's packed weights, made again when the weights change.

    Changes are what PyTorch counts, and other memory in place of the old. Copies, also by pickle,
    start empty.
    """

    def __init__(self) -> None:
        # What the weights were, with their memory, so that no others can come to lie there.
        self._kept: tuple[object, list[Tensor], functional.Packed] | None = None

    def get(self, weights: Sequence[Tensor], options: Options) -> functional.Packed | None:
        """The weights, packed; None for inference tensors, whose changes nobody counts."""
        if any(w.is_inference() for w in weights):
            return None
        key = options, [(w.data_ptr(), w.stride(), w._version) for w in weights]
        kept = self._kept
        if kept is None or kept[0] != key:
            aliases = [w.detach() for w in weights]
            arrays = [functional.Weights(*w) for w in options.by_layer([*map(memory_of, aliases)])]
            packed = functional.pack(
                options.cell,
                arrays,
                num_layers=options.num_layers,
                bidirectional=options.bidirectional,
                precision=options.precision,
            )
            kept = self._kept = key, aliases, packed
        return kept[2]

    def __reduce__(self) -> tuple[type[Prepacked], tuple[()]]:
        return Prepacked, ()
