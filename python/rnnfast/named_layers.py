"""The recurrent layers with names of their own: `RNN`, `LSTM`, `PeepholeLSTM` and `GRU`.

They take the arguments of `Recurrent`, which documents them, in the order of PyTorch's layers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from rnnfast import _checks
from rnnfast._checks import RealArray
from rnnfast.layers import LSTMState, Recurrent


class RNN(Recurrent[RealArray]):
    """Elman's network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or ReLU in place of tanh.

    Takes the arguments of `Recurrent` without `cell`, and `nonlinearity`, "tanh" or "relu".
    Source: Elman, "Finding structure in time", 1990.
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
        dtype: DTypeLike = np.float32,
        precision: str = "full",
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        _checks.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
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
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )

    def extra_repr(self) -> str:
        """The sizes, and the options that differ from their defaults."""
        relu = ", nonlinearity='relu'" if self.cell == "rnn_relu" else ""
        return super().extra_repr() + relu


class LSTM(Recurrent[LSTMState]):
    """Long short-term memory; the state is (h, c). Takes `Recurrent`'s arguments without `cell`.

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
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )


class PeepholeLSTM(Recurrent[LSTMState]):
    """LSTM whose gates also see the cell state, scaled by `weight_channel` (3, H), rows i, f, o.

    Takes `Recurrent`'s arguments without `cell`; the state is (h, c).
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
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )


class GRU(Recurrent[RealArray]):
    """Gated recurrent unit. Takes `Recurrent`'s arguments without `cell`, and `reset_after`.

    With `reset_after` the reset gate multiplies the recurrent product, as in PyTorch and cuDNN;
    without, it multiplies h before the product, as in the paper.
    Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
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
        dtype: DTypeLike = np.float32,
        precision: str = "full",
        seed: int | None = None,
        device: str | None = None,
    ) -> None:
        cell = "gru" if _checks.boolean("reset_after", reset_after) else "gru_reset_before"
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
            dtype=dtype,
            precision=precision,
            seed=seed,
            device=device,
        )

    def extra_repr(self) -> str:
        """The sizes, and the options that differ from their defaults."""
        before = ", reset_after=False" if self.cell == "gru_reset_before" else ""
        return super().extra_repr() + before
