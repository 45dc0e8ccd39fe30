"""The calls that `torch.compile` leaves out of its graphs.

`torch.compiler.disable` imports `torch._dynamo`, which takes longer than all other imports of the
package, so this module is imported by the first call that may be part of a compiled model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from rnnfast.torch.forms import Packed


@torch.compiler.disable  # type: ignore[untyped-decorator]
def forward_packed(layer: Any, x: PackedSequence, *others: Any) -> Any:
    """Run a layer over a `PackedSequence`.

    Shapes depend on the values in `batch_sizes`, which `torch.compile` does not know.
    """
    return layer._forward(Packed(x), x, *others)
