"""The calls of recurrent layers that a trace consists of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from rnnfast._engine import arguments
from rnnfast._engine.backends import CPU
from rnnfast._engine.checks import RealArray
from rnnfast.inspection.network import Network, Selection
from rnnfast.inspection.passes import Inputs, Read, Run
from rnnfast.inspection.storage import Store


class Tracer:
    """Traces calls of the recurrent layers of one model.

    Args:
        networks: The layers, by what their names begin with: "" or a path and a dot.
        selection: The values to take.
        store: Where to write them.
    """

    def __init__(self, networks: Mapping[str, Network], selection: Selection, store: Store) -> None:
        self._networks, self._selection, self._store = networks, selection, store
        self._calls: Counter[str] = Counter()

    def call(
        self,
        prefix: str,
        read: Read,
        sizes: tuple[int, int],
        state: Sequence[ArrayLike | None] | None,
        lengths: ArrayLike | None,
        context: Sequence[RealArray] | None = None,
        *,
        wants_y: bool = False,
    ) -> tuple[RealArray | None, tuple[RealArray, ...]]:
        """Trace a call of a layer; "call2." and so on follow the path in later calls.

        Args:
            prefix: What the name of the layer begins with.
            read: Returns the input of some steps.
            sizes: T and B.
            state: The initial states, (L*D, B, H) each; None for zeros.
            lengths: (B,); None for T.
            context: What a context adds to the gates of each layer and direction; None for none.
            wants_y: Whether to return y.

        Returns:
            y (T, B, D*H), or None; and the final states.
        """
        network = self._networks[prefix]
        shapes = network.state_shapes(sizes[1])
        states = arguments.checked_states(CPU, "state", state, network.dtype, shapes)
        spans = None if lengths is None else arguments.checked_lengths(CPU, lengths, *sizes)
        self._calls[prefix] += 1
        number = self._calls[prefix]
        name = prefix if number == 1 else f"{prefix}call{number}."
        inputs = Inputs(read, *sizes, states, spans, context)
        return Run(network, inputs, self._selection, self._store, name).run(wants_y=wants_y)
