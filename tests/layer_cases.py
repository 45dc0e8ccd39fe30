"""Helpers that the tests of layers share."""

from __future__ import annotations

from typing import Any

import numpy as np

import cases
import rnnfast
from cases import Case

NAMED = {
    "rnn_tanh": (rnnfast.RNN, {}),
    "rnn_relu": (rnnfast.RNN, {"nonlinearity": "relu"}),
    "lstm": (rnnfast.LSTM, {}),
    "peephole_lstm": (rnnfast.PeepholeLSTM, {}),
    "gru": (rnnfast.GRU, {}),
    "gru_reset_before": (rnnfast.GRU, {"reset_after": False}),
}


def bare(states: Any) -> Any:
    """Return a state as layers return it: one array, or a tuple of several."""
    return states[0] if len(states) == 1 else tuple(states)


def listed(state: Any) -> list[np.ndarray]:
    return list(state) if isinstance(state, tuple) else [state]


def learned_rows(case: Case) -> list[np.ndarray]:
    """Return the values of the learned parameters: the state of the data's first sequence."""
    return [s[:, 0] for s in cases.make_data(case).state]


def learning(case: Case, **options: Any) -> rnnfast.Recurrent:
    """Return the case's layer with a learned initial state whose parameters are not zero."""
    layer = cases.new_layer(case, learn_state=True, **options)
    rows = {f"initial_state_{k}": r for k, r in enumerate(learned_rows(case))}
    layer.load_state_dict(cases.make_layer(case).state_dict() | rows)
    return layer
