# From ECG signals to the paper's tables, figures and report. `make help` lists the targets; the settings are:
#
# DATASET=demo       simulated data (default), a folder in PTB-XL's layout, the name of stored results, or ptbxl (downloaded)
# PARAMS=folder      settings of training and analysis; default notebooks/params/<data set>, else notebooks/params/paper
# LUDB=folder        the Lobachevsky database, for the external check
# VERSION=1.0.1      PTB-XL as the paper had it, instead of 1.0.3; PTBXL=folder takes a copy instead of a download, PTBXL_FROM=
#                    another address than PhysioNet's
# PROCESSES=N        train in N processes together, one for each GPU
# PYTHON, VENV       the interpreter that makes the environment, and its folder (conda: VENV=$CONDA_PREFIX)
# PORT, BENCH        of the page, and of the benchmarks to run

DATASET ?= demo
PARAMS ?=
LUDB ?=
VERSION :=
PTBXL :=
PORT ?= 8866
BENCH ?= tests/benchmarks
PYTHON ?= python3
VENV ?= .venv

LOOKS_ONLY := $(findstring n,$(firstword -$(MAKEFLAGS)))  # make -n
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export OMP_WAIT_POLICY := PASSIVE  # threads that spin while they wait take the cores of others
PY := $(VENV)/bin/python
READY := $(VENV)/.cardiov-ready

##@ Main targets

.PHONY: paper
paper:  ## everything: environment, data, training, experiments, notebooks, report and its comparison with what is committed

.PHONY: test
test: $(READY) data/demo/ptbxl_database.csv  ## pytest, and nbval on the outputs that the notebooks hold
	$(PY) -m pytest
	$(PY) -m pytest --nbval --nbval-current-env notebooks

##@ Others

.PHONY: setup lab app bench notebooks clean help
setup: $(READY)  ## only the environment
lab: $(READY) data/demo/ptbxl_database.csv  ## JupyterLab on the notebooks
	$(PY) -m jupyterlab notebooks
app: $(READY)  ## the page "Score my ECG" in the browser
	$(PY) -m cardiov app --port $(PORT)
bench: $(READY)  ## speed and memory, as ratios
	$(PY) -m pytest -s -m "slow or not slow" $(BENCH)
notebooks: $(READY) data/demo/ptbxl_database.csv  ## execute the notebooks in place, for the outputs that nbval checks
	for notebook in notebooks/*.ipynb; do $(PY) -m cardiov notebook $$notebook $$notebook || exit 1; done
clean:  ## delete demo data, caches and executed notebooks; results, figures, weights of real data and .venv stay
	rm -rf data/demo build/demo build/*/done build/*/notebooks build/*/cache-* build/*/stored
help:  ## this list
	@awk -F ':.*## ' '/^##@/ {print substr($$0, 5) ":"} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "Settings, such as DATASET=<folder in PTB-XL's layout>, are listed at the head of the Makefile."

# Environment and data

$(READY): requirements.lock pyproject.toml
	$(PYTHON) cardiov/paper/environment.py $(VENV)

# The code, wing by wing: a step depends on its own and on those below. Finished trainings are recognised by their settings and
# data, so depending on too much costs little; depending on too little would cost the truth.
wing = $(filter-out %.pyc,$(foreach name,$(1),$(wildcard cardiov/$(name)/*.* cardiov/$(name)/*/*.*)))
SIGNALS_CODE := cardiov/mapping.py cardiov/critical_values.csv $(call wing,ecg data)
NETWORK_CODE := $(addprefix cardiov/,model.py kernels.py ordinal.py objectives.py)
TRAINING_CODE := $(SIGNALS_CODE) $(NETWORK_CODE) $(call wing,training) cardiov/experiments/runs.py
EXPERIMENTS_CODE := $(TRAINING_CODE) $(call wing,analysis scoring experiments)
NOTEBOOKS_CODE := $(EXPERIMENTS_CODE) $(call wing,plots store)
PAPER_CODE := $(call wing,paper) results/published.csv results/tolerances.csv

data/demo/ptbxl_database.csv: $(SIGNALS_CODE) | $(READY)
	$(PY) -m cardiov demo $(@D)
	@touch $@

data/ptbxl%ptbxl_database.csv: | $(READY)
	$(PY) -m cardiov download $(@D) --version $(if $(filter %-1.0.1,$(@D)),1.0.1,1.0.3)
.PRECIOUS: data/ptbxl%ptbxl_database.csv

# The paper. plan.py turns the settings into NAME, SOURCE, DATA, PARAMS and VERSION, or says in one sentence what is wrong.

ifneq ($(filter paper build/%,$(MAKECMDGOALS)),)
PLAN := $(shell $(PYTHON) cardiov/paper/plan.py $(foreach name,DATASET PARAMS LUDB VERSION PTBXL,'$(name)=$($(name))') 2>&1)
$(if $(filter NAME=%,$(PLAN)),,$(error $(PLAN)))
$(foreach setting,$(PLAN),$(eval override $(setting)))

BUILD := build/$(NAME)$(if $(DATA),,/stored)
DONE := $(BUILD)/done
RUN := $(BUILD)/notebooks
TORCHRUN := $(PY) -m torch.distributed.run --standalone --nproc-per-node $(PROCESSES)
# the notebook on LUDB only if LUDB is given, or if its results are here
WITHOUT_LUDB := $(if $(LUDB)$(wildcard results/$(NAME)/external_ludb.csv),,%/16_external.ipynb)
ANALYSED := $(patsubst %,$(BUILD)/%,$(filter-out %/99_published.ipynb $(WITHOUT_LUDB),$(wildcard notebooks/[0-9]*.ipynb)))

# One make at a time works on a data set; with -n it only looks, and need not wait.
ifeq ($(LOCKED)$(strip $(LOOKS_ONLY)),)
paper: $(READY)
	@$(PY) -m cardiov alone $(BUILD) '$(DATA) $(PARAMS)' '$(LUDB)' $(MAKE) LOCKED=yes paper
else
paper: $(DONE)/compare
endif

# A step prints what it has made. The list stands for the step: `alone` deletes it when something of it is gone.
step = @mkdir -p $(@D) && echo "cardiov $(1)" && $(or $(2),$(PY)) -m cardiov $(1) > $@.part && mv $@.part $@

ifneq ($(DATA),)
EXPERIMENTS := $(addprefix $(DONE)/,search stress heat ship $(if $(LUDB),external))
$(DONE)/prepare: $(DATA)/ptbxl_database.csv $(SIGNALS_CODE) requirements.lock | $(READY)
	$(call step,prepare $(DATA) $(NAME) $(PARAMS) $(if $(filter copy,$(SOURCE)),--verify $(VERSION)))
$(DONE)/train: $(DONE)/prepare $(TRAINING_CODE) $(PARAMS)/runs.yaml
	$(call step,train $(DATA) $(NAME) $(PARAMS),$(if $(PROCESSES),$(TORCHRUN)))
$(EXPERIMENTS): $(DONE)/%: $(DONE)/prepare $(EXPERIMENTS_CODE) | $(DONE)/train
	$(call step,$* $(DATA) $(NAME) $(PARAMS) $(LUDB:%=--ludb %))
$(filter-out %/search,$(EXPERIMENTS)): $(DONE)/train
$(DONE)/search: $(PARAMS)/search.yaml
$(DONE)/external: $(DONE)/ship
$(DONE)/experiments: $(EXPERIMENTS)
	@touch $@
else  # of stored results; a notebook takes seconds to start, so several run at once, each on one core
MAKEFLAGS += $(if $(LOCKED),-j$(shell getconf _NPROCESSORS_ONLN)) $(if $(filter output-sync,$(.FEATURES)),--output-sync)
export OMP_NUM_THREADS := 1
STORED := $(shell find $(wildcard $(addprefix results/$(NAME)/,records.csv search.csv runs)) -type f)
$(DONE)/experiments: $(STORED) requirements.lock | $(READY)
	@mkdir -p $(@D) && touch $@
endif

$(RUN)/%.ipynb: notebooks/%.ipynb $(DONE)/experiments $(PARAMS)/analysis.yaml $(NOTEBOOKS_CODE)
	$(PY) -m cardiov notebook $< $@ --dataset $(NAME) --data "$(DATA)" -f $(PARAMS)/analysis.yaml
$(filter-out %/01_dataset.ipynb,$(ANALYSED)): $(RUN)/01_dataset.ipynb
REVIEWS := $(filter-out %/simulated-reader.csv,$(wildcard results/$(NAME)/reviews/*.csv))
$(RUN)/01_dataset.ipynb: $(wildcard data/ptbxl-metadata/*.xz)
$(RUN)/07_agreement.ipynb: results/published.csv $(REVIEWS)
$(RUN)/99_published.ipynb: $(ANALYSED) $(PAPER_CODE)

$(DONE)/report: $(RUN)/99_published.ipynb $(PAPER_CODE)
	$(call step,report $(NAME))
$(DONE)/compare: $(DONE)/report
	$(PY) -m cardiov compare $(NAME)
	$(if $(DATA),,@echo "The signals of $(NAME) are not here, so what needs them stays as stored: training, search, stress test, heat maps, drawn ECGs.")
	@touch $@
endif
