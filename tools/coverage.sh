#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints how much of the code the tests reach, Python and C, a line a folder. Works on a copy under
# build/coverage, with a C build that counts; lines that only a killed process ran are not seen.
#   tools/coverage.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
source=$PWD python=$PWD/.venv/bin/python copy=$PWD/build/coverage

rm -rf "$copy"
mkdir -p "$copy"
tar -c --exclude=./build --exclude=./.venv --exclude=./.git --exclude='*.so' . | tar -x -C "$copy"
for name in qemu vm-kernel vm-kernel-recent; do # unpacked for the tests, and not unpacked twice
    mkdir -p "$copy/build"
    if [[ -e build/$name ]]; then ln -s "$source/build/$name" "$copy/build/$name"; fi
done
"$source/.venv/bin/pip" install -q --disable-pip-version-check -e '.[coverage]'
cd "$copy"
USPNET_CFLAGS="--coverage -O1 -fprofile-update=atomic" "$python" uspnet/fastpath/build.py

cat >coverage.ini <<END
[run]
branch = true
parallel = true
source_pkgs = uspnet
data_file = $copy/data
patch = subprocess
sigterm = true
END
export PYTHONPATH=$copy COVERAGE_PROCESS_START=$copy/coverage.ini
status=0
"$python" -m coverage run --rcfile=coverage.ini -m pytest -q -p no:cacheprovider \
    --ignore=tests/fastpath/test_instructions.py "$@" || status=$?
"$python" -m coverage combine -q --rcfile=coverage.ini
"$python" -m coverage json -q --rcfile=coverage.ini -o python.json
find . -name '*.gcda' -exec gcov --json-format --stdout {} + >c.json 2>/dev/null || true
"$python" tools/coverage_table.py python.json c.json
exit $status
