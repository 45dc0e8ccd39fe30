#!/usr/bin/env bash
# mkdocstrings-python: a name that is listed under `members` but cannot be shown is left out of the
# page without a warning, and a strict build succeeds. It is so for a misspelt name, and for a
# function with the name of its submodule (`from p.windows import windows`), although Python sees the
# function and `__all__` names it. Griffe's guide says that it does not support the latter; that
# nothing tells of it is the surprise. A wrong name after `:::`, by contrast, fails the build.
# Seen with mkdocstrings-python 2.0.11, griffelib 2.4.1 and mkdocs 1.6.1:
#   exit code 0, 0 warnings, shown: p p.steps / exit code 1 for `::: p.stpes`
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mkdocs==1.6.1 mkdocstrings-python==2.0.11 griffelib==2.4.1
cd "$folder"
mkdir -p docs src/p
cat >src/p/__init__.py <<'PYTHON'
from p.counts import steps
from p.windows import windows

__all__ = ["steps", "windows"]
PYTHON
printf 'def steps(x):\n    """Count the steps of x."""\n' >src/p/counts.py
printf 'def windows(x):\n    """Cut x into windows."""\n' >src/p/windows.py
PYTHONPATH=src venv/bin/python -c 'from p import *; assert callable(windows), windows'
cat >mkdocs.yml <<'YAML'
site_name: site
plugins: [{mkdocstrings: {handlers: {python: {paths: [src]}}}}]
YAML
cat >docs/index.md <<'MARKDOWN'
::: p
    options:
      members: [steps, windows, stpes]
MARKDOWN
code=0
venv/bin/mkdocs build --strict &>log || code=$?
shown=$(grep -o 'id="p[^"]*"' site/index.html | cut -d'"' -f2 | xargs)
warnings=$(grep -c '^WARNING' log || true)
echo "exit code $code, $warnings warnings, shown: $shown"
test "$code" = 0
test "$warnings" = 0
test "$shown" = "p p.steps"

echo '::: p.stpes' >docs/index.md
code=0
venv/bin/mkdocs build --strict &>log || code=$?
echo "exit code $code for ::: p.stpes"
test "$code" = 1
grep --quiet 'p.stpes could not be found' log
