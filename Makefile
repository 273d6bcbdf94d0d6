# isograd: `make demo` shows it, `make test` is what CI runs. Both set up .venv first.

PYTHON ?= python3
# PyPI's Linux wheel of torch carries CUDA (gigabytes); this index has the CPU build. If it can't be reached, PyPI's is used.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo quick lint test test-all mutants ports clean distclean

setup: $(STAMP)

demo: setup
	@$(BIN)/isograd demo

PYTEST := $(BIN)/pytest --numprocesses $(JOBS) --dist worksteal

# Three sizes: while you work, before you commit (what CI runs), and with every product of cases and dtypes.
quick: lint
	$(PYTEST) -m "not slow and not exhaustive"

test: lint
	$(PYTEST) -m "not exhaustive"

test-all: lint
	$(PYTEST)

# Small mistakes, planted alike in both twins or in shared code, that a test must notice; SAMPLE=30 takes minutes.
mutants: setup
	PYTHONPATH=tests $(BIN)/python -m mutants --jobs $(JOBS) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(ONLY),--only '$(ONLY)')

# Public Flax models against their torch twins: transformers 4, the last that has both, is laid before .venv in .ports.
BUDGET ?= 20
RESULT ?= experiments/results/ports.md
ports: setup .ports/.installed
	PYTHONPATH=.ports:. JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m crosscheck.ports.benchmark \
	  $(RESULT) $(BUDGET) $(JOBS) $(PORTS)

.ports/.installed: crosscheck/ports/constraints.txt $(STAMP)
	rm -rf .ports
	$(BIN)/python -m pip install --no-deps --target .ports --requirement crosscheck/ports/constraints.txt
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build dist *.egg-info .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .ports

# The CPU build of torch is installed first, by itself, so that the second step finds it and keeps it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else f"isograd needs Python 3.11 to 3.13 and \"$(PYTHON)\" is {v[0]}.{v[1]}: name a different one, for example make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-deps --retries 0 --timeout 15 --extra-index-url $(TORCH_INDEX) $(TORCH) \
	  || $(BIN)/python -m pip install --no-deps $(TORCH)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@touch $@
