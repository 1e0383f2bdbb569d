# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
PY := .venv/bin/python
UV := .venv/bin/uv
STAMP := .venv/.installed

.PHONY: setup demo test lint bench lock clean

setup: $(STAMP)

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check uv

# Installed anew only when the lock or the package's own metadata change.
$(STAMP): requirements.lock pyproject.toml | .venv/bin/uv
	$(UV) pip install --quiet --python $(PY) --compile-bytecode --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(PY) --compile-bytecode --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	.venv/bin/anmok demo

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test: lint
	$(PY) -m pytest -n auto

# Peers are measured in an environment of their own; results are written to benchmarks/results.
bench: setup
	benchmarks/run

lock: .venv/bin/uv
	$(UV) pip compile --quiet --upgrade --generate-hashes --universal --no-emit-index-url --all-extras --group dev \
		--python-version 3.11 pyproject.toml -o requirements.lock

clean:
	rm -rf .venv runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
