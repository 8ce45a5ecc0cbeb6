PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BENCH := .venv-bench
FUZZ := .venv-fuzz
MUTANTS := .venv-mutants
SECONDS ?= 20
SCHEDULES ?= 2000
SEED ?= 0

.PHONY: help demo test pythons parity sdks verify lint types format wheel bench faults overload spike fuzz incidents search mutants lock clean

help:
	@echo "make demo    two services, an outage, and what the client does about it (under 60 s)"
	@echo "make test    every test, on asyncio and trio, on httpx and httpx2"
	@echo "make pythons every test on the other Pythons that are installed"
	@echo "make parity  httpx's own tests, with our clients in the place of its own"
	@echo "make sdks    an SDK of openai that cannot be installed beside the one in make test"
	@echo "make verify  the long tests: more examples, more cuts for pools, more load, parity, SDKs, fuzzing, incidents, and the demo"
	@echo "make lint    ruff, format and rules"
	@echo "make types   mypy over everything, pyright over the public API"
	@echo "make wheel   build the wheel and try it outside the checkout"
	@echo "make bench   what calls, requests, decisions and overloads cost, beside peers (under 10 minutes)"
	@echo "make faults  what a rate limit does under every fault of a real Redis (under 60 s)"
	@echo "make fuzz    all that reads what others send, fuzzed for 20 s; SECONDS=3600 make fuzz for longer"
	@echo "make incidents 2,000 random schedules of faults over client, server and store, in virtual time (minutes)"
	@echo "make search  5,000 new examples for each model and property (half an hour)"
	@echo "make mutants what the tests of the decisions let pass (an hour); MODULE=breaker for one"
	@echo "make overload  of make bench, who comes back from an overload and who does not (minutes)"
	@echo "make spike   one of these overloads in real time, with uvicorn and sockets (under 3 minutes)"
	@echo "make lock    pin the development dependencies anew"

# Reproducible: the versions and hashes in requirements-dev.txt, and nothing else.
$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

# A process for each core: many tests wait for sockets.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

demo: $(READY)
	$(BIN)/python -m demo

test: $(READY)
	$(PYTEST)
	FAMILY=httpx2 $(PYTEST) tests/client tests/test_end_to_end.py tests/test_fleet.py

pythons: $(READY)
	bash .ci/pythons

parity: $(READY)
	bash .ci/parity

sdks: $(READY)
	bash .ci/sdks

verify: $(READY) $(FUZZ)/.ready
	$(PYTEST) --hypothesis-profile=thorough -m property tests
	bash .ci/parity
	bash .ci/sdks
	ROUNDS=80 $(PYTEST) tests/client/test_pool.py
	FAMILY=httpx2 ROUNDS=80 $(PYTEST) tests/client/test_pool.py
	LOAD_SECONDS=10 $(BIN)/python -m pytest tests/server/test_ratelimit_processes.py
	$(FUZZ)/bin/python -m fuzz --seconds 20
	$(BIN)/python -m incidents --seconds 20 --seed 10000
	$(BIN)/python -m demo

search: $(READY)
	$(PYTEST) --hypothesis-profile=search -m property tests

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(READY)
	bash .ci/smoke

bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks

faults: $(READY)
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.readme

incidents: $(READY)
	$(BIN)/python -m incidents --schedules $(SCHEDULES) --seed $(SEED)

overload: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.overload
	$(BENCH)/bin/python -m benchmarks.readme

spike: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.spike
	$(BENCH)/bin/python -m benchmarks.readme

$(BENCH)/.ready: benchmarks/requirements.txt
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

fuzz: $(FUZZ)/.ready
	$(FUZZ)/bin/python -m fuzz --seconds $(SECONDS)

$(FUZZ)/.ready: fuzz/requirements.txt
	$(PYTHON) -m venv --clear $(FUZZ)
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Sets have the same order in each run, and so has what is drawn from them.
mutants: $(MUTANTS)/.ready
	PYTHONHASHSEED=0 $(MUTANTS)/bin/python -m mutants $(MODULE)

$(MUTANTS)/.ready: mutants/requirements.txt
	$(PYTHON) -m venv --clear $(MUTANTS)
	$(MUTANTS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

PIN := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command 'make lock'

lock:
	$(PIN) --extra server --group dev -o requirements-dev.txt
	$(PIN) --group parity -o .ci/parity-requirements.txt
	$(PIN) --group sdks -o .ci/sdks-requirements.txt
	$(PIN) --extra server --group fuzz -o fuzz/requirements.txt
	$(PIN) --extra server --group mutants -o mutants/requirements.txt
	$(PIN) --extra aiohttp --extra httpx2 --extra server --group bench -o benchmarks/requirements.txt

clean:
	rm -rf .venv $(BENCH) $(FUZZ) $(MUTANTS) dist build
