#!/usr/bin/env bash
# Builds the extension with sanitizers, next to the installed one and for the instruction set in use
# here, and tests it. In an environment (.venv, or that of $PYTHON) with rnnfast[test], cmake,
# ninja, pybind11 and scikit-build-core:
#     tools/test_sanitized.sh address [PYTEST ARGUMENTS]   AddressSanitizer, UndefinedBehaviorSanitizer
#     tools/test_sanitized.sh thread [PYTEST ARGUMENTS]    ThreadSanitizer; without arguments it runs
#                                                          the tests that are about threads
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
sanitizer=${1:-}
if [[ $sanitizer != address && $sanitizer != thread ]]; then
  echo "usage: tools/test_sanitized.sh address|thread [PYTEST ARGUMENTS]" >&2
  exit 2
fi
arguments=("${@:2}")
run=()
site=$PWD/build/sanitized/$sanitizer/site

isa=$($python -c 'import rnnfast; print(rnnfast.cpu_info()["isa"])')

rm -rf "$site"
CXX=g++ SKBUILD_CMAKE_DEFINE="RNNFAST_SANITIZE=$sanitizer;RNNFAST_CUDA=OFF;RNNFAST_ISAS=$isa" \
  SKBUILD_BUILD_DIR=build/sanitized/$sanitizer/build \
  $python -m pip install . --quiet --no-deps --no-build-isolation --target "$site"

export PYTHONPATH=$site
case $sanitizer in
  address) # Python itself is not instrumented: its leaks at exit are not ours
    library=libasan.so
    export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
    ;;
  thread) # daemon threads that are at work when a process ends are what some tests are about
    library=libtsan.so
    export TSAN_OPTIONS="halt_on_error=1 die_after_fork=0 report_thread_leaks=0 \
suppressions=$PWD/tools/thread_sanitizer.supp"
    # Its shadow memory has a fixed place, which a random layout of the address space may take.
    if setarch "$(uname -m)" -R true 2>/dev/null; then run=(setarch "$(uname -m)" -R); fi
    ((${#arguments[@]})) ||
      arguments=(-q -n auto -m "not slow" tests/test_threads.py tests/test_wave.py
        tests/test_callers_arrays.py)
    ;;
esac

# The runtime must come first.
preload="$(g++ -print-file-name=$library) $(g++ -print-file-name=libstdc++.so)"
"${run[@]}" env LD_PRELOAD="$preload" $python -c "import rnnfast; assert rnnfast.__file__.startswith('$site')"
"${run[@]}" env LD_PRELOAD="$preload" $python -m pytest "${arguments[@]}"
