# failoverd. Every target installs what it is missing first (Debian packages as root, the environment in .venv).
PYTEST  := .venv/bin/pytest
FILES   := failoverd tests
KEEP    ?= 0
N       ?= 1000
T       ?= 300
DEPTH   ?= 1
.PHONY: help docs setup check test test-full demo sim sim-mutants explore fuzz interop replay ddns-stories torture outage bench bench-drain bench-sim fresh lock

help:
	@echo 'make demo [KEEP=1]  a pair, BIND master and slave, relay and 24 clients in network namespaces, every step checked'
	@echo 'make test           check, then all tests (15 minutes at most)'
	@echo 'make check          format, lint, types, layout'
	@echo 'make test-full      the slow tests as well'
	@echo 'make sim [N=1000 SEED=1]  so many simulated pairs with faults on all cores; stopped, it goes on where it was (sim.jsonl)'
	@echo '                    one seed again, smaller: python -m failoverd.sim --seed S --shrink'
	@echo 'make sim-mutants    each known-bad server and how many seeds it takes to catch it: a table in build/sim-mutants.md'
	@echo 'make interop        every mishap of a pair with a real dhcpd as the partner, in both roles, and of two failoverd: a table (25 minutes'
	@echo '                    at most); then the tests against BIND'
	@echo 'make replay         recorded pairs of dhcpd with failoverd in the place of either side: what it does otherwise, and why'
	@echo 'make fuzz [T=300]   coverage-guided noise on the failover port for T seconds (installs atheris; new inputs in .fuzz)'
	@echo 'make explore [DEPTH=1]  every interleaving of messages, timers and so many disturbances of a pair, also with a dhcpd as partner'
	@echo '                    (1: at most 20 minutes; it says how deep, how many states, and whether a limit was hit)'
	@echo 'make ddns-stories   the same mishaps at a pair of dhcpd and at a pair of failoverd: what each leaves in DNS (about 2 minutes)'
	@echo 'make torture [T=300]  a pair under load, with kill -9, SIGSTOP, cut links, BIND stops and full disks for T seconds (SEED=n):'
	@echo '                    no lease lost, no address given twice, the zone on the slave equals the leases (as root)'
	@echo 'make outage [SEED=1]  an hour without one server, 12 times faster, at a pair of failoverd, of dhcpd and of Kea: how many clients'
	@echo '                    are refused, a table (as root; about 10 minutes; installs Kea)'
	@echo 'make bench          perfdhcp against the pair and against a pair of dhcpd (about 6 minutes),'
	@echo '                    then the drain of a backlog of names into BIND'
	@echo 'make bench-drain [PROFILE=1]  only that (about 3 minutes); with PROFILE=1 where failoverd spends it'
	@echo 'make bench-sim      how much faster than time the simulator runs a pair with 200 clients (under a minute)'
	@echo 'make fresh          demo and test of HEAD in a minimal Debian 12 in a scratch directory'
	@echo 'make docs           docs/failoverctl.md from the commands themselves, docs/failover-tables.md from the failover tables'
	@echo 'make lock           resolve the Python packages anew into .ci/requirements.lock'

setup:
	@.ci/setup

check: setup
	.venv/bin/ruff format --check --quiet $(FILES)
	.venv/bin/ruff check --quiet $(FILES)
	.venv/bin/mypy
	$(PYTEST) tests/test_tidy.py

# One pytest for all parts, in the order of their budgets; tests/conftest.py sorts, times and prints them.
test: check
	timeout --kill-after=30 1500 $(PYTEST) -m 'not slow' --parts

test-full: check
	$(PYTEST) --parts

# The table is left in build/interop.md.
interop: setup
	.venv/bin/python -m tests.interop.pairs
	$(PYTEST) -v tests/interop --ignore=tests/interop/test_pairs.py

# The table is left in build/replay.md.
replay: setup
	@.venv/bin/python -m tests.replay

fuzz: setup
	.venv/bin/python -m pip install --quiet --disable-pip-version-check 'atheris>=3,<4'
	mkdir -p .fuzz
	.venv/bin/python -m tests.failover.fuzz $(T) tests/vectors/fuzz .fuzz

explore: setup
	.venv/bin/python -m failoverd.sim.explore --depth $(DEPTH)

sim: setup
	.venv/bin/python -m failoverd.sim.many --runs $(N) --seed $(or $(SEED),1)

sim-mutants: setup
	.venv/bin/python -m tests.sim.mutants

demo: setup
	@KEEP=$(KEEP) .venv/bin/python -m tests.lab.demo

ddns-stories: setup
	@.venv/bin/python -m tests.lab.stories

torture: setup
	@.venv/bin/python -m tests.lab.torture --seconds $(T) $(if $(SEED),--seed $(SEED))

# The table is left in build/outage.md.
outage:
	@.ci/setup outage
	@.venv/bin/python -m tests.outage $(if $(SEED),--seed $(SEED))

bench:
	@.ci/setup bench
	@.venv/bin/python -m tests.bench

bench-drain:
	@.ci/setup bench
	@.venv/bin/python -m tests.bench.drain $(if $(PROFILE),--profile)

bench-sim: setup
	.venv/bin/python -m failoverd.sim.speed

fresh:
	@.ci/setup fresh
	@.ci/fresh

lock:
	.ci/lock

docs: setup
	.venv/bin/python -m failoverd.ctl.reference > docs/failoverctl.md
	.venv/bin/python -m failoverd.sim.tables_doc > docs/failover-tables.md
