#!/usr/bin/env bash
# NumPy: an array from a pickle of protocol 4 or below can be set read-only once, and never writable
# again, if it has more than about 1,000 bytes: it then lies in the pickle's own `bytes` object. Right
# after loading it is writable, so nothing tells it from other arrays. `copy.deepcopy` gives one that
# can be switched; so do protocol 5 and small arrays. Protocol 4 is what `pickle.dumps` takes by
# default up to Python 3.13.
# Seen with numpy 2.4.6: protocols 2, 3 and 4 stay read-only, protocol 5 does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import pickle

import numpy as np


def can_be_switched(size, protocol):
    array = pickle.loads(pickle.dumps(np.zeros(size, np.float32), protocol=protocol))
    assert array.flags.writeable
    array[0] = 1
    array.flags.writeable = False
    try:
        array.flags.writeable = True
    except ValueError:
        return False
    return True


seen = {(size, p): can_be_switched(size, p) for size in (100, 2000) for p in (2, 3, 4, 5)}
for (size, protocol), switched in seen.items():
    print(f"{size} float32, protocol {protocol}:", "writable again" if switched else "read-only for ever")
assert all(seen[100, p] for p in (2, 3, 4, 5))
assert [seen[2000, p] for p in (2, 3, 4, 5)] == [False, False, False, True]
PYTHON
