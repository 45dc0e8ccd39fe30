"""Check that no kernel object exports a symbol outside the namespace of its instruction set.

    python tools/check_symbols.py BUILD_DIRECTORY

If two instruction sets share a weak function, the linker keeps only one copy, and the copy compiled
with AVX-512 could end up in the baseline's code. The script prints each offence and exits with 1 if
there is one or if there are no kernel objects.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OBJECT = re.compile(
    r"rnnfast_(?P<isa>[a-z0-9]+)_(float|double|Bf16Converted|Bf16Dot|Int8Multiplied|Int8Dot)\.dir/"
)


def exported(path: Path) -> list[tuple[str, str]]:
    """Return (type, mangled name) of each symbol that an object exports: strong, weak or unique."""
    lines = subprocess.run(
        ["nm", "--defined-only", "--extern-only", "--format=posix", str(path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [(fields[1], fields[0]) for fields in map(str.split, lines)]


def offences(path: Path, isa: str) -> Iterator[str]:
    """Yield the symbols of an object that lie outside rnnfast::<isa>.

    Guards, local statics and type data of that namespace's members count as part of it.
    """
    own = re.compile(rf"_Z(GV|T[VISCT]|Z)*N[KVrOR]*7rnnfast{len(isa)}{isa}")
    for kind, name in exported(path):
        if not own.match(name):
            yield f"{path}: exports {name} ({kind}), outside rnnfast::{isa}"


def main(build: Path) -> int:
    """Run the check on every kernel object below `build`."""
    objects = {
        path: match["isa"]
        for path in sorted(build.glob("**/*.o"))
        if (match := OBJECT.search(path.as_posix()))
    }
    found = [offence for path, isa in objects.items() for offence in offences(path, isa)]
    for offence in found:
        print(offence)
    print(f"{len(objects)} kernel objects, {len(found)} symbols outside their namespace")
    return 1 if found or not objects else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: check_symbols.py BUILD_DIRECTORY")
    sys.exit(main(Path(sys.argv[1])))
