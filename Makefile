# The teacher's commands. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# The commands get your settings in the environment, as GRADER_<NAME>: no shell reads them, and make expands nothing in them.
COMMANDS := doctor grade collect check report regrade override export similar calibrate handout prevalidate rehearse bench
SETTINGS := SUBMISSIONS FORMAT ROSTER DEADLINE DATA OUT JOBS ASSIGNMENT STUDENT YES CLUSTER PRECISION \
  STUDENTS FAILED FLAGGED WHY POINTS LMS GRADEBOOK COLUMN PART
unexport $(SETTINGS)
$(foreach name,$(SETTINGS),$(eval $(COMMANDS): export GRADER_$(name) = $$(value $(name))))

# Make would take DEADLIN= without a word, and then nobody is late.
TYPED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(SETTINGS) PYTHON VENV STAMP RUN,$(TYPED))
$(if $(UNKNOWN),$(error there is no setting $(firstword $(UNKNOWN))=: make alone lists them all; to set a variable of \
  the environment, write it before the word make))

.DEFAULT_GOAL := help
TARGETS := help setup system browser slurm demo test test-fast test-all test-gpu lint format clean $(COMMANDS)
.PHONY: $(TARGETS)
STRAY := $(filter-out $(TARGETS) $(STAMP),$(MAKECMDGOALS))
$(if $(STRAY),$(error $(firstword $(STRAY)) is no target: put quotes around what has blanks in it, as WHY="shown in class"))

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  SUBMISSIONS=dir/   what students handed in: a folder, or an archive from Blackboard, Canvas, Moodle or Gradescope"
	@echo "  FORMAT=            blackboard, canvas, moodle, gradescope or folder, if the names do not show it"
	@echo "  ROSTER=roster.csv  everyone in the course (student_id,name), or the gradebook from the same system"
	@echo "  DEADLINE=          later files do not count: 2026-12-01T23:59+09:00, or 2026-12-01 23:59 Asia/Seoul"
	@echo "  DATA=              CIFAR-10, downloaded once; or a torchvision folder, an .npz file, or digits"
	@echo "  OUT=results        the folder for everything that the grader writes"
	@echo "  JOBS=2             how many submissions run at the same time; the default suits this machine"
	@echo "  ASSIGNMENT=a.toml  other rules than grader/assignment.toml"
	@echo "  STUDENT=id         grade or check only this student, and show the output"
	@echo "  YES=1              start without a question, however long it takes"
	@echo "  CLUSTER=auto       run on all nodes of a Ray cluster, or give its address; JOBS= then counts for each GPU"
	@echo "  PRECISION=bfloat16 for grade: train in mixed precision unless the script has its own; the numbers differ"
	@echo "  For regrade: STUDENTS=\"a b\", FAILED=1 or FLAGGED=1, and WHY=\"...\". For override: STUDENT= POINTS= WHY=\"...\"."
	@echo "  For export: LMS=blackboard, canvas, moodle or gradescope; GRADEBOOK=downloaded.xls; COLUMN=\"a part of its name\"."

setup: $(STAMP) system  ## install everything into .venv

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "setting up $(VENV): some minutes, about 6 GB"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --editable '.[dev]'
	@touch $@

# $(call install,test,packages,why,else): unless the test succeeds, install the packages as root, or say why and how.
define install
	@{ $(1); } >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2); \
	  else \
	    echo "$(3). Install it: sudo apt-get install $(2)"; $(4); \
	  fi; }
endef

system:
	$(call install,command -v bwrap,bubblewrap,bubblewrap is missing; submissions run in it,exit 1)

browser:
	$(call install,command -v chromium || command -v google-chrome,chromium,Chromium is missing; the tests of the pages are skipped,true)

slurm:
	$(call install,command -v slurmctld && command -v slurmd,--no-install-recommends slurmctld slurmd,Slurm is missing; its test is skipped,true)

doctor:     ## show the isolation, GPUs, memory, disk and speed of this machine
grade:      ## grade SUBMISSIONS=dir/; the same command continues where it stopped
collect:    ## show which file in SUBMISSIONS= counts for whom, and why; run nothing
check:      ## check the files and networks in SUBMISSIONS=dir/ without training
report:     ## write the tables in OUT= again, with today's roster and bands
regrade:    ## run STUDENTS="a b" again (or FAILED=1, FLAGGED=1), with WHY="..."
override:   ## set the points of STUDENT= to POINTS=, with WHY="..."
export:     ## fill the grades in OUT= into the gradebook that you downloaded from LMS=
rehearse:   ## show every step with a made-up class of six from LMS=; takes minutes
similar:    ## show pairs of similar submissions; points do not change
calibrate:  ## time the reference on this machine
handout:    ## write the students' files and their self-check: dist/hw6-handout.zip
prevalidate: ## write dist/autograder.zip: Gradescope then checks each upload at once

grade collect check: setup
	@$(if $(value SUBMISSIONS),,$(error SUBMISSIONS= is missing: make $@ SUBMISSIONS=dir/))
	@$(RUN) -m grader $@

rehearse export: setup
	@$(if $(value LMS),,$(error LMS= is missing: make $@ LMS=blackboard, canvas, moodle or gradescope))
	@$(RUN) -m grader $@

doctor report regrade override similar calibrate handout prevalidate: setup
	@$(RUN) -m grader $@

demo: setup  ## grade a small class on a small data set, to see how it works
	@rm -rf results/demo
	@$(RUN) -m grader grade tests/submissions/demo --roster tests/submissions/demo_roster.csv --data digits \
	  --out results/demo --jobs 2
	@echo "next: make grade SUBMISSIONS=your_folder/ ROSTER=your_roster.csv"

test: setup  ## run the tests, without the slow ones
	@$(RUN) -m pytest -n 2 --dist loadfile

test-fast: setup  ## run the tests that need no sandbox: under a minute
	@$(RUN) -m pytest -m "not slow and not sandbox and not gpu"

test-all: setup browser slurm  ## run the slow tests: the whole demo, the page in a browser, a job under Slurm
	@$(RUN) -m pytest -m "slow and not alone" -n 2 --dist loadfile
	@$(RUN) -m pytest -m "slow and alone"

test-gpu: setup  ## grade small classes on this machine's GPU: six minutes
	@ls /dev/nvidia[0-9]* >/dev/null 2>&1 || { echo "This machine has no GPU: nothing was tested."; exit 0; }; \
	  $(RUN) -m pytest -m gpu -s tests/gpu

bench: setup  ## measure the grader; PART= names one part (grader/docs/benchmarks.md)
	@$(RUN) tests/bench $${GRADER_PART:+"$$GRADER_PART"}

lint: setup  ## check with ruff and mypy
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

format: setup  ## let ruff rewrite the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

clean:  ## remove the environment and the caches, not the results
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
