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
        "Model bytes instead of characters, so that any file can be used.",
        checks.boolean,
        panel=MODEL,
    )
    seed: int = option(0, "Seed of the initial weights and of dropout.", checks.count)
    threads: int | None = option(None, "Number of threads.", optional(checks.threads))
    device: str | None = option(None, "Device to train on: cpu or cuda.", optional(text))
    output: str = option(
        "model.safetensors", "File to write the checkpoint to.", text, "--output", "-o", panel=FILES
    )
    log: str | None = option(
        None, "CSV file to write the history to.", optional(text),
        panel=FILES,
    )  # fmt: skip
    tensorboard: str | None = option(
        None, "Folder to write the history to, for TensorBoard.", optional(text), panel=FILES
    )

    def __post_init__(self) -> None:
        check_options(self)
