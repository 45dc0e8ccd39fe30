"""Helpers that the tests of dropout and of noise inside the steps share."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

import cases
from cases import Case, forward
from rnnfast import functional
from rnnfast._engine.known import cell_named, name_of
from rnnfast.reference import CELLS
from traced_cases import OTHERS

# Cells that the engine runs from their equations: one with layer norms and channel parameters, one
# without recurrent products, one with products of several states, one whose second stage multiplies
# a new state, another one of the zoo, and one that reads the input itself.
TRACED = [
    *(
        name_of(OTHERS[name])
        for name in ("normalized", "independent", "other_state", "early_state")
    ),
    "janet",
    "mut1",
]
INDEPENDENT, OTHER_STATE, EARLY_STATE = TRACED[1:4]
ALL = [*CELLS, *TRACED]
KINDS: dict[str, dict[str, Any]] = {
    "zoneout": {"zoneout": 0.3},
    "inputs": {"input_dropout": 0.4},
    "recurrent": {"recurrent_dropout": 0.25},
    "all": {"zoneout": 0.2, "input_dropout": 0.3, "recurrent_dropout": 0.4},
}
SIZES = {
    "layers": {"T": 6, "B": 5, "H": 9, "L": 2, "D": 2},
    "one sequence": {"T": 5, "B": 1, "H": 35},
    "many rows": {"T": 4, "B": 19, "H": 70, "lengths": True},
}


def made(cell: str, **sizes: Any) -> Case:
    """Return a case with sizes that the cell can have."""
    case = Case(cell, **sizes)
    return replace(case, I=case.H, D=1) if cell_named(cell).reads_input else case


def reserve_of(case: Case, seed: int, **noise: Any) -> Any:
    d = cases.make_data(case)
    weights = cases.weights_of(d)
    _, _, reserve = functional.forward(
        case.cell, d.x, weights, d.state, lengths=d.lengths, seed=seed, training=True,
        **case.options, **noise,
    )  # fmt: skip
    assert reserve is not None
    return reserve.core


def masks_of(case: Case, seed: int, **noise: Any) -> dict[str, Any]:
    """Return the masks that a training call of the case draws, as the reference takes them."""
    core = reserve_of(case, seed, **noise)
    members, states = range(case.L * case.D), range(core.states)
    return {
        "zoneout_masks": [[core.zoneout_mask(k, s) for s in states] for k in members],
        "input_masks": [core.input_mask(layer) for layer in range(case.L)],
        "recurrent_masks": [core.recurrent_mask(k) for k in members],
        "candidate_masks": [core.candidate_mask(k) for k in members],
    }


def assert_as_reference(case: Case, seed: int = 7, **noise: Any) -> None:
    masks = masks_of(case, seed, **noise)
    expected = cases.run_reference(case, **masks)
    results = cases.run_engine(case, seed=seed, **noise)
    cases.assert_close(results, expected, cases.plain_errors(case, **masks), case)


def final_of(case: Case, **options: Any) -> list[np.ndarray]:
    """Return y and the final states of a call that is not training."""
    d = cases.make_data(case)
    y, state, _ = functional.forward(
        case.cell, d.x, cases.weights_of(d), d.state, lengths=d.lengths, **case.options, **options
    )
    return [y, *state]


def dropout_masks(case: Case, dropout: float, seed: int) -> list[np.ndarray]:
    """Return the masks (T, B, D*H) that the engine uses for all layers of the case but the last.

    They are read from vanilla ReLU networks. The layers up to the one in question output 1
    everywhere and the next layer passes its input on, so that the outputs are the mask.
    """
    H, width = case.H, case.D * case.H
    rest = (np.zeros((H, H)), np.zeros(H), np.zeros(H), None)
    data = cases.make_data(case)._replace(state=None)
    if case.indices:
        data = data._replace(x=np.zeros((case.T, case.B, case.I)))
    masks = []
    for boundary in range(case.L - 1):
        weights = []
        for layer, side in itertools.product(range(boundary + 2), range(case.D)):
            if layer <= boundary:
                columns = width if layer else case.I
                weights.append((np.zeros((H, columns)), rest[0], np.ones(H), rest[2], None))
            else:
                weights.append((np.eye(H, width, side * H), *rest))
        probe = data._replace(
            x=data.x.astype(case.dtype),
            weights=[tuple(w if w is None else w.astype(case.dtype) for w in ws) for ws in weights],
        )
        network = replace(case, cell="rnn_relu", L=boundary + 2)
        masks.append(forward(network, probe, dropout=dropout, seed=seed, training=True)[0])
    return masks
