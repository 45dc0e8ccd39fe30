#!/usr/bin/env bash
# PyTorch: ctc_loss takes the blank as a label without a word and counts alignments more than once, so
# that the "probability" may exceed 1 and the loss be negative. Padding of targets with 0, the default
# blank, together with a target length that includes the padding does this.
# Seen with torch 2.13.0 on x86-64: uniform probabilities, 5 steps of 2 classes, target [1, 0]:
#   loss = -0.0896, a probability of 1.0938
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import math

import torch
from torch.nn.functional import ctc_loss

log_probs = torch.zeros(5, 1, 2, dtype=torch.float64).log_softmax(-1)
lengths = torch.tensor([5]), torch.tensor([2])
loss = ctc_loss(log_probs, torch.tensor([[1, 0]]), *lengths, reduction="sum").item()
print(f"loss = {loss:.4f}, a probability of {math.exp(-loss):.4f}")
assert loss < 0
PYTHON
