# Every target works alone on a fresh checkout: what needs the virtual environment makes it first.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
CODE := robot_agent tests setup.py $(wildcard launch calibration)
# With a system ROS sourced, the interfaces lie in the workspace that `make setup` built.
OVERLAY := $(if $(ROS_DISTRO),source ros_ws/install/setup.bash &&)
PYTEST := $(OVERLAY) $(BIN)/python -m pytest
# A test file for each processor at a time. Real nodes in real time need the machine to themselves.
BESIDE := -n $(shell nproc) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo doctor check fmt test test-fast test-architecture test-slow test-ros test-gpu test-robot golden ros clean

help:  ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */|/' | \
		while IFS='|' read -r name what; do printf '  make %-18s %s\n' "$$name" "$$what"; done

setup:  ## Make or update .venv: packages, ROS interfaces, the robot-agent command
	@ros_ws/setup_venv.sh $(VENV)

demo: setup  ## The whole loop in simulation, with a report in runs/demo
	@$(OVERLAY) $(BIN)/robot-agent demo --out runs/demo

doctor: setup  ## Say what is missing on this machine, and how to fix it
	@$(OVERLAY) $(BIN)/robot-agent doctor

check: setup  ## Lint, format, types, layers and changelog: before every commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(OVERLAY) $(BIN)/mypy
	$(BIN)/lint-imports
	.ci/changelog

fmt: setup  ## Format, and apply the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup  ## Every test that needs neither a GPU nor a robot
	$(PYTEST) tests $(BESIDE) -m 'not ros and not gpu and not robot'; offline=$$?; \
		$(PYTEST) tests -m 'ros and not gpu and not robot' && exit $$offline

test-fast: setup  ## The same without the slow ones and those with real nodes
	$(PYTEST) tests $(BESIDE) -m 'not slow and not ros and not gpu and not robot'

test-architecture: setup  ## Only what linters cannot say: seconds
	$(PYTEST) tests/architecture

test-slow: setup  ## Only the slow ones
	$(PYTEST) tests -m 'slow and not gpu and not robot'

test-ros: setup  ## Only those with real nodes over real DDS
	$(PYTEST) tests -m ros

test-gpu: setup  ## Only those that need a GPU
	$(PYTEST) tests -m gpu

test-robot: setup  ## Only those that move a real arm: read the README's checklist first
	$(PYTEST) tests -m robot

golden: setup  ## Record the reference numbers again and show what changed
	$(PYTEST) tests/golden --record-golden
	git diff --stat -- tests/golden

ros: setup  ## Build the workspace with colcon: nodes for ros2 run and ros2 launch
	@ros_ws/colcon.sh $(VENV)

clean:  ## Remove the virtual environment, builds and caches; runs/ stays
	rm -rf $(VENV) $(VENV).lock build ros_ws/build ros_ws/install ros_ws/log *.egg-info .*_cache .hypothesis
