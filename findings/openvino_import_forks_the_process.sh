#!/usr/bin/env bash
# `import openvino` forks the process, from a thread, unless the environment says CI=true.
#
# Expected: an import has no effect outside the interpreter, least of all on processes that already have
# threads, where a fork can stop forever and JAX warns about one (with warnings as errors, as in many test
# suites, whichever test runs at that moment fails, and only now and then).
# Seen with openvino 2026.4.1 and its dependency openvino-telemetry 2025.2.0: the import starts a thread that
# forks the process to report the import, and leaves a folder "intel" in the home folder. There is no
# argument or variable of its own against it. It does neither if the environment has CI=true, or if
# openvino-telemetry cannot be imported, which OpenVINO allows for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 openvino-telemetry==2025.2.0

cat >"$folder/count.py" <<'EOF'
import atexit
import os
import sys
import threading
from pathlib import Path

forks = []
os.register_at_fork(before=lambda: forks.append(threading.current_thread()))
if "without" in sys.argv:
    sys.modules["openvino_telemetry"] = None
import openvino


def report():  # when threads have done what they were given
    in_main = sum(thread is threading.main_thread() for thread in forks)
    folder = "a folder" if (Path.home() / "intel").exists() else "no folder"
    print(f"{len(forks) - in_main} forks in threads, {in_main} in the main thread, {folder}")


atexit.register(report)
EOF
run() { # run HOME [VARIABLE=VALUE] [ARGUMENT]: the report cannot leave the machine, whose port 9 is closed
  mkdir -p "$folder/$1"
  env -u CI -u TF_BUILD -u JENKINS_URL "HOME=$folder/$1" https_proxy=http://127.0.0.1:9 "${@:2:1}" \
    "$folder/venv/bin/python" "$folder/count.py" "${@:3}"
}
run plain A=B | tee "$folder/out"
run ci CI=true | tee -a "$folder/out"
run without A=B without | tee -a "$folder/out"
diff - "$folder/out" <<'EOF'
1 forks in threads, 0 in the main thread, a folder
0 forks in threads, 0 in the main thread, no folder
0 forks in threads, 0 in the main thread, no folder
EOF
echo "as stated"
