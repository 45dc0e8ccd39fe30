"""Properties of devices for which plans can be made without the hardware."""

from __future__ import annotations

from typing import Any

Properties = dict[str, Any]  # the fields of `DeviceProperties` in src/cuda/device_properties.h

_KIB = 1024


def _properties(
    name: str,
    capability: int,
    multiprocessors: int,
    max_cluster: int,
    shared: int,
    threads: int,
    blocks: int,
) -> Properties:
    reserved = _KIB if capability >= 80 else 0  # the system reserves this much of each block
    return {
        "name": name,
        "capability": capability,
        "multiprocessors": multiprocessors,
        "max_cluster": max_cluster,
        "shared_per_block": shared * _KIB - reserved,
        "shared_per_multiprocessor": shared * _KIB,
        "threads_per_multiprocessor": threads,
        "blocks_per_multiprocessor": blocks,
        "registers_per_multiprocessor": 65536,
    }


# Source: the table of technical specifications by compute capability in the CUDA C++ Programming
# Guide, and the data sheets' counts of multiprocessors.
VIRTUAL = {
    device["name"]: device
    for device in (
        _properties("H100", 90, 132, 16, 228, 2048, 32),
        _properties("A100", 80, 108, 1, 164, 2048, 32),
        _properties("B200", 100, 148, 16, 228, 2048, 32),
        _properties("RTX 5090", 120, 170, 8, 100, 1536, 24),
        _properties("T4", 75, 40, 1, 64, 1024, 16),
        _properties("one multiprocessor", 80, 1, 1, 100, 1536, 16),
    )
}
