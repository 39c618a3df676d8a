# From ECG signals to the paper's tables, figures and report. `make help` lists the targets; the settings are:
#
# DATASET=...        ptbxl-sample (default: the real ECGs in data/), demo (simulated), ptbxl (downloaded), or a folder in PTB-XL's layout
# STEPS=exact        of rebuilding ptbxl-sample: exact, replayed, retrained (default: all three)
# PARAMS=folder      settings of training and analysis; default notebooks/params/<data set>, else notebooks/params/paper
# LUDB=folder        the Lobachevsky database, for the external check
# VERSION=1.0.1      PTB-XL as the paper had it, instead of 1.0.3; PTBXL=folder takes a copy instead of a download, PTBXL_FROM=
#                    another address than PhysioNet's
# PROCESSES=N        train in N processes together, one for each GPU
# PYTHON, VENV       the interpreter that makes the environment, and its folder (conda: VENV=$CONDA_PREFIX)
# PORT, BENCH        of the page, and of the benchmarks to run

DATASET ?= ptbxl-sample
STEPS :=
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
unexport CARDIOV_MADE  # which `make lab` has set for its terminals too
export OMP_WAIT_POLICY := PASSIVE  # threads that spin while they wait take the cores of others
PY := $(VENV)/bin/python
READY := $(VENV)/.cardiov-ready
TESTS := $(PY) -m pytest --numprocesses auto --dist loadfile  # files share what their tests set up

##@ Main targets

.PHONY: paper publish
paper:  ## ptbxl-sample: rebuild what is published, and compare; other data sets: training, experiments, notebooks, report
publish:  ## take what is made here into results/, figures/ and the README, after training what is not stored

.PHONY: test
test: $(READY) data/demo/ptbxl_database.csv  ## pytest, and nbval on the outputs that the notebooks hold, on all cores
	@$(TESTS) && tests=passed || tests=failed; \
	$(TESTS) --nbval --nbval-current-env notebooks && notebooks=passed || notebooks=failed; \
	echo "pytest: $$tests"; echo "nbval: $$notebooks"; test $$tests$$notebooks = passedpassed

##@ Others

.PHONY: setup lab app wheel bench docs notebooks clean help
setup: $(READY)  ## only the environment
lab: $(READY)  ## JupyterLab on copies of the notebooks in build/lab, which are yours to change
	mkdir -p build/lab/solutions && cp -n notebooks/[0-9]*.ipynb build/lab && cp -n notebooks/solutions/*.ipynb build/lab/solutions
	CARDIOV_MADE=build/lab $(PY) -m jupyterlab build/lab
app: $(READY)  ## the page "Score my ECG" in the browser
	$(PY) -m cardiov app --port $(PORT)
wheel: $(READY)  ## build/wheel/cardiov-*.whl: what scoring takes, without data and results
	rm -rf build/wheel build/lib build/bdist.*
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/wheel .
	@rm -rf build/lib build/bdist.* && ls build/wheel/*.whl
bench: $(READY)  ## speed and memory, as ratios
	$(PY) -m pytest -s -m "slow or not slow" $(BENCH)
docs: $(READY)  ## the site of README, docs/ and notebooks, in build/docs
	$(PY) -m sphinx -q -W -c docs -d build/doctrees . build/docs
notebooks: $(READY) data/demo/ptbxl_database.csv  ## execute the notebooks in place, for the outputs that nbval checks
	for notebook in notebooks/*.ipynb notebooks/solutions/*.ipynb; do $(PY) -m cardiov notebook $$notebook $$notebook || exit 1; done
clean:  ## delete demo data, caches and what notebooks have made; results, figures, weights of real data and .venv stay
	rm -rf data/demo build/demo $(addprefix build/*/,done notebooks rebuilt retrained outcomes results figures cache-*)
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
TRAINING_CODE := $(SIGNALS_CODE) $(NETWORK_CODE) $(call wing,training) $(addprefix cardiov/experiments/,runs.py baselines.py features.py)
REPRODUCTION_CODE := $(TRAINING_CODE) $(call wing,analysis) cardiov/experiments/shipping.py cardiov/paper/reproduction.py
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

ifneq ($(filter paper publish build/%,$(MAKECMDGOALS)),)
PLAN := $(shell $(PYTHON) cardiov/paper/plan.py $(foreach name,DATASET PARAMS LUDB VERSION PTBXL STEPS,'$(name)=$($(name))') 2>&1)
$(if $(filter NAME=%,$(PLAN)),,$(error $(PLAN)))
$(foreach setting,NAME SOURCE DATA PARAMS VERSION,$(eval override $(filter $(setting)=%,$(PLAN))))
override STEPS := $(filter exact replayed retrained,$(subst STEPS=,,$(PLAN)))
REBUILDS := $(if $(filter publish,$(MAKECMDGOALS)),,$(filter sample,$(SOURCE)))
ON_LUDB := $(wildcard results/$(NAME)/external_ludb.csv)
# without LUDB, a publication would keep some of its results, and delete others
$(if $(REBUILDS)$(LUDB),,$(if $(ON_LUDB),$(error results/$(NAME) holds results of LUDB: give LUDB=<folder with its records>)))

BUILD := build/$(NAME)$(if $(REBUILDS),/rebuilt)
DONE := $(BUILD)/done
ENDING := $(DONE)/ending-$(subst $() ,-,$(STEPS))
TORCHRUN := $(PY) -m torch.distributed.run --standalone --nproc-per-node $(PROCESSES)
# the notebook on LUDB only if LUDB is given, or if its results are here
WITHOUT_LUDB := $(if $(LUDB)$(ON_LUDB),,%/16_external)
NUMBERED := $(patsubst notebooks/%.ipynb,$(DONE)/%,$(wildcard notebooks/[0-9]*.ipynb))
ANALYSED := $(filter-out %/99_published $(WITHOUT_LUDB),$(NUMBERED))

# One make at a time works on a data set; with -n it only looks, and need not wait.
ifeq ($(LOCKED)$(strip $(LOOKS_ONLY)),)
paper publish: $(READY)
	@$(PY) -m cardiov alone $(BUILD) '$(DATA) $(PARAMS)' '$(LUDB)' $(MAKE) LOCKED=yes $@
else
paper: $(if $(REBUILDS),$(ENDING),$(DONE)/publish)
publish: $(DONE)/publish
endif

# A step prints what it has made. The list stands for the step: `alone` deletes it when something of it is gone.
step = @mkdir -p $(@D) && echo "cardiov $(1)" && $(or $(2),$(PY)) -m cardiov $(1) > $@.part && mv $@.part $@
FOLDERS := $(DATA) $(NAME) $(PARAMS)

$(DONE)/prepare: $(DATA)/ptbxl_database.csv $(SIGNALS_CODE) requirements.lock | $(READY)
	$(call step,prepare $(FOLDERS) $(if $(filter copy,$(SOURCE)),--verify $(VERSION)))

ifneq ($(REBUILDS),)  # training takes longest; meanwhile the notebooks run, each on one core
MAKEFLAGS += $(if $(LOCKED),-j$(shell getconf _NPROCESSORS_ONLN))
export OMP_NUM_THREADS := 1
# files and folders; a folder's age shows that a file is gone
under = $(if $(wildcard $(1)),$(shell find $(wildcard $(1))))
STORED := $(call under,$(addprefix results/$(NAME)/,search.csv external_ludb*.csv runs reviews))
PUBLISHED := $(filter-out $(STORED),$(call under,results/$(NAME) figures/$(NAME)))
$(DONE)/retrained: $(DONE)/prepare $(REPRODUCTION_CODE) $(PARAMS)/runs.yaml $(STORED)
	$(call step,retrained $(FOLDERS))
$(DONE)/replayed: $(DONE)/prepare $(REPRODUCTION_CODE) $(call wing,pretrained) $(STORED)
	$(call step,replayed $(FOLDERS))
$(DONE)/experiments: $(DONE)/prepare $(STORED)
	@touch $@
$(DONE)/exact: $(DONE)/99_published $(PAPER_CODE) $(PUBLISHED)
	$(call step,exact $(FOLDERS))
# There is one report, so the marks of other choices of STEPS go.
$(ENDING): $(addprefix $(DONE)/,$(filter retrained,$(STEPS)) $(STEPS)) $(DONE)/99_published $(PAPER_CODE)
	@rm -f $(DONE)/ending-*
	$(call step,report $(NAME) $(STEPS))
	@$(PY) -m cardiov ending $(NAME) $(STEPS)
else
EXPERIMENTS := $(addprefix $(DONE)/,search baselines stress heat ship $(if $(LUDB),external))
$(DONE)/train: $(DONE)/prepare $(TRAINING_CODE) $(PARAMS)/runs.yaml
	$(call step,train $(FOLDERS),$(if $(PROCESSES),$(TORCHRUN)))
$(EXPERIMENTS): $(DONE)/%: $(DONE)/prepare $(EXPERIMENTS_CODE) | $(DONE)/train
	$(call step,$* $(FOLDERS) $(LUDB:%=--ludb %))
$(filter-out %/search %/baselines,$(EXPERIMENTS)): $(DONE)/train
$(filter-out %/search %/baselines %/ship,$(EXPERIMENTS)): $(DONE)/ship
$(DONE)/ship: $(DONE)/baselines  # which the model card shows
$(DONE)/search: $(PARAMS)/search.yaml
$(DONE)/baselines: $(PARAMS)/runs.yaml
$(DONE)/experiments: $(EXPERIMENTS)
	@touch $@
$(DONE)/report: $(DONE)/99_published $(PAPER_CODE)
	$(call step,report $(NAME))
$(DONE)/publish: $(DONE)/report
	$(call step,publish $(NAME))
endif

$(DONE)/%: notebooks/%.ipynb $(DONE)/experiments $(PARAMS)/analysis.yaml $(NOTEBOOKS_CODE)
	$(call step,notebook $< $(BUILD)/$< --dataset $(NAME) --data $(DATA) -f $(PARAMS)/analysis.yaml)
REVIEWS := $(filter-out %/simulated-reader.csv,$(wildcard results/$(NAME)/reviews/*.csv))
$(DONE)/01_dataset $(DONE)/14_labels: $(wildcard data/ptbxl-metadata/*.xz)
$(DONE)/07_agreement: $(REVIEWS)
$(DONE)/07_agreement $(DONE)/15_learning_curve: results/published.csv
$(DONE)/99_published: $(ANALYSED) $(PAPER_CODE)
endif
