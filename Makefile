PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint bench docs clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: install
	$(BIN)/pdebench-mano demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest

bench: install
	$(BIN)/python benchmarks/solvers.py
	$(BIN)/python benchmarks/preset_times.py

docs: install
	$(BIN)/mkdocs build --strict --config-file docs/mkdocs.yml

clean:
	rm -rf .venv build dist *.egg-info
