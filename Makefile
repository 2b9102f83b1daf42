# make setup | demo | test | test-all | lint | bench | docs: each does the set-up that it needs.
#
# TORCH_INDEX  where PyTorch comes from; without an NVIDIA driver its CPU build.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep '^torch==' constraints.txt)
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

export LSTMKIT_REQUIRE_NATIVE ?= 1

.PHONY: setup demo test test-all lint bench docs clean
setup: $(VENV)/ready

# Remade when the pins, the metadata or the native code change.
$(VENV)/ready: pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*)
	@echo "setting up $(VENV) (once, a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --retries 0 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt $(TORCH) numpy 2>/dev/null || $(PIP) -c constraints.txt $(TORCH) numpy
	@$(PIP) -c constraints.txt -e '.[train,export,inspect,dev]'
	@touch $@

demo: setup
	@$(BIN)/lstmkit demo

# Two workers of one thread each: more threads than cores make each other wait.
test test-all docs: export OMP_NUM_THREADS := 1

test: setup
	@$(BIN)/python -m pytest -n 2

test-all: setup
	@$(BIN)/python -m pytest -n 2 -m ''

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: setup
	@$(BIN)/python benchmarks/speed/layer.py
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed/runtime.py

docs: setup
	@$(BIN)/python -m pytest -n 2 -m '' tests/docs

clean:
	rm -rf $(VENV) build src/lstmkit/_native*
