#!/usr/bin/env bash
# PyTorch: whether a recurrent module works under `torch.func` depends on the module. Gradients per
# sample, `vmap(grad(loss))`, work for nn.LSTM, but raise for nn.GRU and for all three cells, with a
# message about a broadcast shape. `vmap` of the forward pass alone works for GRUCell and RNNCell,
# and raises for LSTMCell, LSTM and GRU, which have no batching rule.
# Seen with torch 2.13.0 on x86-64:
#   Linear ok ok / RNNCell raises ok / GRUCell raises ok / LSTMCell raises raises / GRU raises raises
#   / LSTM ok raises
#   (gradients per sample, forward)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.func import functional_call, grad, vmap


def outcome(function, *arguments):
    try:
        function(*arguments)
    except RuntimeError as error:
        assert "broadcast shape" in str(error) or "Batching rule" in str(error), error
        return "raises"
    return "ok"


def outcomes(module, x):
    parameters = dict(module.named_parameters())

    def loss(parameters, x):
        result = functional_call(module, parameters, (x,))
        return (result[0] if isinstance(result, tuple) else result).sum()

    return [
        outcome(vmap(grad(loss), (None, 0)), parameters, x),
        outcome(vmap(loss, (None, 0)), parameters, x),
    ]


sample, sequence = torch.randn(3, 2, 5), torch.randn(3, 4, 2, 5)  # three samples
seen = {c.__name__: outcomes(c(5, 7), sample) for c in (nn.Linear, nn.RNNCell, nn.GRUCell, nn.LSTMCell)}
seen |= {c.__name__: outcomes(c(5, 7), sequence) for c in (nn.GRU, nn.LSTM)}
for name, results in seen.items():
    print(name, *results)
assert seen == {
    "Linear": ["ok", "ok"],
    "RNNCell": ["raises", "ok"],
    "GRUCell": ["raises", "ok"],
    "LSTMCell": ["raises", "raises"],
    "GRU": ["raises", "raises"],
    "LSTM": ["ok", "raises"],
}, seen
PYTHON
