#!/usr/bin/env bash
# Builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer beside the installed one,
# for the instruction set that runs here, and runs the tests on it. In an environment (.venv, or that
# of $PYTHON) with rnnfast[test], cmake, ninja, pybind11 and scikit-build-core:
#     tools/test_sanitized.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
site=$PWD/build/sanitized/site

isa=$($python -c 'import rnnfast; print(rnnfast.cpu_info()["isa"])')

rm -rf "$site"
CXX=g++ SKBUILD_CMAKE_DEFINE="RNNFAST_SANITIZE=ON;RNNFAST_CUDA=OFF;RNNFAST_ISAS=$isa" \
  SKBUILD_BUILD_DIR=build/sanitized/build \
  $python -m pip install . --quiet --no-deps --no-build-isolation --target "$site"

# Python itself is not instrumented: the runtime must come first, and its leaks at exit are not ours.
preload="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
export PYTHONPATH=$site ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
LD_PRELOAD=$preload $python -c "import rnnfast; assert rnnfast.__file__.startswith('$site')"
LD_PRELOAD=$preload $python -m pytest "$@"
