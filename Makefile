# The teacher's commands. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

OUT ?= results
# Free text goes through the environment, so that no shell reads it.
JOBS_OPTION = $(if $(JOBS),--jobs "$(JOBS)")
OPTIONS = --out "$(OUT)" $(JOBS_OPTION) \
  $(if $(ROSTER),--roster "$(ROSTER)") $(if $(DEADLINE),--deadline "$(DEADLINE)") \
  $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)") $(if $(FORMAT),--format "$(FORMAT)")
PRECISION_OPTION = $(if $(PRECISION),--precision "$(PRECISION)")
YES_OPTION = $(if $(YES),--yes)
CLUSTER_OPTION = $(if $(CLUSTER),--cluster "$(CLUSTER)")

.DEFAULT_GOAL := help
.PHONY: help setup system browser slurm doctor demo grade collect check report regrade override export similar calibrate handout \
  test test-fast test-all bench lint format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  SUBMISSIONS=dir/   what was handed in: a folder, or Blackboard's, Canvas' or Moodle's archive or its folder"
	@echo "  FORMAT=            blackboard, canvas, moodle or folder, where the names do not tell"
	@echo "  ROSTER=roster.csv  who should have (student_id,name), or the gradebook from the same system"
	@echo "  DEADLINE=          what came later does not count: 2026-12-01T23:59+09:00, or 2026-12-01 23:59 Asia/Seoul"
	@echo "  DATA=              CIFAR-10, downloaded once; or a torchvision folder, an .npz file, or digits"
	@echo "  OUT=results        where everything goes         JOBS=2             so many at the same time; else as many as suit the machine"
	@echo "  DRAW=1 STUDENT=id  for check: that student's network as a picture, OUT/<student>.svg"
	@echo "  ASSIGNMENT=a.toml  other rules than grader/assignment.toml"
	@echo "  STUDENT=id         only this one, with its output    YES=1           begin, however long it takes"
	@echo "  PRECISION=bfloat16 for grade: trains in mixed precision, where the script has none of its own; other numbers"
	@echo "  CLUSTER=auto       on all nodes of a Ray cluster, or its address; JOBS= is then for each GPU, or node without"
	@echo "  export:   LMS=blackboard, canvas, moodle or gradescope; GRADEBOOK=downloaded.xls; COLUMN=\"a part of its name\""
	@echo "  regrade:  STUDENTS=\"a b\" or FAILED=1 or FLAGGED=1, and WHY=\"...\"    override: STUDENT= POINTS= WHY=\"...\""

setup: $(STAMP) system  ## install everything into .venv

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "setting up $(VENV): some minutes, about 6 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --editable '.[dev]'
	@touch $@

system:
	@command -v bwrap >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq bubblewrap; \
	  else \
	    echo "bubblewrap is missing; submissions run in it. Install it: sudo apt-get install bubblewrap"; exit 1; \
	  fi; }

browser:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; \
	  else \
	    echo "Chromium is missing; the tests of the pages are skipped. Install it: sudo apt-get install chromium"; \
	  fi; }

slurm:
	@command -v slurmctld >/dev/null && command -v slurmd >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd; \
	  else \
	    echo "Slurm is missing; the test of its script, which only root can run, is skipped. Install it: sudo apt-get install slurmctld slurmd"; \
	  fi; }

doctor: setup  ## say what this machine offers: isolation, GPU, memory, disk, speed; and what would raise it
	@$(RUN) -m grader doctor --out "$(OUT)" $(JOBS_OPTION) $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)")

demo: setup  ## grade a small class on a small data set, to see how it works
	@rm -rf results/demo
	@$(RUN) -m grader grade tests/submissions/demo --roster tests/submissions/demo_roster.csv --data digits \
	  --out results/demo --jobs 2
	@echo "next: make grade SUBMISSIONS=your_folder/ ROSTER=your_roster.csv"

grade: setup  ## grade SUBMISSIONS=dir/; the same command goes on where it stopped
	@$(if $(SUBMISSIONS),,$(error SUBMISSIONS= is missing: make grade SUBMISSIONS=dir/))
	@$(RUN) -m grader grade "$(SUBMISSIONS)" --data "$(DATA)" $(OPTIONS) $(YES_OPTION) $(CLUSTER_OPTION) \
	  $(PRECISION_OPTION) --student "$(STUDENT)"

collect: setup  ## show which file of SUBMISSIONS= counts for whom, and why, without running anything
	@$(if $(SUBMISSIONS),,$(error SUBMISSIONS= is missing: make collect SUBMISSIONS=dir/))
	@$(RUN) -m grader collect "$(SUBMISSIONS)" --out "$(OUT)" $(if $(FORMAT),--format "$(FORMAT)") \
	  $(if $(ROSTER),--roster "$(ROSTER)") $(if $(DEADLINE),--deadline "$(DEADLINE)") \
	  $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)")

check: setup  ## look at the files and networks in SUBMISSIONS=dir/ without training
	@$(if $(SUBMISSIONS),,$(error SUBMISSIONS= is missing: make check SUBMISSIONS=dir/))
	@$(RUN) -m grader check "$(SUBMISSIONS)" $(OPTIONS) --student "$(STUDENT)" $(if $(DRAW),--draw)

handout: setup  ## what students are given, with its self-check: dist/hw6-handout.zip
	@$(RUN) -m grader handout

report: setup  ## write the tables of OUT= anew, with today's roster and bands
	@$(RUN) -m grader report $(if $(SUBMISSIONS),"$(SUBMISSIONS)") --out "$(OUT)" $(if $(FORMAT),--format "$(FORMAT)") \
	  $(if $(ROSTER),--roster "$(ROSTER)") $(if $(DEADLINE),--deadline "$(DEADLINE)") \
	  $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)")

regrade: setup  ## run STUDENTS="a b" again (or FAILED=1, FLAGGED=1), with WHY="..."
	@$(RUN) -m grader regrade --out "$(OUT)" $(JOBS_OPTION) $(YES_OPTION) $(CLUSTER_OPTION) --students "$$STUDENTS" --why "$$WHY" \
	  $(if $(FAILED),--failed) $(if $(FLAGGED),--flagged)

override: setup  ## set the points of STUDENT= to POINTS=, with WHY="..."
	@$(RUN) -m grader override --out "$(OUT)" --student "$$STUDENT" --points "$$POINTS" --why "$$WHY"

export: setup  ## fill the grades of OUT= into what LMS= let you download, GRADEBOOK=; COLUMN= if several could be meant
	@$(if $(LMS),,$(error LMS= is missing: make export LMS=blackboard, canvas, moodle or gradescope))
	@$(RUN) -m grader export "$(LMS)" --out "$(OUT)" $(if $(GRADEBOOK),--gradebook "$(GRADEBOOK)") --column "$$COLUMN"

similar: setup  ## show pairs of submissions that are close; no points move
	@$(RUN) -m grader similar $(if $(SUBMISSIONS),"$(SUBMISSIONS)") --out "$(OUT)" $(if $(FORMAT),--format "$(FORMAT)") \
	  $(if $(ROSTER),--roster "$(ROSTER)") $(if $(DEADLINE),--deadline "$(DEADLINE)")

calibrate: setup  ## time the reference on this machine
	@$(RUN) -m grader calibrate --data "$(DATA)" --out "$(OUT)" $(JOBS_OPTION) \
	  $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)")

test: setup  ## run the tests, without the slow ones
	@$(RUN) -m pytest -n 2 --dist loadfile

bench: setup  ## time the grader beside `python hw6.py`, with 10,000 results, on a cluster; PART= names one part
	@$(RUN) tests/bench $(PART) $(if $(filter false-flags,$(PART)),--data "$(DATA)")

test-fast: setup  ## run what needs no sandbox: under a minute
	@$(RUN) -m pytest -m "not slow and not sandbox"

test-all: setup browser slurm  ## run the slow tests: the whole demo, the page in a browser, a job under Slurm
	@$(RUN) -m pytest -m slow

lint: setup  ## ruff and mypy
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

format: setup  ## let ruff rewrite the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

clean:  ## remove the environment and the caches, not the results
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
