#!/usr/bin/env bash
# PyTorch: whether the output of a recurrent layer may be changed in place before backward depends on
# the layer and on its dtype. RNN and GRU allow it always, and LSTM in float64; LSTM in float32 and
# bfloat16 raises, because oneDNN's kernel reads its output again. Turning oneDNN off allows it.
# Seen with torch 2.13.0 on x86-64:
#   RNN ok ok ok / GRU ok ok ok / LSTM raises ok raises / LSTM without oneDNN ok ok ok
#   (float32, float64, bfloat16)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn


def outcome(layer_class, dtype):
    y, _ = layer_class(3, 4, dtype=dtype)(torch.randn(5, 2, 3, dtype=dtype))
    y.mul_(2)
    try:
        y.sum().backward()
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error), error
        return "raises"
    return "ok"


def outcomes(layer_class):
    return [outcome(layer_class, t) for t in (torch.float32, torch.float64, torch.bfloat16)]


seen = {c.__name__: outcomes(c) for c in (nn.RNN, nn.GRU, nn.LSTM)}
with torch.backends.mkldnn.flags(enabled=False):
    seen["LSTM without oneDNN"] = outcomes(nn.LSTM)
for name, results in seen.items():
    print(name, *results)
assert torch.backends.mkldnn.is_available()
assert seen["LSTM"] == ["raises", "ok", "raises"], seen["LSTM"]
assert all(r == ["ok"] * 3 for name, r in seen.items() if name != "LSTM"), seen
PYTHON
