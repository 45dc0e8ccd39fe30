# The stages of .ci/run and tools/before_release, which source this file. Each is a function that runs
# in the root of a clone and installs what it needs into .venv (clang and Chromium by apt, if they are
# missing and we are root). CELLS are the cells of the short forms: two that take every path through
# the drivers.

python=.venv/bin/python
CELLS=lstm,mut3
# The tests of compiled code, for the short forms of sanitizers and instruction sets: first those that
# reach every line of the kernels.
KERNELS=(tests/test_{array_layers,bfloat16,calls,candidate_dropout,context,context_streams,dense}.py
  tests/test_{determinism,dropout,int8,layers,learned_state,losses,losses_ctc,math,noise,optim}.py
  tests/test_{projection,recompute,reserve,reset,scaled,sequence,small,stream,stream_models}.py
  tests/test_{traced_engine,traced_random,wave,zero_state}.py)
COMPILED=("${KERNELS[@]}"
  tests/test_{arguments,autograd_layers,callers_arrays,dispatch,environment,fuzz_arguments}.py
  tests/test_{guarded_arrays,memory,stateful,threads,trace}.py)
# A few for AArch64 under qemu, where they take many times as long: all cells and formats, functions,
# types, tails and threads.
AARCH64=(tests/test_math.py tests/test_zero_state.py
  tests/test_dispatch.py::test_each_instruction_set_matches_the_reference
  tests/test_determinism.py::test_same_bits_{when_threads_run_apart,with_and_without_padding}
  tests/test_context.py::test_traces_have_the_states_of_calls
  tests/test_trace.py::test_states_have_the_bits_of_calls)
passed=0
current=start

on_exit() {
  local status=$?
  if ((status != 0)); then
    printf '\n== failed: %s\n%d passed, 1 failed\n' "$current" "$passed"
  fi
}
trap on_exit EXIT

stage() { # stage NAME COMMAND...: runs a command, and prints its name and time
  current=$1
  local start=$SECONDS
  printf '\n== %s\n' "$current"
  "${@:2}"
  printf '== %s: %d s\n' "$current" $((SECONDS - start))
  passed=$((passed + 1))
}

configure() { # configure CMAKE FOLDER OPTION...
  "$1" -S . -B "$2" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Release -DRNNFAST_WERROR=ON \
    -DPython_EXECUTABLE="$PWD/$python" -DCMAKE_MAKE_PROGRAM="$PWD/.venv/bin/ninja" \
    -Dpybind11_DIR="$($python -m pybind11 --cmakedir)" "${@:3}"
}

install_environment() {
  python3 -m venv .venv
  $python -m pip install --quiet cmake ninja "pybind11>=3.0" "scikit-build-core>=0.10"
}

build_wheel() { # build_wheel CUDA: ON or OFF; warnings are errors, and portable512 is there for tests
  CXX=g++ SKBUILD_CMAKE_DEFINE="RNNFAST_WERROR=ON;RNNFAST_CUDA=$1;RNNFAST_PORTABLE512=ON" SKBUILD_BUILD_DIR="build/wheel_$1" \
    $python -m pip wheel . --quiet --no-deps --no-build-isolation --wheel-dir build/dist
  $python -m pip install --quiet "$(ls build/dist/rnnfast-*.whl)[dev]"
  $python -m pip install --quiet --no-deps --force-reinstall build/dist/rnnfast-*.whl # on a second run
}

lint() {
  .venv/bin/ruff format --check .
  .venv/bin/ruff check .
  .venv/bin/mypy
  .venv/bin/mypy --strict tools
  .venv/bin/mypy --strict tests/cuda_emulator/ptx
  git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs .venv/bin/clang-format --dry-run -Werror
  $python tools/check_layers.py
}

check_extension() { # check_extension BUILD
  $python tools/check_symbols.py "$1"
  $python tools/check_stubs.py
}

install_clang() {
  if ! command -v clang++ >/dev/null && ((EUID == 0)); then
    apt-get update -qq
    apt-get install -qq --yes --no-install-recommends clang libomp-dev >/dev/null
  fi
}

# The CUDA kernels on the emulator, from their source (_emulated) or from nvcc's PTX (_emulated_ptx).
build_emulator() { # build_emulator TARGET...
  configure .venv/bin/cmake build/emulator -DCMAKE_CXX_COMPILER=g++ -DRNNFAST_CUDA=OFF \
    -DRNNFAST_EMULATOR=ON
  .venv/bin/cmake --build build/emulator --target "$@"
}

emulator() { # emulator NAME: the path of what build_emulator built
  find "$PWD/build/emulator" -name "$1.*.so"
}

other_isas() { # the instruction sets of this CPU except the best, best first
  $python -c 'import rnnfast; print(*rnnfast.cpu_info()["isas_supported"][1:])'
}

test_isa() { # test_isa NAME OPTION...: tests with an instruction set, and with fresh memory filled with NaN
  RNNFAST_ISA=$1 RNNFAST_POISON=1 $python -m pytest -q -n auto "${@:2}"
}

build_documentation() { # into build/site; broken links and pages that no menu lists are errors
  $python -m pip install --quiet "$(ls build/dist/rnnfast-*.whl)[docs]"
  NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict  # --quiet would let warnings pass
}

# For the tests of reports, which are skipped without it: not every system has such a package.
install_chromium() {
  if ! command -v chromium >/dev/null && ((EUID == 0)) && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium >/dev/null ||
      printf 'chromium: not installed\n'
  fi
}

# The tests that name other packages pass or are skipped where none of them is installed.
test_without_peers() {
  grep -lE "torch|jax|onnx|keras|sklearn|pandas|matplotlib" tests/test_*.py |
    xargs $python -m pytest -q -n auto -m "not slow" --cells lstm
}

install_peers() { # what tests compare and work with; silero-vad for its weights alone
  $python -m pip install --quiet torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0
  $python -m pip install --quiet jax==0.10.2 openvino==2026.4.1 tract==0.23.9 onnxscript==0.7.2
  $python -m pip install --quiet scikit-learn==1.9.1 pandas==3.1.1 distributed==2026.8.0
  $python -m pip install --quiet HanTa==1.2.1 pyspellchecker==0.9.1 statsmodels==0.15.0
  $python -m pip install --quiet tensorboardX==2.6.5 tensorboard==2.21.0
  $python -m pip install --quiet mpi4py==4.1.2 mpich==5.0.2 playwright==1.65.2
  $python -m pip install --quiet --no-deps silero-vad==6.2.3
  $python -m pip install --quiet flax==0.12.8 dm-haiku==0.0.17 equinox==0.13.8
  $python -m pip install --quiet keras==3.15.1 h5py==3.16.0 "mlx[cpu]==0.32.4" tinygrad==0.14.0
  $python -m pip install --quiet ncnn==1.0.20261020
  $python -m pip install --quiet "$(ls build/dist/rnnfast-*.whl)[notebooks]"
  install_chromium
}

# Searches for files and arguments that fail, after install_peers; as many searches at once as there are
# cores. atheris has no wheel for some versions of Python, and to build it takes a clang of its own.
fuzz_targets() { # fuzz_targets SECONDS: that many for each target
  if ! $python -m pip install --quiet --only-binary :all: "atheris>=3"; then
    printf 'atheris has no wheel for this Python: nothing is fuzzed\n'
    return
  fi
  printf '%s\n' checkpoint onnx hdf5 traineddata torch_zip functional |
    xargs -P "$(nproc)" -I{} $python tools/fuzz.py {} --seconds "$1"
}

# The gallery of docs/published.md: installs packages with trained networks, and compares.
published_packages() { # published_packages TEST...: all of them without arguments
  local tests=("$@")
  (($#)) || tests=(tests/published)
  $python -m pytest -q -m published --published-table build/published.md "${tests[@]}"
}

# Runs the second shell block of README.md, lists the slowest and the skipped tests, and fails if a
# reason to skip is new.
readme_test_command() {
  local command
  command=$(awk '/^```sh/ {block++; next} /^```/ {inside = 0} block == 2 && !done {print; done = 1}' README.md)
  printf '%s\n' "$command"
  # .venv/bin is on PATH because tests that build need cmake.
  PYTEST_ADDOPTS="-rs --durations=40" RNNFAST_TEST_SKIPS=known PATH=$PWD/.venv/bin:$PATH bash -euo pipefail -c "$command"
}
