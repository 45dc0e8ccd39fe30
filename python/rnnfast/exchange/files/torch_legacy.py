"""Files of `torch.save` of PyTorch before 1.6: pickles, and the storages one after another.

The first pickles are a number by which the format is known, its version and the byte order. Then
come the pickle of what was saved, a pickle of the keys of storages, and for each key the number of
elements and the elements.
"""

from __future__ import annotations

import io
import struct

from rnnfast.exchange.files import elements
from rnnfast.exchange.files.content import Budget, Content
from rnnfast.exchange.files.torch_pickle import array, flat, unpickled

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_VERSION = 1001


def read(data: bytes) -> Content:
    """Return the tensors of a file by the names that lead to them, such as "model.rnn.weight"."""
    file, budget = io.BytesIO(data), Budget(len(data))
    file.seek(len(MAGIC))
    (version, _), (system, _) = unpickled(file), unpickled(file)
    if version != _VERSION:
        raise ValueError(f"expected version {_VERSION} of the format, got {version!r}")
    if system["little_endian"] is not True:
        raise ValueError("expected a little-endian file")
    value, types = unpickled(file)
    keys, _ = unpickled(file)
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        size = elements.size_of(types[key]) * count
        budget.take("a storage", (size,))
        storages[key] = file.read(size)
        if len(storages[key]) != size:
            raise ValueError("the file ends inside a storage")
    return Content(
        {name: array(t, storages[t.storage.key], budget) for name, t in flat(value).items()}
    )
