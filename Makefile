# From ECG signals to the paper's tables, figures and report. `make help` lists the targets.
#
# DATASET  demo (simulated, the default) or a folder in PTB-XL's layout; results are named after its last part
# PARAMS   folder with training.yaml, search.yaml and analysis.yaml; notebooks/params/<name> or, where there is none, .../paper
# PYTHON   interpreter that makes the environment (3.11 or newer)
# VENV     the environment; conda users give VENV=$CONDA_PREFIX
# LUDB     folder of the Lobachevsky University Database, on whose marked waves notebook 09 then measures real heat maps

DATASET ?= demo
LUDB ?=
PYTHON ?= python3
VENV ?= .venv

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# Data set

ifneq ($(words $(DATASET)),1)
$(error DATASET="$(DATASET)" must be one folder without spaces in its path: rename or link the folder)
endif
DEMO := data/demo
DATA := $(if $(filter demo demo/ $(DEMO) $(DEMO)/,$(DATASET)),$(DEMO),$(abspath $(DATASET)))
NAME := $(notdir $(DATA))
TABLE := $(DATA)/ptbxl_database.csv
PARAMS ?= $(patsubst %/,%,$(firstword $(wildcard notebooks/params/$(NAME)/ notebooks/params/paper/)))

ifneq ($(filter-out help setup test lab bench notebooks clean,$(MAKECMDGOALS)),)
ifneq ($(DATA),$(DEMO))
ifeq ($(wildcard $(TABLE)),)
$(error there is no $(TABLE): give DATASET=demo or a folder in the layout of PTB-XL)
endif
# everything derived is labelled by the name alone
ifneq ($(if $(findstring demo,$(NAME)),simulated),$(if $(wildcard $(DATA)/SIMULATED.txt),simulated))
$(error the name of a folder must have "demo" in it if, and only if, its data are simulated: rename $(DATA))
endif
endif
ifneq ($(words $(wildcard $(patsubst %,$(PARAMS)/%.yaml,training search analysis))),3)
$(error the folder "$(PARAMS)" lacks training.yaml, search.yaml or analysis.yaml: give PARAMS=notebooks/params/paper)
endif
ifneq ($(LUDB),$(if $(wildcard $(LUDB)/1.hea),$(LUDB)))
$(error there is no $(LUDB)/1.hea: give LUDB=<folder with the records of LUDB> or leave it out)
endif
endif

# Files. All stamps are under build/, which is never committed, so committed results never make a step skip.

BUILD := build/$(NAME)
STAMPS := $(BUILD)/stamps
RUN := $(BUILD)/notebooks
RESULTS := results/$(NAME)
TRAINING := $(PARAMS)/training.yaml
SEARCH := $(PARAMS)/search.yaml
ANALYSIS := $(PARAMS)/analysis.yaml
PY := $(VENV)/bin/python
READY := $(VENV)/.cardiov-ready

OBJECTIVES := ordinal classification regression
TRAINED := $(OBJECTIVES:%=$(RUN)/03_training-%-0.ipynb)
ORDINAL := $(RUN)/03_training-ordinal-0.ipynb
ANALYSED := $(patsubst %,$(RUN)/%.ipynb,01_dataset 02_network 04_roc 05_subgroups 06_ablation 07_agreement 08_cases \
	09_gradcam 10_search)
RECORDS := $(RUN)/01_dataset.ipynb
WEIGHTS := $(BUILD)/runs/ordinal-0/weights.safetensors
PUBLISHED := $(RUN)/99_published.ipynb

# What each step stands on. errors.py, notebook.py and __main__.py only carry messages and commands, no numbers.
module = $(1:%=cardiov/%)
LABELS := $(call module,ptbxl.py mapping.py critical_values.csv signals.py)
NETWORK := $(call module,model.py ordinal.py)
SHOWN := $(call module,plots.py results.py mapping.py critical_values.csv signals.py)
USES_DEMO := $(call module,synthetic.py signals.py mapping.py critical_values.csv)
USES_CACHE := $(call module,signals.py ptbxl.py)
USES_03 := $(call module,training.py evaluation.py) $(NETWORK) $(LABELS) $(SHOWN) $(TRAINING)
USES_01 := $(LABELS) $(SHOWN)
USES_02 := $(NETWORK) $(SHOWN)
USES_STRESS := $(call module,stress.py synthetic.py training.py) $(NETWORK) $(LABELS) $(call module,results.py) $(TRAINING)
USES_EXPLAIN := $(call module,explain.py evaluation.py results.py) $(NETWORK) $(LABELS) $(TRAINING)
USES_04 := $(call module,evaluation.py ordinal.py) $(SHOWN) $(ANALYSIS)
USES_05 := $(USES_04)
USES_06 := $(USES_04)
USES_07 := $(call module,review.py ptbxl.py) $(USES_04) results/published.csv $(filter-out %/simulated-reader.csv,$(wildcard $(RESULTS)/reviews/*.csv))
USES_08 := $(call module,stress.py synthetic.py training.py ptbxl.py) $(USES_04)
USES_09 := $(call module,explain.py ptbxl.py model.py) $(USES_04)
USES_10 := $(call module,search.py training.py evaluation.py) $(NETWORK) $(LABELS) $(SHOWN) $(SEARCH)
USES_99 := $(call module,comparison.py results.py) results/published.csv results/tolerances.csv
USES_REPORT := $(call module,report.py report.html comparison.py results.py)
USES_COMPARE := $(call module,comparison.py results.py) results/tolerances.csv

# A step also runs when what it left is gone, a record is newer than the cache, or the stamps are of another data folder
# or other parameters.
missing = $(if $(wildcard $(1)),,FORCE)
USES_CACHE += $(call missing,$(BUILD)/cache/cache.json)
USES_CACHE += $(if $(wildcard $(STAMPS)/cache),$(if $(shell find $(DATA)/ -newer $(STAMPS)/cache -print -quit 2>/dev/null),FORCE))
USES_EXPLAIN += $(if $(filter-out $(shell cat $(STAMPS)/explained 2>/dev/null),$(LUDB)),FORCE)
SETTINGS := $(DATA) $(PARAMS)
CHANGED := $(if $(filter-out $(shell cat $(STAMPS)/settings 2>/dev/null),$(SETTINGS)),FORCE)

NOTEBOOK = $(PY) -m cardiov notebook $< $@ -p dataset $(NAME)

##@ Main targets

.PHONY: paper
paper: $(STAMPS)/compared  ## everything: environment, data, training, notebooks, report and its comparison

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

.PHONY: bench
bench: $(READY)  ## speed and memory, as ratios
	$(PY) -m pytest -s -m "slow or not slow" tests/benchmarks

.PHONY: notebooks
notebooks: $(READY) $(DEMO)/ptbxl_database.csv  ## execute the notebooks again in place, for the outputs that nbval checks
	for notebook in notebooks/*.ipynb; do $(PY) -m cardiov notebook $$notebook $$notebook || exit 1; done

.PHONY: clean
clean:  ## delete demo data, stamps, caches and executed notebooks; results, figures, real data's weights and .venv stay
	rm -rf $(DEMO) build/demo build/*/stamps build/*/notebooks build/*/cache

.PHONY: help
help:  ## this list
	@awk -F ':.*## ' '/^##@/ {print substr($$0, 5) ":"} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "DATASET=<folder in PTB-XL's layout> and PARAMS=<folder of parameters> choose other data than the demo."

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

$(STAMPS)/settings: $(CHANGED)
	@mkdir -p $(@D)
	@echo "$(SETTINGS)" > $@

$(STAMPS)/cache: $(TABLE) $(USES_CACHE) $(TRAINING) $(STAMPS)/settings requirements.lock | $(READY)
	$(PY) -m cardiov prepare $(DATA) $(BUILD)/cache -f $(TRAINING)
	@touch $@

define training_step
$(RUN)/03_training-$(1)-0.ipynb: notebooks/03_training.ipynb $(STAMPS)/cache $(USES_03) \
		$(call missing,$(RESULTS)/runs/$(1)-0/predictions.csv) | $(READY)
	$$(NOTEBOOK) -p objective $(1) -p data $(DATA) -f $(TRAINING)
endef
$(foreach objective,$(OBJECTIVES),$(eval $(call training_step,$(objective))))

$(RUN)/01_dataset.ipynb: notebooks/01_dataset.ipynb $(TABLE) $(STAMPS)/cache $(USES_01) | $(READY)
	$(NOTEBOOK) -p data $(DATA)

$(RUN)/02_network.ipynb: notebooks/02_network.ipynb $(STAMPS)/settings $(USES_02) requirements.lock | $(READY)
	$(NOTEBOOK)

$(STAMPS)/stressed: $(ORDINAL) $(USES_STRESS) $(call missing,$(RESULTS)/runs/ordinal-0/stress.csv) | $(READY)
	$(PY) -m cardiov stress $(DATA) $(WEIGHTS) $(RESULTS)/runs/ordinal-0 -f $(TRAINING)
	@touch $@

$(STAMPS)/explained: $(ORDINAL) $(USES_EXPLAIN) $(call missing,$(RESULTS)/runs/ordinal-0/heat_sanity.csv) | $(READY)
	$(PY) -m cardiov explain $(DATA) $(WEIGHTS) $(RESULTS)/runs/ordinal-0 -f $(TRAINING) $(LUDB:%=--ludb %)
	@echo "$(LUDB)" > $@

$(RUN)/04_roc.ipynb: notebooks/04_roc.ipynb $(ORDINAL) $(USES_04) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/05_subgroups.ipynb: notebooks/05_subgroups.ipynb $(RECORDS) $(ORDINAL) $(USES_05) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/06_ablation.ipynb: notebooks/06_ablation.ipynb $(TRAINED) $(USES_06) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/07_agreement.ipynb: notebooks/07_agreement.ipynb $(RECORDS) $(ORDINAL) $(USES_07) | $(READY)
	$(NOTEBOOK) -f $(ANALYSIS)

$(RUN)/08_cases.ipynb: notebooks/08_cases.ipynb $(RECORDS) $(STAMPS)/stressed $(USES_08) | $(READY)
	$(NOTEBOOK) -p data $(DATA) -f $(ANALYSIS)

$(RUN)/09_gradcam.ipynb: notebooks/09_gradcam.ipynb $(RECORDS) $(STAMPS)/explained $(USES_09) | $(READY)
	$(NOTEBOOK) -p data $(DATA) -f $(ANALYSIS)

$(RUN)/10_search.ipynb: notebooks/10_search.ipynb $(STAMPS)/cache $(USES_10) \
		$(foreach name,search.csv runs/search/provenance.json,$(call missing,$(RESULTS)/$(name))) | $(READY)
	$(NOTEBOOK) -p data $(DATA) -f $(SEARCH)

$(PUBLISHED): notebooks/99_published.ipynb $(ANALYSED) $(USES_99) | $(READY)
	$(NOTEBOOK)

$(STAMPS)/report: $(PUBLISHED) $(ANALYSED) $(TRAINED) $(USES_REPORT) $(call missing,$(RESULTS)/report.html) | $(READY)
	$(PY) -m cardiov report $(NAME)
	@touch $@

$(STAMPS)/compared: $(STAMPS)/report $(USES_COMPARE) | $(READY)
	$(PY) -m cardiov compare $(NAME)
	@touch $@
