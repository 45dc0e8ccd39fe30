#!/usr/bin/env bash
# Code instrumented by atheris leaks what its comparisons return, unless they return True or False.
#
# Expected: instrumentation reports comparisons to the fuzzer and leaves the program as it is, so that a
# search runs for days in the memory of one input.
# Seen with atheris 3.0.0 and numpy 2.4.1: each array that `array == 3` or `array < 3` returns inside of
# instrumented code is never freed, whatever its size, and so is any object that `__eq__` returns.
# Comparisons that return a bool leak nothing, nor does code that is not instrumented. A search of code
# that compares arrays ends when memory does, which looks like a fault of the code: either instrument
# only what reads the input, or start a new process now and then with the corpus of the last.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --only-binary :all: atheris==3.0.0 numpy==2.4.1

cat >"$folder/leak.py" <<'EOF'
import gc
import tracemalloc

import atheris
import numpy as np


def equal():
    return lambda a: a == 3


def less():
    return lambda a: a < 3


class Answers:
    def __eq__(self, other):
        return bytearray(1000)


def kept(compare, value):
    """Bytes that stay allocated after 1,000 comparisons whose results are dropped, by comparison."""
    compare(value)
    gc.collect()
    tracemalloc.start()
    for _ in range(1000):
        compare(value)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept // 1000


values = {"1,000 numbers": np.zeros(1000), "own class": Answers(), "one number": 4}
for name, value in values.items():
    for compare in (equal, less) if name != "own class" else (equal,):
        plain, instrumented = compare(), atheris.instrument_func(compare())
        for code, function in {"plain": plain, "instrumented": instrumented}.items():
            leaks = "1,000 bytes or more" if kept(function, value) >= 1000 else "nothing"
            print(f"{compare.__name__}, {name}, {code} code: {leaks}")
EOF
"$folder/venv/bin/python" "$folder/leak.py" 2>/dev/null | tee "$folder/out"
diff - "$folder/out" <<'EOF'
equal, 1,000 numbers, plain code: nothing
equal, 1,000 numbers, instrumented code: 1,000 bytes or more
less, 1,000 numbers, plain code: nothing
less, 1,000 numbers, instrumented code: 1,000 bytes or more
equal, own class, plain code: nothing
equal, own class, instrumented code: 1,000 bytes or more
equal, one number, plain code: nothing
equal, one number, instrumented code: nothing
less, one number, plain code: nothing
less, one number, instrumented code: nothing
EOF
echo "as stated"
