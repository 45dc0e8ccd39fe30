"""The recurrent layers of the common cells: `RNN`, `LSTM`, `PeepholeLSTM` and `GRU`.

They take the arguments of `Recurrent` except `cell`, and take over their descriptions from its
docstring. Only the LSTMs have `proj_size`, and `RNN` has no `candidate_dropout`, because its cell
has no candidate.
"""

from __future__ import annotations

import inspect
import re
from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike

from rnnfast._engine import checks
from rnnfast._engine.checks import RealArray
from rnnfast.layers.recurrent import Recurrent
from rnnfast.layers.states import LSTMState

Named = TypeVar("Named", bound=type)


def _documented(layer: Named) -> Named:
    """Add the sections on use, arguments and errors of `Recurrent` to a layer's docstring."""
    if layer.__doc__ is None or Recurrent.__doc__ is None:  # `python -OO` removes docstrings
        return layer
    own, _, arguments = inspect.cleandoc(layer.__doc__).partition("\n\nArgs:\n")
    text = inspect.cleandoc(Recurrent.__doc__)
    text = text[text.index("In training mode") :]
    use, _, text = text.partition("\n\nArgs:\n")
    common, _, raises = text.partition("\n\nRaises:\n")
    known = inspect.signature(layer.__init__).parameters  # type: ignore[misc]
    described = re.split(r"\n(?=    \w+: )", common)
    entries = [entry for entry in described if entry.split(":")[0].strip() in known]
    entries += [arguments] if arguments else []
    layer.__doc__ = f"{own}\n\n{use}\n\nArgs:\n" + "\n".join(entries)
    layer.__doc__ += f"\n\nRaises:\n{raises}\n"
    return layer


@_documented
class RNN(Recurrent[RealArray]):
    """Elman's network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with ReLU instead of tanh.

    Source: Elman, "Finding structure in time", 1990.

    Args:
        nonlinearity: "tanh" or "relu". It is the fourth positional argument, as in PyTorch.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recompute: bool | int = False,
        learn_state: bool = False,
        context_size: int = 0,
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        precision: str = "full",
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(
            f"rnn_{nonlinearity}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            recompute=recompute,
            learn_state=learn_state,
            context_size=context_size,
            zoneout=zoneout,
            input_dropout=input_dropout,
            recurrent_dropout=recurrent_dropout,
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )

    def extra_repr(self) -> str:
        """Return the sizes, and the options that differ from their defaults."""
        relu = ", nonlinearity='relu'" if self.cell == "rnn_relu" else ""
        return super().extra_repr() + relu


@_documented
class LSTM(Recurrent[LSTMState]):
    """Long short-term memory; the state is (h, c).

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recompute: bool | int = False,
        learn_state: bool = False,
        proj_size: int = 0,
        context_size: int = 0,
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        precision: str = "full",
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(
            "lstm",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            recompute=recompute,
            learn_state=learn_state,
            proj_size=proj_size,
            context_size=context_size,
            zoneout=zoneout,
            input_dropout=input_dropout,
            recurrent_dropout=recurrent_dropout,
            candidate_dropout=candidate_dropout,
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )


@_documented
class PeepholeLSTM(Recurrent[LSTMState]):
    """LSTM whose gates also read the cell state, scaled by `weight_channel` (3, H), rows i, f, o.

    The state is (h, c).
    Source: Gers, Schraudolph and Schmidhuber, "Learning precise timing with LSTM", 2002.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        recompute: bool | int = False,
        learn_state: bool = False,
        proj_size: int = 0,
        context_size: int = 0,
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        precision: str = "full",
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(
            "peephole_lstm",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            recompute=recompute,
            learn_state=learn_state,
            proj_size=proj_size,
            context_size=context_size,
            zoneout=zoneout,
            input_dropout=input_dropout,
            recurrent_dropout=recurrent_dropout,
            candidate_dropout=candidate_dropout,
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )


@_documented
class GRU(Recurrent[RealArray]):
    """Gated recurrent unit; the state is h.

    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.

    Args:
        reset_after: Whether the reset gate multiplies the recurrent product, as in PyTorch and
            cuDNN. If False, it multiplies h before the product, as in the paper.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        reset_after: bool = True,
        recompute: bool | int = False,
        learn_state: bool = False,
        context_size: int = 0,
        zoneout: float | tuple[float, ...] = 0.0,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        candidate_dropout: float = 0.0,
        dtype: DTypeLike = np.float32,
        precision: str = "full",
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        cell = "gru" if checks.boolean("reset_after", reset_after) else "gru_reset_before"
        super().__init__(
            cell,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            recompute=recompute,
            learn_state=learn_state,
            context_size=context_size,
            zoneout=zoneout,
            input_dropout=input_dropout,
            recurrent_dropout=recurrent_dropout,
            candidate_dropout=candidate_dropout,
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )

    def extra_repr(self) -> str:
        """Return the sizes, and the options that differ from their defaults."""
        before = ", reset_after=False" if self.cell == "gru_reset_before" else ""
        return super().extra_repr() + before
