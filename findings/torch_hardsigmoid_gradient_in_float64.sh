#!/usr/bin/env bash
# PyTorch: the gradient of hardsigmoid in float64 has the accuracy of float32. Its slope is 1/6, which
# the CPU kernel rounds to float32 whatever the dtype, so that gradients of float64 are wrong by
# 3e-8 of their value. The function itself, and its equal relu6(x + 3) / 6, are exact to float64.
# Seen with torch 2.13.0 on x86-64: gradient - 1/6 = 4.967e-09; of relu6(x + 3) / 6: 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.nn.functional import hardsigmoid, relu6


def error(function):
    x = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    function(x).backward()
    return abs(x.grad.item() - 1 / 6)


of_kernel, of_equal = error(hardsigmoid), error(lambda x: relu6(x + 3) / 6)
print(f"gradient - 1/6 = {of_kernel:.3e}; of relu6(x + 3) / 6: {of_equal}")
assert of_kernel > 1e-9
assert of_equal < 1e-16
PYTHON
