# All that a checkout needs, on a machine with Python (3.8 or newer) and GNU make.
#
#   make demo       eight processes log into one rotating file, and every record is looked for
#   make test       all tests;             make test ARGS="-k naming" hands arguments to pytest
#   make lint       style, formatting, types on three platforms, Python 3.6    (Python 3.10 or newer)
#   make format     let ruff mend what it can
#   make coverage   all tests, measured, with a report in htmlcov              (Python 3.9 or newer)
#   make bench      what a record costs;   make bench ARGS=--quick only sees whether the benchmarks run
#   make clean      remove all that was made
#
# PYTHON=python3.12 takes another interpreter; .venv is made anew when that changes.

PYTHON = python3
ARGS =

VENV := .venv
BIN := $(VENV)/bin
# The name of the stamp holds the interpreter, so that another one does not find it.
MADE := $(VENV)/made-by-$(subst /,-,$(PYTHON))
PACKAGE := src/concurrent_log_handler
# -qq: errors only.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq

.PHONY: demo test lint format coverage bench clean
# Two pips must not work on one .venv.
.NOTPARALLEL:

demo: $(VENV)/has-demo
	@$(BIN)/clh demo $(ARGS)

# `python -m pytest`, not `pytest`: a child process that multiprocessing spawns runs the parent's main script
# again, unless that is a package's `__main__`.
# Two at a time, which halves the time: the tests wait a lot. ARGS="-n 0" runs one after the other.
test: $(VENV)/has-test
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# Code that one platform never reaches is what `sys.platform` is asked for, so that warning is for Linux alone.
# vermin: annotations count, because Python 3.6 evaluates them; cli/ is left out, nobody's program imports it.
lint: $(VENV)/has-lint
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary --platform linux
	@$(BIN)/mypy --no-error-summary --no-warn-unreachable --platform darwin --cache-dir .mypy_cache/darwin $(PACKAGE)
	@$(BIN)/mypy --no-error-summary --no-warn-unreachable --platform win32 --cache-dir .mypy_cache/win32 $(PACKAGE)
	@$(BIN)/vermin --quiet --violations --target=3.6- --eval-annotations \
	    --exclude-regex '/cli/' $(PACKAGE)

format: $(VENV)/has-lint
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

coverage: $(VENV)/has-test
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage html --quiet
	@$(BIN)/coverage report

bench: $(VENV)/has-bench
	@for name in record_cost processes_throughput backup_count compression import_time; do \
	    $(BIN)/python benchmarks/$$name.py $(ARGS) || exit; \
	done

clean:
	@rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist htmlcov
	@find $(wildcard src tests benchmarks) -name __pycache__ -prune -exec rm -rf {} +

# One stamp for each set of tools, made again when pyproject.toml has changed. The pip that an old Python brings
# cannot install an editable package without setup.py.
$(VENV)/has-%: pyproject.toml $(MADE)
	@echo "installing into $(VENV): $*"
	@$(PIP) 'pip>=21.3'
	@$(PIP) --editable '.[$*]'
	@touch $@

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 8) and "Python 3.8 or newer is needed: make PYTHON=...")'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@
