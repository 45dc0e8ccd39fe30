"""`rnnfast.torch` in several processes: data-parallel training, DataLoader workers, forks."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

ROOT = Path(__file__).resolve().parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

PARALLEL = """
import sys, torch, torch.distributed as dist
import rnnfast.torch as fast

def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 6), fast.LSTM(6, 33, 2, bidirectional=True))

dist.init_process_group("gloo")
torch.manual_seed(1)
x = torch.randn(9, 8, 5)
parallel = torch.nn.parallel.DistributedDataParallel(model())
mine = x[:, dist.get_rank() :: 2]
for _ in range(3):  # the buckets of gradients are laid out anew after the first step
    parallel.zero_grad()
    y, (h, c) = parallel(mine)
    (y.square().mean() + c.square().mean()).backward()
alone = model()
y, (h, c) = alone(x)
(y.square().mean() + c.square().mean()).backward()
for (name, p), q in zip(alone.named_parameters(), parallel.parameters(), strict=True):
    torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-8, msg=name)
dist.destroy_process_group()
"""


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_two_processes_give_the_gradients_of_one(tmp_path: Path) -> None:
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL)
    run([*TORCHRUN, str(script)])


def test_the_example_learns() -> None:
    output = run([*TORCHRUN, str(ROOT / "examples" / "data_parallel.py"), "--steps", "101"])
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", output)]
    assert len(losses) == 3
    assert losses[-1] < losses[0] / 20


WORKERS = """
import torch, rnnfast.torch as fast
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(2)
layer = fast.LSTM(64, 256)
x = torch.randn(4, 20, 32, 64)
expected = [layer(one)[0].detach() for one in x]  # the pool of threads exists from here on

class Encoded(Dataset):
    def __len__(self):
        return len(x)

    def __getitem__(self, i):
        y, _ = layer(x[i])
        (gradient,) = torch.autograd.grad(y.sum(), layer.weight_ih_l0)
        assert gradient.isfinite().all()
        return y.detach()

if __name__ == "__main__":
    for workers in (0, 2):
        for got, other in zip(DataLoader(Encoded(), batch_size=None, num_workers=workers,
                                         timeout=60 * (workers > 0)), expected, strict=True):
            assert torch.equal(got, other)
    assert torch.equal(layer(x[0])[0], expected[0])
"""


def test_workers_of_a_data_loader_compute(tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(textwrap.dedent(WORKERS))
    run([sys.executable, str(script)])
