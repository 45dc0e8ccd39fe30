"""Files of `torch.save` before PyTorch 1.6: pickles one after the other, then the storages.

The pickles are a number that marks the format, its version, facts about the machine, the content,
and the keys of the storages in the order in which they follow: each as the count of its elements
and the elements themselves.
"""

from __future__ import annotations

import io
import struct

from rnnfast.exchange.files import elements, torch_pickle
from rnnfast.exchange.files.content import Budget, Content

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the pickle of the number
_VERSION = 1001


def read(data: bytes) -> Content:
    """Return the tensors of a file by the names that lead to them, such as "model.rnn.weight"."""
    stream = io.BytesIO(data)
    stream.seek(len(MAGIC))
    version, machine = (torch_pickle.run(stream)[0] for _ in range(2))
    if version != _VERSION:
        raise ValueError(f"expected version {_VERSION} of the format, got {version!r}")
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("expected a little-endian file")
    content, dtypes = torch_pickle.run(stream)
    keys, _ = torch_pickle.run(stream)
    storages = _storages(data, stream.tell(), keys, dtypes)
    budget = Budget(len(data))
    arrays = {
        name: torch_pickle.array(tensor, storages[tensor.storage.key], budget)
        for name, tensor in torch_pickle.flat(content).items()
    }
    return Content(arrays)


def _storages(data: bytes, start: int, keys: list[str], dtypes: dict[str, str]) -> dict[str, bytes]:
    """Return the bytes of each storage, which follow each other from `start` on."""
    result = {}
    for key in keys:
        (count,) = struct.unpack_from("<q", data, start)
        start += 8
        end = start + count * elements.size(dtypes[key])
        if not start <= end <= len(data):
            raise ValueError(f"the storage {key!r} reaches beyond the file")
        result[key] = data[start:end]
        start = end
    return result
