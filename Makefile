# Two commands on a fresh machine: `make demo` and `make test`. Each sets up .venv by itself first.
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 200

.PHONY: setup demo test lint bench rivals soak mutants siege chaos lock clean

setup: .venv/.ok

.venv/.ok: requirements.lock pyproject.toml setup.py $(wildcard shoal/native/* daemon/native/*)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip -q
	$(BIN)/python -m pip install -q --disable-pip-version-check 'uv==0.13.*' || echo "no uv to be had: going on with pip"
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock \
	|| $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: setup            ## three daemons rank the Debian package graph
	$(BIN)/python -m examples.demo

test: setup            ## everything but soaks and benchmarks
	$(BIN)/python -m pytest -n auto --dist loadfile --ignore=tests/cluster --ignore=tests/chaos --ignore=tests/examples
	$(BIN)/python -m pytest tests/cluster tests/chaos tests/examples

lint: setup            ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup           ## each figure beside its floor, measured in the same run
	$(BIN)/python -m bench
	$(BIN)/python -m bench.compare

rivals: .venv-rivals/.ok ## those whom bench compares with, in an environment of their own (1.6 GB; Spark wants Java 17)

.venv-rivals/.ok: pyproject.toml
	test -x .venv-rivals/bin/python || $(PYTHON) -m venv .venv-rivals
	.venv-rivals/bin/python -m pip install -q --disable-pip-version-check -e '.[rivals]'
	touch $@

soak: setup            ## the simulator's scenarios from SEEDS seeds each, and every decoder for longer
	$(BIN)/python -m tests.simulator --seeds $(SEEDS)
	FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest tests/fuzz

mutants: setup         ## faults put into a copy of the tree, each of which a few tests must notice; MUTANTS="--only consensus"
	$(BIN)/python -m tests.mutants $(MUTANTS)

siege: setup           ## a hostile member and strangers at three real daemons: SIEGE="--messages 50000 --rate 400"
	$(BIN)/python -m tests.cluster.siege $(SIEGE)

chaos: setup           ## faults from a seed at real daemons, for ten minutes; CHAOS="--scenario kills" for others
	$(BIN)/python -m chaos $(CHAOS)

lock: setup            ## after a change of dependencies: hashes, no addresses
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra dev --extra networkx --generate-hashes --no-header --no-annotate --no-emit-index-url -o requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-rivals build dist *.egg-info shoal/kernels/_native*.so daemon/runtime/_guard*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis
