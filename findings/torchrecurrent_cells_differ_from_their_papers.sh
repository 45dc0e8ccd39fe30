#!/usr/bin/env bash
# torchrecurrent: three of its cells are not those of the papers that their documentation cites.
# - NASCell (Zoph and Le 2017) adds the two products of all eight gates. In its authors' code
#   (TensorFlow's NASCell) the fourth gate multiplies them. TensorFlow's own test of that cell states
#   its output for weights of 0.5, states of 0.1 and inputs of 1, 2 and 3; this cell's output differs.
# - MUT1Cell and MUT2Cell (Jozefowicz et al. 2015) multiply the input with a matrix where the paper
#   has the input itself, tanh(x) in MUT1's candidate and x in MUT2's reset gate. With a weight_ih of
#   zeros the paper's cells still see the input; these do not.
# Seen with torchrecurrent 0.2.5 and torch 2.13.0:
#   NASCell 0.618672 0.630180 0.630712 authors' 0.576751 0.618936 0.627393
#   change of the output with the input: MUT1Cell 0.0 paper 0.1852 / MUT2Cell 0.0 paper 0.0251
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 torchrecurrent==0.2.5
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import sigmoid, tanh
from torchrecurrent import MUT1Cell, MUT2Cell, NASCell


def filled(cell, **values):
    """A cell with constant parameters: by the start of their names, 0 for the others."""
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.fill_(next((v for k, v in values.items() if name.startswith(k)), 0.0))
    return cell


cell = filled(NASCell(4, 6), weight=0.5)
x = torch.tensor([[1.0] * 4, [2.0] * 4, [3.0] * 4])
with torch.no_grad():
    h, _ = cell(x, (torch.full((3, 6), 0.1), torch.full((3, 6), 0.1)))
authors = torch.tensor([0.576751, 0.618936, 0.627393])  # of tensorflow's rnn_cell_test.py
print("NASCell", *(f"{v:.6f}" for v in h[:, 0]), "authors'", *(f"{v:.6f}" for v in authors))
assert (h == h[:, :1]).all()
assert (h[:, 0] - authors).abs().min() > 1e-3


def mut1(x, h):
    n = tanh(0.5 * (sigmoid(0.5 * h) * h) + tanh(x))
    return n * sigmoid(torch.zeros(())) + h * sigmoid(torch.zeros(()))


def mut2(x, h):
    n = tanh(0.5 * (sigmoid(x + 0.5 * h) * h))
    z = sigmoid(0.5 * h)
    return n * z + h * (1 - z)


h = torch.full((1, 1), 0.8)
for cell_class, paper in ((MUT1Cell, mut1), (MUT2Cell, mut2)):
    cell = filled(cell_class(1, 1), weight_hh=0.5)
    x = torch.zeros((1, 1)), torch.full((1, 1), 0.5)
    with torch.no_grad():
        change = (cell(x[1], h) - cell(x[0], h)).item()
    expected = (paper(x[1], h) - paper(x[0], h)).item()
    print(cell_class.__name__, change, "paper", f"{expected:.4f}")
    assert change == 0
    assert expected > 0.01
PYTHON
