#!/usr/bin/env bash
# A value that pybind11 returns to Python is never destroyed if memory ends while it is registered.
#
# Expected: a function of a module that returns an object by value and finds no memory raises
# MemoryError, and C++ destroys the value, as it does wherever std::bad_alloc unwinds the stack.
# Seen with pybind11 3.1.0 and g++: MemoryError is raised, but of the two allocations that a returned
# value takes, a failure of the second, an entry of pybind11's table of instances, frees the memory
# of the value without its destructor. What the value owns (buffers, locks, open files) is lost for
# good. To be safe, let the Python object refer to the value first, and own it once it is registered.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pybind11==3.1.0

cat >"$folder/allocator.cpp" <<'EOF'
#include <cstdlib>
#include <new>

static long count = 0, failing = 0;
extern "C" void fail(long call) { count = 0, failing = call; }
extern "C" long counted() { return failing = 0, count; }

void* operator new(std::size_t size) {
  if (++count == failing) throw std::bad_alloc();
  return std::malloc(size);
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
EOF
cat >"$folder/things.cpp" <<'EOF'
#include <pybind11/pybind11.h>

static int alive = 0;

struct Thing {
  Thing() { ++alive; }
  Thing(Thing&&) { ++alive; }
  ~Thing() { --alive; }
};

PYBIND11_MODULE(things, m) {
  pybind11::class_<Thing>(m, "Thing");
  m.def("made", [] { return Thing(); });
  m.def("alive", [] { return alive; });
}
EOF
cat >"$folder/run.py" <<'EOF'
import ctypes
import sys

import things

allocator = ctypes.CDLL(sys.argv[1])
things.made()
allocator.fail(0)
things.made()
for call in range(1, allocator.counted() + 1):
    before = things.alive()
    allocator.fail(call)
    try:
        things.made()
    except MemoryError:
        print(f"MemoryError, {things.alive() - before} left alive")
EOF
compile=(g++ -std=c++17 -O1 -shared -fPIC)
# shellcheck disable=SC2046
"${compile[@]}" $("$folder/venv/bin/python" -m pybind11 --includes) "$folder/things.cpp" -o \
  "$folder/things$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
"${compile[@]}" "$folder/allocator.cpp" -o "$folder/allocator.so"
LD_PRELOAD=$folder/allocator.so PYTHONPATH=$folder "$folder/venv/bin/python" "$folder/run.py" \
  "$folder/allocator.so" | tee "$folder/out"
diff - "$folder/out" <<'EOF'
MemoryError, 0 left alive
MemoryError, 1 left alive
EOF
echo "as stated"
