#!/usr/bin/env bash
# MkDocs: `--quiet` switches `--strict` off. A strict build of a page with a broken link ends with
# exit code 1, also with `--verbose`; with `--quiet` it ends with 0 and says nothing, so that a check
# of documentation in CI that asks for little output passes whatever the warnings. `strict: true` in
# mkdocs.yml is lost in the same way. The cause: `--quiet` raises the level of MkDocs's logger to
# ERROR, and strict mode counts the warnings that pass this logger.
# Seen with mkdocs 1.6.1 (reported as mkdocs/mkdocs#4126, open): exit codes 0 1 1 0 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mkdocs==1.6.1
mkdir "$folder/docs"
echo '[a broken link](missing.md)' >"$folder/docs/index.md"
echo 'site_name: site' >"$folder/loose.yml"
printf 'site_name: site\nstrict: true\n' >"$folder/strict.yml"

seen=
build() { # name of the configuration, options of mkdocs build
    local code=0
    "$folder/venv/bin/mkdocs" build --config-file "$folder/$1.yml" "${@:2}" &>"$folder/log" || code=$?
    echo "$*: exit code $code, $(grep -c 'WARNING.*missing.md' "$folder/log" || true) warnings shown"
    seen+="$code "
}

build loose
build loose --strict
build loose --strict --verbose
build loose --strict --quiet
build strict --quiet
test "$seen" = "0 1 1 0 0 "
