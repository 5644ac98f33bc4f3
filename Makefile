# All that a checkout needs, on a machine with Python (3.8 or newer) and GNU make.
#
#   make demo       eight processes log into one rotating file, and every record is looked for
#   make stress     writers are killed and frozen while their log rotates;
#                   make stress ARGS="--records 10000000 --max-bytes 2M --directory /mnt/disk/logs" is a long one
#   make test       all tests;             make test ARGS="-k naming" hands arguments to pytest
#   make interpreters   those that differ most among Pythons, on every one that is found;
#                   make interpreters ALL=1 runs all of units, compat and processes there, which takes an hour
#   make storm      what takes too long for each change: each system call fails with every error in every scenario,
#                   the model of the protocol is explored at a larger bound, and a storm rages for five minutes
#   make lint       style, formatting, types on three platforms, Python 3.6    (Python 3.10 or newer)
#   make format     let ruff mend what it can
#   make coverage   all tests, measured, with a report in htmlcov              (Python 3.9 or newer)
#   make bench      what a record costs;   make bench ARGS=--quick only sees whether the benchmarks run
#   make clean      remove all that was made
#
# PYTHON=python3.12 takes another interpreter; .venv is made anew when that changes.

PYTHON = python3
ARGS =
ALL =

VENV := .venv
BIN := $(VENV)/bin
# The name of the stamp holds the interpreter, so that another one does not find it.
MADE := $(VENV)/made-by-$(subst /,-,$(PYTHON))
PACKAGE := src/concurrent_log_handler
# -qq: errors only.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq

.PHONY: demo stress test interpreters storm lint format coverage bench clean
# Two pips must not work on one .venv.
.NOTPARALLEL:

demo: $(VENV)/has-demo
	@$(BIN)/clh demo $(ARGS)

stress: $(VENV)/has-demo
	@$(BIN)/clh stress $(ARGS)

# `python -m pytest`, not `pytest`: a child process that multiprocessing spawns runs the parent's main script
# again, unless that is a package's `__main__`.
# Three at a time, even on two cores: the tests wait a lot. ARGS="-n 0" runs one after the other.
test: $(VENV)/has-test $(VENV)/has-servers
	@$(BIN)/python -m pytest -n 3 --dist worksteal --ignore tests/interpreters $(ARGS)

interpreters: $(VENV)/has-test
	@CLH_ALL_ON_EVERY_PYTHON=$(ALL) $(BIN)/python -m pytest -n 2 tests/interpreters $(ARGS)

storm: $(VENV)/has-test $(VENV)/has-demo
	@CLH_EVERYTHING=1 $(BIN)/python -m pytest -n 2 -rP tests/crash/test_nth_failure.py $(ARGS)
	@$(BIN)/python tests/model/explore.py --records 3 --crashes 2
	@$(BIN)/clh stress --seconds 300 --kill 10 --freeze 2 --compress

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
	@for name in record_cost processes_throughput backup_count compressed_log import_time; do \
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

# uWSGI is compiled when it is installed.
$(VENV)/has-servers: pyproject.toml $(MADE)
	@echo "installing into $(VENV): servers"
	@$(PIP) 'pip>=21.3'
	@$(PIP) --editable '.[servers]'
	@$(PIP) 'uwsgi>=2.0.26' || echo "uWSGI cannot be built here: its tests are skipped"
	@touch $@

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 8) and "Python 3.8 or newer is needed: make PYTHON=...")'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@
