"""Train a model of NumPy arrays data-parallel on several processes or machines over MPI.

    pip install mpi4py mpich
    mpiexec -n 2 python examples/data_parallel_mpi.py

To use several machines, start it with `mpiexec -n 4 -hosts a,b,c,d`. It works with any MPI library
that mpi4py finds.

Every process takes its part of each batch. A single message sums the gradients, so that all
processes take the same step as one process would with the whole batch. The task is to sum a
sequence of numbers.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

import rnnfast


def make_model(dtype: str = "float32") -> rnnfast.Sequential:
    """Return a model that reads numbers (T, B, 1) and predicts their sums (B, 1).

    The seeds are fixed, so that every process starts from the same weights.
    """
    return rnnfast.Sequential(
        rnnfast.GRU(1, 64, dtype=dtype, seed=0),
        rnnfast.Last(),
        rnnfast.Linear(64, 1, dtype=dtype, seed=1),
    )


def add_gradients(
    comm: MPI.Intracomm, model: rnnfast.Sequential, x: NDArray[Any], target: NDArray[Any]
) -> float:
    """Add the gradients of a batch to those of the model, and return its mean loss.

    Each process computes the gradients of its part; the parts need not be the same size.
    """
    mine = slice(comm.rank, None, comm.size)
    loss, dy = rnnfast.mse(model(x[:, mine]), target[mine], reduction="sum")
    model.backward(dy / len(target), need_dx=False)
    gradients = [parameter.grad for parameter in model.parameters()]
    together = np.concatenate([gradient.ravel() for gradient in gradients])
    comm.Allreduce(MPI.IN_PLACE, together)
    ends = np.cumsum([gradient.size for gradient in gradients])[:-1]
    for gradient, total in zip(gradients, np.split(together, ends), strict=True):
        gradient[...] = total.reshape(gradient.shape)
    return float(comm.allreduce(loss)) / len(target)


def main() -> None:
    """Train the model and print the loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=128, help="of all processes together")
    options = parser.parse_args()

    comm = MPI.COMM_WORLD
    here = comm.Split_type(MPI.COMM_TYPE_SHARED).size  # processes that share this machine's cores
    rnnfast.set_num_threads(max(1, rnnfast.get_num_threads() // here))
    model = make_model()
    optimizer = rnnfast.Adam(model, lr=0.005)
    data = np.random.default_rng(1)  # the same batches in every process
    for step in range(options.steps):
        x = data.random((20, options.batch, 1), dtype=np.float32)
        loss = add_gradients(comm, model, x, x.sum(0))
        optimizer.step(zero_grad=True)
        if comm.rank == 0 and (step % 50 == 0 or step == options.steps - 1):
            print(f"step {step}: loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
