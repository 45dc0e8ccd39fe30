#!/usr/bin/env bash
# The tests of kernels on a GPU under each tool of NVIDIA's compute-sanitizer, which comes with the
# CUDA toolkit. Arguments go to pytest; by default all that have a GPU's device run.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v compute-sanitizer >/dev/null || {
  echo "compute_sanitizer.sh: compute-sanitizer is not on PATH; it comes with the CUDA toolkit" >&2
  exit 1
}
python -c 'import sys, rnnfast.cuda as c; sys.exit(None if c.is_available() else "no CUDA device")'

failed=()
for tool in memcheck racecheck synccheck initcheck; do
  printf '\n== %s\n' "$tool"
  compute-sanitizer --tool "$tool" --error-exitcode 86 --target-processes all \
    python -m pytest -q -x -p no:cacheprovider -m gpu "${@:-tests/cuda}" || failed+=("$tool")
done
if ((${#failed[@]})); then
  printf 'failed: %s\n' "${failed[*]}"
  exit 1
fi
