#!/usr/bin/env bash
# PyTorch: one logit of -inf, a class that is masked out at one step and not even a label, makes the
# gradient of ctc_loss NaN at that step, for all classes, though the loss is finite and the same as with
# a logit of -1000. `zero_infinity=True` changes nothing. The CPU kernel takes exp(sum + loss - log_p) of
# a sum and a log_p that are both -inf; log_softmax then spreads the NaN over the step.
# Seen with torch 2.13.0 on x86-64, float64: losses 2.0794415417 and 2.0794415417;
#   NaN by step [0, 4, 0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.nn.functional import ctc_loss


def run(masked, **options):
    x = torch.zeros(3, 1, 4, dtype=torch.float64)
    x[1, 0, 3] = masked
    x.requires_grad_()
    lengths = torch.tensor([3]), torch.tensor([1])
    loss = ctc_loss(x.log_softmax(-1), torch.tensor([[1]]), *lengths, **options)
    loss.backward()
    return loss.item(), x.grad[:, 0]


usual, good = run(-1000.0)
loss, gradient = run(-float("inf"))
print(f"losses {usual:.10f} and {loss:.10f}; NaN by step {gradient.isnan().sum(-1).tolist()}")
assert loss == usual
assert good.isfinite().all()
assert gradient.isnan().sum(-1).tolist() == [0, 4, 0]
assert run(-float("inf"), zero_infinity=True)[1].isnan().sum() == 4
PYTHON
