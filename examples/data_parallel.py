"""Train a recurrent PyTorch model data-parallel on several processes or machines.

    pip install torch
    torchrun --nproc-per-node 2 examples/data_parallel.py

To use several machines, start the same script on each of them:

    torchrun --nnodes 4 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint HOST:29500 \
        examples/data_parallel.py

Every process trains on its part of each batch. DistributedDataParallel averages the gradients, so
that all processes take the same steps as one process would with the whole batch. The task is to sum
a sequence of numbers.
"""

from __future__ import annotations

import argparse

import torch
import torch.distributed as dist
from torch import Tensor, nn

import rnnfast.torch


class Summer(nn.Module):
    """A model that reads a sequence of numbers and predicts their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = rnnfast.torch.GRU(1, 64, batch_first=True)
        self.readout = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences (B, T, 1) to their predicted sums (B,)."""
        _, h = self.rnn(x)
        return self.readout(h[-1]).squeeze(-1)


def main() -> None:
    """Train the model and print the loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=128, help="of all processes together")
    options = parser.parse_args()

    dist.init_process_group("gloo")  # torchrun sets RANK, WORLD_SIZE and the address
    rank, processes = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(Summer())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    data = torch.Generator().manual_seed(1)  # the same batches in every process
    for step in range(options.steps):
        x = torch.rand(options.batch, 20, 1, generator=data)
        mine = x[rank::processes]
        loss = nn.functional.mse_loss(model(mine), mine.sum((1, 2)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0 or step == options.steps - 1:
            total = loss.detach()
            dist.all_reduce(total)
            if rank == 0:
                print(f"step {step}: loss {total.item() / processes:.4f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
