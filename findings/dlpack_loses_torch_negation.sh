#!/usr/bin/env bash
# PyTorch and NumPy: `numpy.from_dlpack` of a tensor that is lazily negated gives the wrong sign. The
# imaginary part of a conjugated tensor is such a view: its memory holds the opposite, and a bit says
# so. `tensor.numpy()` refuses it, and the export by DLPack refuses the conjugate bit; of the negative
# bit it says nothing. `torch.from_dlpack` of the same tensor has the wrong sign as well.
# Seen with torch 2.13.0 and numpy 2.4.6: torch [-2, 4], numpy [2, -4].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import torch

conjugated = torch.tensor([1 + 2j, 3 - 4j]).conj()
part = conjugated.imag
seen = np.from_dlpack(part)
print("torch", part.tolist(), "numpy", seen.tolist(), "is_neg", part.is_neg())
assert part.tolist() == [-2.0, 4.0]
assert seen.tolist() == [2.0, -4.0]
assert torch.from_dlpack(part).tolist() == [2.0, -4.0]
assert np.from_dlpack(part.resolve_neg()).tolist() == part.tolist()
try:
    part.numpy()
    raise SystemExit("numpy() took it")
except RuntimeError as error:
    print("numpy():", str(error).split(".")[0])
try:
    np.from_dlpack(conjugated)
    raise SystemExit("DLPack exported the conjugate bit")
except BufferError as error:
    print("conjugated:", error)
PYTHON
