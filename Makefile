# `make demo` and `make test` do everything on a fresh machine: environment, install, run.

PYTHON ?= python3
ARGS ?= -n 2
INSTALLED := .venv/installed
SPELLED := patchseg tests benchmarks docs notebooks .github $(wildcard *.md)

.PHONY: demo test lint bench docs

demo: $(INSTALLED)
	.venv/bin/patchseg demo demo

# Each test stays on one thread, so two run side by side; those that are asked for by ARGS run one by one.
# pytest's 5 says that the marks in ARGS fit no test.
test: $(INSTALLED)
	.venv/bin/pytest $(ARGS) || test $$? -eq 5

lint: $(INSTALLED)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/codespell $(SPELLED)

# coverage simulates and takes long; the others are given folders, and gpu.sh a GPU: see their first lines.
bench: $(INSTALLED)
	for name in blending inference rasterizing training; do .venv/bin/python "benchmarks/$$name.py" || exit 1; done

docs: $(INSTALLED)
	.venv/bin/python docs/generate.py

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
