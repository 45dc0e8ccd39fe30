"""Files of `torch.save`, which are archives since PyTorch 1.6."""

from __future__ import annotations

import io
import zipfile

from rnnfast.exchange.files.content import Budget, Content
from rnnfast.exchange.files.torch_pickle import Storage, array, flat, unpickled


def read(archive: zipfile.ZipFile, size: int) -> Content:
    """Return the tensors of a file by the names that lead to them, such as "model.rnn.weight"."""
    members = {info.filename: info for info in archive.infolist()}
    program = next(name for name in members if name.endswith("/data.pkl"))
    folder, budget = program.removesuffix("data.pkl"), Budget(size)
    if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("expected a little-endian file")
    budget.take(program, (members[program].file_size,))
    value, _ = unpickled(io.BytesIO(archive.read(program)))
    tensors = flat(value)
    storages: dict[str, bytes] = {}

    def bytes_of(storage: Storage) -> bytes:
        if storage.key not in storages:
            info = members[f"{folder}data/{storage.key}"]
            budget.take(info.filename, (info.file_size,))
            storages[storage.key] = archive.read(info)
        return storages[storage.key]

    return Content({name: array(t, bytes_of(t.storage), budget) for name, t in tensors.items()})
