# From ECG signals to the paper's tables, figures and report. `make help` lists the targets.
#
# DATASET  demo (simulated, the default) or a folder in PTB-XL's layout; results are named after its last part. Where there
#          is no such folder, a name alone, such as ptbxl-sample, makes of the results stored under it all that needs no signals
#          ptbxl, where no such folder is, is PTB-XL, downloaded into data/ptbxl
# VERSION  of PTB-XL, on the command line: 1.0.3, or 1.0.1, the paper's, as data/ptbxl-1.0.1
# PTBXL    a copy of PTB-XL that DATASET=ptbxl takes instead; it is verified and only read
# PTBXL_FROM  another address than PhysioNet's to download it from: an archive (.zip) or the files (/)
# PARAMS   folder with training.yaml, search.yaml, experiments.yaml and analysis.yaml; notebooks/params/<name> or, where
#          there is none, .../paper. Its settings.mk, where there is one, says SEEDS
# SEEDS    with each of which every objective of Table 6 is trained; 0 if not said
# PROCESSES  that train each objective of Table 6 together, such as one for each GPU; one if not said
# PYTHON   interpreter that makes the environment (3.11 or newer)
# VENV     the environment; conda users give VENV=$CONDA_PREFIX
# PORT     of the page that `make app` opens
# BENCH    file or folder of benchmarks that `make bench` runs, all if not said
# LUDB     folder of the Lobachevsky University Database, on whose marked waves notebook 09 then measures real heat maps,
#          and on whose records notebook 16 tests the network

DATASET ?= demo
VERSION := 1.0.3
PTBXL ?=
LUDB ?=
PORT ?= 8866
BENCH ?= tests/benchmarks
PYTHON ?= python3
VENV ?= .venv

# Of `make paper`, one at a time is at work on a data set: it holds the lock and does all in a make of its own, which starts
# when what another has made is there to be seen. The kernel frees the lock when all processes that were given it have ended.
LOCKED := $(findstring n,$(firstword -$(MAKEFLAGS)))
define LOCK
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Another make is at work on $(NAME): this one waits until it has ended.", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
endef

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# Data set

ifneq ($(words $(DATASET))$(filter-out 0 1,$(words $(PTBXL))),1)
$(error DATASET="$(DATASET)" and PTBXL="$(PTBXL)" must each be one folder without spaces in its path: rename or link the folder)
endif
DEMO := data/demo
FOLDER := $(if $(filter demo demo/ $(DEMO) $(DEMO)/,$(DATASET)),$(DEMO),$(abspath $(DATASET)))
NAME := $(notdir $(FOLDER))
# not empty where it is PTB-XL itself, from PhysioNet or as a copy
PUBLISHED_DATA := $(if $(filter ptbxl ptbxl/,$(DATASET)),$(if $(wildcard $(FOLDER)),,yes))$(filter data/ptbxl data/ptbxl/,$(DATASET))
ifdef PUBLISHED_DATA
NAME := ptbxl$(if $(filter-out 1.0.3,$(VERSION)),-$(VERSION))
FOLDER := $(if $(PTBXL),$(abspath $(PTBXL)),data/$(NAME))
endif
RESULTS := results/$(NAME)
# not empty where stored results are all there is
STORED := $(wildcard $(RESULTS)/records.csv)
STORED := $(if $(filter $(DEMO),$(FOLDER))$(PUBLISHED_DATA)$(findstring /,$(DATASET))$(wildcard $(FOLDER)),,$(STORED))
DATA := $(if $(STORED),,$(FOLDER))
TABLE := $(or $(STORED),$(DATA)/ptbxl_database.csv)
PARAMS ?= $(patsubst %/,%,$(firstword $(wildcard notebooks/params/$(NAME)/ notebooks/params/paper/)))
TRAINING := $(PARAMS)/training.yaml
SEARCH := $(PARAMS)/search.yaml
EXPERIMENTS := $(PARAMS)/experiments.yaml
ANALYSIS := $(PARAMS)/analysis.yaml
SEEDS := 0
-include $(PARAMS)/settings.mk

ifneq ($(filter-out help setup test lab app bench notebooks clean,$(MAKECMDGOALS)),)
ifeq ($(filter 1.0.3 1.0.1,$(VERSION)),)
$(error VERSION="$(VERSION)" is none of PTB-XL that this is made for: give 1.0.3 or 1.0.1)
endif
ifneq ($(if $(PUBLISHED_DATA),,$(filter command,$(origin VERSION) $(origin PTBXL))),)
$(error VERSION and PTBXL say which PTB-XL is taken: give DATASET=ptbxl with them)
endif
ifeq ($(filter $(DEMO),$(DATA))$(STORED)$(if $(PTBXL),,$(PUBLISHED_DATA)),)
ifeq ($(wildcard $(TABLE)),)
$(error there is no $(TABLE): give DATASET=demo or ptbxl, a folder in the layout of PTB-XL or the name of stored results)
endif
# everything derived is labelled by the name alone
ifneq ($(if $(findstring demo,$(NAME)),simulated),$(if $(wildcard $(DATA)/SIMULATED.txt),simulated))
$(error the name of a folder must have "demo" in it if, and only if, its data are simulated: rename $(DATA))
endif
endif
ifneq ($(words $(wildcard $(patsubst %,$(PARAMS)/%.yaml,training search experiments analysis))),4)
$(error the folder "$(PARAMS)" lacks training.yaml, search.yaml, experiments.yaml or analysis.yaml: give PARAMS=notebooks/params/paper)
endif
ifeq ($(filter 0,$(SEEDS)),)
$(error SEEDS="$(SEEDS)" lacks 0, whose runs the notebooks show: add it, in $(PARAMS)/settings.mk or where SEEDS is given)
endif
ifneq ($(LUDB),$(if $(wildcard $(LUDB)/1.hea),$(LUDB)))
$(error there is no $(LUDB)/1.hea: give LUDB=<folder with the records of LUDB> or leave it out)
endif
ifneq ($(if $(STORED),$(LUDB)),)
$(error $(LUDB) is read by a network that is trained on the signals of $(NAME), which are not here: leave LUDB out)
endif
endif

# A notebook takes seconds to start, so several run at once; each computes on one core, or they would fight.
ifdef STORED
MAKEFLAGS += $(if $(LOCKED),-j$(shell getconf _NPROCESSORS_ONLN)) $(if $(filter output-sync,$(.FEATURES)),--output-sync)
export OMP_NUM_THREADS := 1
KEPT := The signals of $(NAME) are not here, so the training (notebooks 03 and 10 and the further runs), the stressed \
	predictions, the heat maps and the drawn ECGs (in notebooks 01, 08 and 09: Figs. 3, 4, 5a and 5b) stay as they were \
	stored; all else was made again.
endif

# Files. All stamps are under build/, which is never committed, so committed results never make a step skip. What is made
# from stored results has stamps of its own, which say nothing of training.

BUILD := build/$(NAME)$(if $(STORED),/stored)
STAMPS := $(BUILD)/stamps
RUN := $(BUILD)/notebooks
PY := $(VENV)/bin/python
READY := $(VENV)/.cardiov-ready

OBJECTIVES := ordinal classification regression
TRAINED := $(foreach seed,$(SEEDS),$(OBJECTIVES:%=$(RUN)/03_training-%-$(seed).ipynb))
ORDINAL := $(RUN)/03_training-ordinal-0.ipynb
# every numbered notebook, but that on LUDB only where there is something of it
NUMBERED := $(sort $(wildcard notebooks/[0-9]*.ipynb))
WITHOUT_LUDB := $(if $(LUDB)$(wildcard $(RESULTS)/external_ludb.csv),,%/16_external.ipynb)
ANALYSED := $(patsubst %,$(BUILD)/%,$(filter-out %/03_training.ipynb %/99_published.ipynb $(WITHOUT_LUDB),$(NUMBERED)))
RECORDS := $(RUN)/01_dataset.ipynb
WEIGHTS := $(BUILD)/runs/ordinal-0/weights.safetensors
SHIPPED := $(BUILD)/shipped.safetensors
PUBLISHED := $(RUN)/99_published.ipynb

# What each step stands on: wings and root files. errors.py, processes.py, paper/ and __main__.py only carry messages and
# commands, no numbers.
module = $(1:%=cardiov/%)
wing = $(wildcard $(1:%=cardiov/%/*.*))
MAPPING := $(call module,mapping.py critical_values.csv)
LABELS := $(MAPPING) $(call module,data/ptbxl.py data/cache.py) $(call wing,ecg)
NETWORK := $(call module,model.py kernels.py ordinal.py objectives.py)
FIT := $(call wing,training analysis) $(call module,scoring/calibration.py) $(NETWORK) $(LABELS)
SHOWN := $(call wing,plots store ecg) $(MAPPING)
USES_DEMO := $(call wing,data/demo ecg) $(MAPPING)
USES_CACHE := $(LABELS)
USES_03 := $(FIT) $(SHOWN) $(TRAINING)
USES_01 := $(LABELS) $(SHOWN)
USES_02 := $(NETWORK) $(SHOWN)
USES_STRESS := $(call module,experiments/stress.py) $(call wing,store) $(FIT) $(TRAINING)
USES_EXPLAIN := $(call module,experiments/heat.py experiments/waves.py) $(call wing,scoring analysis store) $(NETWORK) $(LABELS) $(TRAINING)
USES_04 := $(call wing,analysis) $(call module,scoring/calibration.py ordinal.py) $(SHOWN) $(ANALYSIS)
USES_05 := $(USES_04)
USES_06 := $(USES_04)
USES_07 := $(call module,experiments/review.py data/ptbxl.py) $(USES_04) results/published.csv $(filter-out %/simulated-reader.csv,$(wildcard $(RESULTS)/reviews/*.csv))
USES_08 := $(call module,experiments/stress.py) $(FIT) $(USES_04)
USES_09 := $(USES_EXPLAIN) $(USES_04)
USES_10 := $(call module,experiments/search.py) $(FIT) $(SHOWN) $(SEARCH)
USES_STUDY := $(call module,experiments/runs.py) $(call wing,store) $(FIT)
USES_SHIP := $(call module,experiments/shipping.py experiments/model_card.md) $(USES_STUDY)
USES_EXTERNAL := $(call module,experiments/external.py data/ludb.py data/ludb_statements.csv) $(call wing,store) $(FIT)
USES_11 := $(USES_SHIP) $(USES_04)
USES_12 := $(USES_04)
USES_13 := $(USES_11)
USES_14 := $(USES_04)
USES_15 := $(USES_04)
USES_16 := $(USES_EXTERNAL) $(USES_11) $(if $(LUDB),$(STAMPS)/external) $(wildcard $(RESULTS)/external_ludb.csv)
USES_99 := $(call module,paper/published.py data/ptbxl.py) results/published.csv results/tolerances.csv
USES_REPORT := $(call module,paper/report.py paper/report.html paper/published.py)
USES_COMPARE := $(call module,paper/published.py) results/tolerances.csv

# A step also runs when what it left is gone, a record is newer than the cache, or the stamps are of another data folder
# or other parameters.
missing = $(if $(wildcard $(1)),,FORCE)
noted = $(shell cat $(STAMPS)/$(1) 2>/dev/null)
USES_CACHE += $(call missing,$(BUILD)/cache/cache.json)
NEWER := $(if $(and $(DATA),$(wildcard $(STAMPS)/cache)),$(shell find $(DATA)/ -newer $(STAMPS)/cache -print -quit 2>/dev/null))
USES_CACHE += $(if $(NEWER),FORCE)
USES_STUDY += $(foreach name,$(call noted,studied),$(call missing,$(name)))
USES_EXPLAIN += $(if $(filter-out $(call noted,explained),$(LUDB)),FORCE)
USES_EXTERNAL += $(if $(filter-out $(call noted,external),$(LUDB)),FORCE) $(call missing,$(RESULTS)/external_ludb.csv)
SETTINGS := $(DATA) $(PARAMS)
CHANGED := $(if $(filter-out $(call noted,settings),$(SETTINGS)),FORCE)

NOTEBOOK = $(PY) -m cardiov notebook $< $@ -p dataset $(NAME)

##@ Main targets

.PHONY: paper
paper: $(if $(LOCKED),$(STAMPS)/compared)  ## everything: environment, data, training, notebooks, report and its comparison
ifndef LOCKED
paper: export LOCK := $(LOCK)
paper:
	@mkdir -p build
	@exec 9> build/$(NAME).lock && $(PYTHON) -c "$$LOCK" \
		&& { find build/$(NAME) $(RESULTS) figures/$(NAME) -name '.*.tmp' -delete 2>/dev/null || true; } \
		&& $(MAKE) LOCKED=yes paper
endif

.PHONY: test
test: $(READY) $(DEMO)/ptbxl_database.csv  ## pytest, and nbval on the outputs that the notebooks hold
	$(PY) -m pytest
	$(PY) -m pytest --nbval --nbval-current-env notebooks

##@ Others

.PHONY: setup
setup: $(READY)  ## only the environment, in .venv

.PHONY: lab
lab: $(READY) $(DEMO)/ptbxl_database.csv  ## JupyterLab on the notebooks
	$(PY) -m jupyterlab notebooks

.PHONY: app
app: $(READY)  ## the page "Score my ECG" in the browser; PORT=8866
	$(PY) -m cardiov app --port $(PORT)

.PHONY: bench
bench: $(READY)  ## speed and memory, as ratios
	$(PY) -m pytest -s -m "slow or not slow" $(BENCH)

.PHONY: notebooks
notebooks: $(READY) $(DEMO)/ptbxl_database.csv  ## execute the notebooks again in place, for the outputs that nbval checks
	for notebook in notebooks/*.ipynb; do $(PY) -m cardiov notebook $$notebook $$notebook || exit 1; done

.PHONY: clean
clean:  ## delete demo data, stamps, caches and executed notebooks; results, figures, real data's weights and .venv stay
	rm -rf $(DEMO) build/demo build/*/stamps build/*/notebooks build/*/cache* build/*/stored

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^##@/ {print substr($$0, 5) ":"} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "DATASET=<folder in PTB-XL's layout> and PARAMS=<folder of parameters> choose other data than the demo;"
	@echo "DATASET=ptbxl downloads PTB-XL (VERSION=1.0.1: the paper's version), or takes the copy that PTBXL=<folder> names."
	@echo "DATASET=ptbxl-sample, where no such folder is, redoes the statistics of its stored results without signals."

.PHONY: FORCE
FORCE:

# Environment

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, and $(PYTHON) is " + sys.version.split()[0] + ": give make PYTHON=<newer python>.")'
	@if [ -e $@ ] || [ -d $(VENV)/conda-meta ]; then rm -f $@; else $(PYTHON) -m venv --clear $(VENV); fi
	$(PY) -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Steps

$(DEMO)/ptbxl_database.csv: $(USES_DEMO) | $(READY)
	$(PY) -m cardiov demo $(DEMO)
	@touch $@

ifdef PUBLISHED_DATA
ifdef PTBXL
# What is known of the copy is remembered, so it is read again only where a file has another size or time.
VERIFIED := $(STAMPS)/verified
$(VERIFIED): $(TABLE) $(STAMPS)/settings $(if $(NEWER),FORCE) | $(READY)
	$(PY) -m cardiov verify $(DATA) $(BUILD)/verified.json --version $(VERSION)
	@touch $@
else
$(TABLE): | $(READY)
	$(PY) -m cardiov download $(DATA) --version $(VERSION)
# the copy is whole when it appears, and no later failure unmakes it
.PRECIOUS: $(TABLE)
endif
endif

$(STAMPS)/settings: $(CHANGED)
	@mkdir -p $(@D)
	@echo "$(SETTINGS)" > $@

ifdef STORED
# What these steps leave is there already, and stands for them.
$(addprefix $(STAMPS)/,cache stressed explained studied): $(STAMPS)/settings requirements.lock \
		$(TABLE) $(wildcard $(RESULTS)/search.csv $(RESULTS)/runs/*/*)
	@touch $@
else
$(STAMPS)/cache: $(TABLE) $(USES_CACHE) $(TRAINING) $(STAMPS)/settings requirements.lock | $(READY) $(VERIFIED)
	$(PY) -m cardiov prepare $(DATA) $(BUILD)/cache -f $(TRAINING)
	@touch $@

$(STAMPS)/stressed: $(ORDINAL) $(USES_STRESS) $(call missing,$(RESULTS)/runs/ordinal-0/stress.csv) | $(READY)
	$(PY) -m cardiov stress $(DATA) $(WEIGHTS) $(RESULTS)/runs/ordinal-0 -f $(TRAINING)
	@touch $@

$(STAMPS)/explained: $(ORDINAL) $(USES_EXPLAIN) $(call missing,$(RESULTS)/runs/ordinal-0/heat_sanity.csv) | $(READY)
	$(PY) -m cardiov explain $(DATA) $(WEIGHTS) $(RESULTS)/runs/ordinal-0 -f $(TRAINING) $(LUDB:%=--ludb %)
	@echo "$(LUDB)" > $@

# It takes all cores, so the other trainings go before it, also under -j.
$(STAMPS)/studied: $(EXPERIMENTS) $(STAMPS)/cache $(USES_STUDY) | $(TRAINED) $(RUN)/10_search.ipynb
	$(PY) -m cardiov study $(DATA) $(NAME) -f $(EXPERIMENTS)
	@ls $(RESULTS)/runs/*/predictions.csv > $@

$(SHIPPED): $(STAMPS)/studied $(USES_SHIP) | $(READY)
	$(PY) -m cardiov ship $(NAME) $@

$(STAMPS)/external: $(SHIPPED) $(USES_EXTERNAL) | $(READY)
	$(PY) -m cardiov external $(LUDB) $(SHIPPED) $(RESULTS)/external_ludb.csv
	@echo "$(LUDB)" > $@
endif

# What this has trained, the notebook finds finished.
TOGETHER = $(PY) -m cardiov launch $(PROCESSES) train --data $(DATA) --cache $(BUILD)/cache -f $(TRAINING) \
	--objective $(1) --seed $(2) --weights-dir $(BUILD)/runs/$(1)-$(2) --run-dir $(RESULTS)/runs/$(1)-$(2)
define training_step
$(RUN)/03_training-$(1)-$(2).ipynb: notebooks/03_training.ipynb $(STAMPS)/cache $(USES_03) \
		$(call missing,$(RESULTS)/runs/$(1)-$(2)/predictions.csv) | $(READY)
	$(if $(and $(DATA),$(PROCESSES)),$(call TOGETHER,$(1),$(2)))
	$$(NOTEBOOK) -p objective $(1) --seed $(2) -p data "$(DATA)" -f $(TRAINING)
endef
$(foreach objective,$(OBJECTIVES),$(foreach seed,$(SEEDS),$(eval $(call training_step,$(objective),$(seed)))))

$(RUN)/01_dataset.ipynb: notebooks/01_dataset.ipynb $(TABLE) $(STAMPS)/cache $(USES_01) | $(READY)
	$(NOTEBOOK) -p data "$(DATA)"

$(RUN)/02_network.ipynb: notebooks/02_network.ipynb $(STAMPS)/settings $(USES_02) requirements.lock | $(READY)
	$(NOTEBOOK)

$(RUN)/04_roc.ipynb: notebooks/04_roc.ipynb $(ORDINAL) $(USES_04) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/05_subgroups.ipynb: notebooks/05_subgroups.ipynb $(RECORDS) $(ORDINAL) $(USES_05) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/06_ablation.ipynb: notebooks/06_ablation.ipynb $(TRAINED) $(USES_06) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/07_agreement.ipynb: notebooks/07_agreement.ipynb $(RECORDS) $(ORDINAL) $(USES_07) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/08_cases.ipynb: notebooks/08_cases.ipynb $(RECORDS) $(STAMPS)/stressed $(USES_08) | $(READY)
	$(NOTEBOOK) -p data "$(DATA)" -f $(ANALYSIS)

$(RUN)/09_gradcam.ipynb: notebooks/09_gradcam.ipynb $(RECORDS) $(STAMPS)/explained $(USES_09) | $(READY)
	$(NOTEBOOK) -p data "$(DATA)" -f $(ANALYSIS)

$(RUN)/10_search.ipynb: notebooks/10_search.ipynb $(STAMPS)/cache $(USES_10) \
		$(foreach name,search.csv runs/search/provenance.json,$(call missing,$(RESULTS)/$(name))) | $(READY)
	$(NOTEBOOK) -p data "$(DATA)" -f $(SEARCH)

define study_step
$(RUN)/$(1).ipynb: notebooks/$(1).ipynb $(RECORDS) $(TRAINED) $(STAMPS)/studied \
		$(USES_$(firstword $(subst _, ,$(1)))) | $(READY)
	$$(NOTEBOOK) -f $(ANALYSIS)
endef
STUDIES := 11_best 12_methods 13_probabilities 14_labels 15_learning_curve 16_external
$(foreach name,$(STUDIES),$(eval $(call study_step,$(name))))

$(PUBLISHED): notebooks/99_published.ipynb $(ANALYSED) $(USES_99) | $(READY)
	$(NOTEBOOK)

$(STAMPS)/report: $(PUBLISHED) $(ANALYSED) $(TRAINED) $(if $(STORED),,$(SHIPPED)) $(USES_REPORT) \
		$(call missing,$(RESULTS)/report.html) | $(READY)
	$(PY) -m cardiov report $(NAME)
	@touch $@

$(STAMPS)/compared: $(STAMPS)/report $(USES_COMPARE) | $(READY)
	$(PY) -m cardiov compare $(NAME)
	@touch $@
	$(if $(STORED),@echo "$(KEPT)")
