"""What fits into memory, asked before it is allocated."""

from __future__ import annotations

import os


def check_memory(what: str, size: int) -> None:
    """Check that `size` bytes are not more than the machine has.

    Raises:
        ValueError: They are; the message begins with `what`.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > total:
        raise ValueError(
            f"{what} {size / 2**30:,.1f} GiB of memory, but this machine has {total / 2**30:,.1f}"
        )
