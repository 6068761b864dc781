# make demo      pictures from the embedded network: demo/samples.png, demo/compare.png
# make test      the test suite
# make test-all  the same with the full products of its long lists
# make docs      the pages of docs/ and the reference of every public name: build/site/index.html
# Each makes .venv, installs the pinned requirements and builds the package on first use.

PYTHON ?= python3
BIN := .venv/bin
NATIVE := CMakeLists.txt setup.py $(shell find csrc -type f)
CXX_SOURCES := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test test-all build check format bench docs clean

demo: .venv/ready
	$(BIN)/genie-samplers sample --out demo/samples.png
	$(BIN)/genie-samplers compare --out demo/compare.png

test: .venv/ready
	$(BIN)/python -m pytest -q -n auto

test-all: .venv/ready
	$(BIN)/python -m pytest -q -n auto -m ""

build: .venv/ready

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/clang-format --dry-run --Werror $(CXX_SOURCES)

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_SOURCES)

bench: .venv/ready
	$(BIN)/python -m benchmarks.run

docs: .venv/ready
	$(BIN)/python -m mkdocs build --strict -q

.venv/created:
	$(PYTHON) -m venv .venv
	touch $@

.venv/ready: .venv/created constraints.txt pyproject.toml $(NATIVE)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --disable-pip-version-check -q -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build demo genie_ext/_C*.so
