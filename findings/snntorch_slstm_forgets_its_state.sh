#!/usr/bin/env bash
# snnTorch: SLSTM starts every step from zeros unless input_size equals hidden_size, also if it is
# given its states, so that it is no recurrent network. The documented equations take syn and mem of
# the last step; the code replaces states whose shape is not that of the input (batch, input_size),
# while its states have the shape (batch, hidden_size). weight_hh then gets a gradient of exactly 0.
# Nothing warns of it, and the example in its documentation (784 inputs, 1000 units) is such a case.
# Seen with snntorch 1.0.0 and torch 2.13.0, states passed by the caller:
#   4 inputs, 4 units: differs from the equations by 8e-08, from those without a past by 0.6
#   3 inputs, 4 units: differs from the equations by 0.3, from those without a past by 7e-08
# The same with init_hidden=True, where the layer keeps its states itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps snntorch==1.0.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import snntorch
import torch

STEPS, BATCH, HIDDEN = 6, 2, 4


def equations(cell, x, keep):
    """Return mem of each step, by the equations of SLSTM's documentation; from zeros if not keep."""
    w_ih, w_hh, b_ih, b_hh = (p.detach().double().numpy() for p in cell.parameters())
    syn = mem = np.zeros((BATCH, HIDDEN))
    result = []
    for step in x.double().numpy():
        if not keep:
            syn, mem = np.zeros_like(syn), np.zeros_like(mem)
        i, f, g, o = np.split(step @ w_ih.T + b_ih + mem @ w_hh.T + b_hh, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
        syn = f * syn + i * np.tanh(g)
        mem = o * np.tanh(syn)
        result.append(mem)
    return np.array(result)


for inputs in (HIDDEN, HIDDEN - 1, HIDDEN + 1):
    for kept in (False, True):
        torch.manual_seed(0)
        layer = snntorch.SLSTM(inputs, HIDDEN, init_hidden=kept, output=True)
        with torch.no_grad():
            for parameter in layer.lstm_cell.parameters():
                parameter.uniform_(-1, 1)
        x = torch.randn(STEPS, BATCH, inputs)
        states = (torch.zeros(BATCH, HIDDEN),) * 2
        mems = []
        for step in x:
            _, *states = layer(step) if kept else layer(step, *states)
            mems.append(states[1])
        mem = torch.stack(mems)
        mem.sum().backward()
        gradient = layer.lstm_cell.weight_hh.grad.abs().max().item()
        documented, without_past = (
            np.abs(mem.detach().numpy() - equations(layer.lstm_cell, x, keep)).max()
            for keep in (True, False)
        )
        print(
            f"{inputs} inputs, {HIDDEN} units, init_hidden={kept}: differs from the equations by "
            f"{documented:.0e}, from those without a past by {without_past:.0e}; "
            f"gradient of weight_hh {gradient:.2g}"
        )
        right, wrong = (documented, without_past) if inputs == HIDDEN else (without_past, documented)
        assert right < 1e-5
        assert wrong > 0.05
        assert (gradient == 0) == (inputs != HIDDEN)
PYTHON
