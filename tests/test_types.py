"""What a type checker infers about programs that use the library."""

from __future__ import annotations

from pathlib import Path

import pytest

import rnnfast

PROGRAM = """
import numpy as np
import numpy.typing as npt
import rnnfast

x = np.zeros((4, 2, 3), np.float32)
gru, lstm, nas = rnnfast.GRU(3, 5), rnnfast.LSTM(3, 5), rnnfast.Recurrent("nas", 3, 5)
y, h = gru(x)
print(h.shape, gru.stream().state.shape, gru.call(x).state.shape)
dx, dh = gru.backward(y, h)
print(dh.shape)
_, (h, c) = lstm(x, (h, h))
print(h.shape, c.shape)
rnnfast.LSTM(3, 5, learn_state=True)(x, (None, c))

seen, last = gru(rnnfast.tensor(x))
out, (ht, ct) = lstm(rnnfast.tensor(x), (last, h))
out, (ht, ct) = lstm(rnnfast.tensor(x), (ht, None), np.array([4, 2]))
logits = rnnfast.Linear(5, 3)(rnnfast.autograd.tanh(out[0] * 2 + last.mean(axis=0)))
rnnfast.cross_entropy(logits @ gru.weight_ih_l0.tensor().T, np.array([0, 1])).backward()
print(logits.grad, float(rnnfast.cross_entropy(logits.value, np.array([0, 1]))))
print(rnnfast.Embedding(3, 5)(rnnfast.tensor([1, 2])).sum().item(), rnnfast.Linear(3, 5)(x).T)


@rnnfast.autograd.takes_tensors
def squares(
    y: npt.ArrayLike, target: npt.NDArray[np.float32], scale: float = 1
) -> tuple[float, npt.NDArray[np.float32]]:
    error = scale * (np.asarray(y, np.float32) - target)
    return float((error * error).sum()), 2 * scale * error


print(squares(logits, x, scale=2).item(), squares(x, x)[1].T)
print(rnnfast.gradcheck(gru, x, parameters=gru.parameters()))


class Model(rnnfast.Module):
    def __init__(self, layer: rnnfast.Recurrent) -> None:
        super().__init__()
        self.layer = layer


Model(gru), Model(lstm), Model(nas)
h.no_such_attribute_of_arrays
"""


def test_states_have_types_by_which_programs_pass_mypy_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pytest.importorskip("mypy.api")
    source = Path(rnnfast.__file__).parent.parent
    if source.name != "site-packages":  # mypy ignores what .pth files add
        monkeypatch.setenv("MYPYPATH", str(source))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = Path(__file__).parent.parent
    output, _, _ = api.run(
        ["--strict", "--config-file", str(root / "pyproject.toml"), "--cache-dir",
         str(tmp_path / "cache"), str(program)]
    )  # fmt: skip
    errors = [line for line in output.splitlines() if "error:" in line]
    assert len(errors) == 1, output
    assert "no_such_attribute_of_arrays" in errors[0]
