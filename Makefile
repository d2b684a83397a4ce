# SPDX-License-Identifier: Apache-2.0
# make demo   see it work, on software ports      make test   every check and every test
# Both install what they need: Debian packages by apt-get, Python packages into .venv.

PYTHON = .venv/bin/python
CLANG_FORMAT = .venv/bin/clang-format
C = $(filter-out %/_fastpath.c,$(shell find uspnet/fastpath -name '*.[ch]'))
STRICT = -Wall -Wextra -Werror
QEMU = $(CURDIR)/build/qemu/bin/qemu-system-x86_64
WITH_QEMU = [ ! -x "$(QEMU)" ] || export USPNET_QEMU="$(QEMU)";

# For check-build: CC=clang PYTHON3=python3.13; tests that need no privilege and no second program.
PYTHON3 = python3
PORTABLE = tests/fastpath tests/jobs tests/packets tests/telemetry \
    tests/test_memory.py tests/test_pool.py tests/test_spec.py

.PHONY: help demo test lint bench man format check-arm64 check-build coverage clean setup-demo setup-test
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@sed -n 's/^# \{0,1\}//; 2,3p' $(MAKEFILE_LIST)
	@echo 'also: make lint, coverage, bench, man, format, check-arm64, check-build, clean'

demo: setup-demo
	@$(WITH_QEMU) set -x; $(PYTHON) -m uspnet demo

test: lint check-arm64
	$(PYTHON) -m pytest -n 2 $(TESTS)

lint: setup-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(CLANG_FORMAT) --dry-run -Werror $(C)
	.venv/bin/codespell
	$(PYTHON) tools/size.py
	PYTHONPATH=. $(PYTHON) tools/man.py --check
	PYTHONPATH=. $(PYTHON) tools/readme.py --check
	PYTHONPATH=. $(PYTHON) tools/drivers.py --check
	PYTHONPATH=. $(PYTHON) tools/schema.py --check
	PYTHONPATH=. $(PYTHON) tools/stubs.py --check

bench: setup-test
	.venv/bin/pip install -q --disable-pip-version-check -e '.[bench]'
	$(PYTHON) bench/run.py

man: setup-test
	PYTHONPATH=. $(PYTHON) tools/man.py
	PYTHONPATH=. $(PYTHON) tools/readme.py
	PYTHONPATH=. $(PYTHON) tools/drivers.py
	PYTHONPATH=. $(PYTHON) tools/schema.py
	PYTHONPATH=. $(PYTHON) tools/stubs.py

format: setup-test
	.venv/bin/ruff format .
	$(CLANG_FORMAT) -i $(C)

check-arm64: setup-test
	printf '%s\n' $(filter %.c,$(C)) | xargs -P "$$(nproc)" -I {} \
	    aarch64-linux-gnu-gcc -O2 -std=gnu11 $(STRICT) -Iuspnet/fastpath -c {} -o /dev/null

# Python gives clang options that only gcc knows.
CLANG = $(if $(findstring clang,$(CC)),-Wno-unused-command-line-argument)

check-build:
	rm -rf build/check && mkdir -p build/check
	git archive HEAD | tar -x -C build/check
	cd build/check && $(PYTHON3) -m venv .venv && CC="$(CC)" USPNET_CFLAGS="$(STRICT) $(CLANG)" \
	    .venv/bin/pip install -q --disable-pip-version-check -e '.[dev]'
	cd build/check && .venv/bin/python -m pytest -q -n 2 \
	    --ignore=tests/fastpath/test_instructions.py $(PORTABLE)

coverage: setup-test
	tools/coverage.sh $(TESTS)

setup-demo:
	@tools/setup.sh demo

setup-test:
	@USPNET_CFLAGS="$(STRICT)" tools/setup.sh test

clean:
	rm -rf build .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -f uspnet/fastpath/_fastpath.* uspnet/fastpath/*.o
