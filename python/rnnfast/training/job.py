"""Options of a command line training run other than those of the model and of training."""

from __future__ import annotations

from dataclasses import dataclass

from rnnfast._engine import checks
from rnnfast.training.option import (
    FILES,
    MODEL,
    check_options,
    documented,
    option,
    optional,
    text,
)


@documented
@dataclass(frozen=True)
class JobOptions:
    """Files, machine and seed of a training run."""

    bytes: bool = option(
        False,
        "Read bytes, not characters: any file will do.",
        checks.boolean,
        panel=MODEL,
    )
    seed: int = option(0, "Seed of the weights and of dropout.", checks.count)
    threads: int | None = option(None, "Threads to use.", optional(checks.threads))
    device: str | None = option(None, "Where to train: cpu, cuda.", optional(text))
    output: str = option(
        "model.safetensors", "Checkpoint to write.", text, "--output", "-o", panel=FILES
    )
    log: str | None = option(
        None, "Table of comma-separated values to write the history to.", optional(text),
        panel=FILES,
    )  # fmt: skip
    tensorboard: str | None = option(
        None, "Folder to write the history to, for TensorBoard.", optional(text), panel=FILES
    )

    def __post_init__(self) -> None:
        check_options(self)
