"""A cache of weights in the layout that the kernels read."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rnnfast import functional
from rnnfast.torch.network import Options, memory_of


class Prepacked:
    """The packed weights of a layer, packed again when the weights change.

    A change is one that PyTorch counts, or a move to other memory. Copies and unpickled objects
    start empty.
    """

    def __init__(self) -> None:
        # The key, aliases of the weights and their packed form. The aliases keep the memory alive,
        # so that other weights cannot get the same addresses.
        self._kept: tuple[object, list[Tensor], functional.Packed] | None = None

    def get(self, weights: Sequence[Tensor], options: Options) -> functional.Packed | None:
        """Return the packed weights; None for inference tensors, which do not count changes."""
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
