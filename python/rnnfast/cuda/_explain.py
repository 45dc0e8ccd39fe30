"""The plans of the CUDA engine, with the reasons for them."""

from __future__ import annotations

from typing import Any, NamedTuple

from rnnfast import _core
from rnnfast._engine import checks
from rnnfast._engine.known import name_of
from rnnfast.cuda import _engines
from rnnfast.cuda._devices import VIRTUAL, Properties
from rnnfast.reference import Cell

# The planner's names of the types of factors in products.
DTYPES = {"float32": "full", "bfloat16": "bfloat16", "bfloat16x3": "bfloat16x3"}
# The largest sizes: T and I are counted in 32 bits, plans support B and H up to their limit.
LARGEST = {"T": 2**31 - 1, "B": 2**24, "I": 2**31 - 1, "H": 2**24}


class Plan(NamedTuple):
    """The plan of one pass of one layer in one direction.

    Attributes:
        kernel: "grid" (float32 multiply-adds and one barrier per step), one on tensor cores:
            "block" (a block computes all hidden units), "cluster" (h is exchanged through
            distributed shared memory), "flags" (blocks poll each other's h); or "gemm" (one matrix
            product per step).
        units, slices: Hidden units of a block, and number of blocks that share all units.
        rows, sub_batches: Sequences of a block, and number of parts of the batch.
        threads, cluster: Threads of a block, blocks of a cluster.
        shared_bytes: Dynamic shared memory of a block.
        cooperative: Whether all blocks must be on the device at once.
        resident: Number of such blocks that fit on the device at once.
        step_seconds: The estimated time of a step. The next fields are its parts: products,
            exchange, synchronisation and the pointwise part follow each other, and memory traffic
            overlaps with them.
        reason: The estimates of the other kernels, or the reasons why they cannot run.
    """

    kernel: str
    units: int
    slices: int
    rows: int
    sub_batches: int
    threads: int
    cluster: int
    shared_bytes: int
    cooperative: bool
    resident: int
    step_seconds: float
    products_seconds: float
    exchange_seconds: float
    synchronisation_seconds: float
    pointwise_seconds: float
    memory_seconds: float
    reason: str


class Explanation(NamedTuple):
    """The plans of a layer; `print` shows them as text.

    Attributes:
        title: The cell, sizes and device of the layer.
        device: Properties of the device.
        steps: T.
        forward: The plan of the forward pass in one direction.
        backward: That of the backward pass.
    """

    title: str
    device: Properties
    steps: int
    forward: Plan
    backward: Plan

    def __str__(self) -> str:
        return "\n".join(
            [
                self.title,
                *self._lines("forward", self.forward),
                *self._lines("backward", self.backward),
                "The times are estimates from data sheets, not measurements.",
            ]
        )

    def _lines(self, name: str, p: Plan) -> list[str]:
        lines = [f"{name}: {p.kernel}"]
        if p.kernel != "gemm":
            together = "all at once" if p.cooperative else f"clusters of {p.cluster}"
            together = "" if p.cluster == 1 and not p.cooperative else f", {together}"
            lines += [
                f"  blocks    {p.slices * p.sub_batches} = {p.slices} slices of {p.units} units x "
                f"{p.sub_batches} sub-batches of {p.rows} sequences{together}; {p.resident} fit "
                "on the device",
                f"  a block   {p.threads} threads, {p.shared_bytes:,} of "
                f"{self.device['shared_per_block']:,} bytes of shared memory",
            ]
        parts = ("products", "exchange", "synchronisation", "pointwise", "memory")
        shares = ", ".join(f"{s} {_microseconds(getattr(p, f'{s}_seconds'))}" for s in parts)
        lines.append(
            f"  estimate  {_microseconds(p.step_seconds)} us a step ({shares}), "
            f"{1e3 * p.step_seconds * self.steps:.3f} ms in all"
        )
        return [*lines, f"  because   {p.reason}"]


def explain(
    cell: str | Cell,
    T: int,
    B: int,
    I: int,
    H: int,
    dtype: str = "float32",
    *,
    device: str | None = None,
    kernel: str | None = None,
) -> Explanation:
    """Return the kernels that a layer uses on a device, their resources and a roofline estimate.

    The estimate does not include the input product and the gradients of weights, which are matrix
    products before and after the loop over the steps.

    Args:
        cell: A cell, or the name of one.
        T: Steps.
        B: Sequences.
        I: Size of the input.
        H: Hidden units.
        dtype: What products multiply: "float32", "bfloat16", or "bfloat16x3", which is float32 as
            pairs of bfloat16 (`set_float32_matmul_precision("high")`).
        device: A device that need not be there, one of `VIRTUAL_DEVICES`; None for the present one.
        kernel: Explain this kernel, even if others are faster or it is not in this build.

    Raises:
        ValueError: A name or size is wrong, or the kernel cannot run.
        DeviceError: There is no device, and none was named.
    """
    cell = name_of(cell)
    sizes = {"T": T, "B": B, "I": I, "H": H}
    for name, value in sizes.items():
        checks.integer(name, value, 1, LARGEST[name])
    checks.choice("dtype", dtype, DTYPES)
    if device is None:
        properties = _engines.engine().properties()
    else:
        properties = VIRTUAL[checks.choice("device", device, VIRTUAL)]

    def plan(*, backward: bool) -> Plan:
        made: dict[str, Any] = _core.cuda_plan(
            cell=cell,
            batch=B,
            hidden=H,
            products=DTYPES[dtype],
            backward=backward,
            device=properties,
            kernels=None if kernel is None else [kernel],
        )
        return Plan(**made)

    capability = properties["capability"]
    title = (
        f"{cell}, {', '.join(f'{n} = {v}' for n, v in sizes.items())}, products in {dtype}, on "
        f"{properties['name']} (compute capability {capability // 10}.{capability % 10}, "
        f"{properties['multiprocessors']} multiprocessors)"
    )
    return Explanation(title, properties, T, plan(backward=False), plan(backward=True))


def _microseconds(seconds: float) -> str:
    return f"{1e6 * seconds:.2f}"
