# `make train` and `make test` set themselves up in .venv; nothing else is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/openclipart
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: train test test-all test-browser lint ablation ablation-masked install format clean

train: install
	$(BIN)/python train.py --config=configs/openclipart.py --workdir=$(RUN)
	$(BIN)/python -m tf_multimodal.evaluation.evaluate --run=$(RUN) --split=test
	$(BIN)/python -m export --run=$(RUN) --output=$(RUN)/export
	@echo
	@echo "Done: $(RUN)/evaluation/report.md, $(RUN)/export. What to type next:"
	@echo "  . $(BIN)/activate"
	@echo "  python -m tf_multimodal.inference.predict --run=$(RUN) --image=docs/images/potato.png --text='potato'"
	@echo "  python -m tf_multimodal.evaluation.report --run=$(RUN)    # does the text help, where, when is it wrong?"
	@echo "  python -m tf_multimodal.inference.demo --run=$(RUN)    # try it on a page"
	@echo "  python -m export.serve --model=$(RUN)/export"
	@echo "  python train.py --config=configs/manifest.py --config.data.manifest=YOUR.csv --workdir=runs/mine"
	@echo "  make ablation    # does the text help? 5-fold cross-validation"

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not browser"

test-all: install
	$(BIN)/python -m pytest -m "slow and not browser"

# Needs Chromium or Chrome: on Debian `apt-get install chromium`.
test-browser: install
	$(BIN)/python -m pytest -m browser

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ABLATION := -m tf_multimodal.experiments.ablation --config=configs/openclipart.py --folds=5

ablation: install
	$(BIN)/python $(ABLATION) --workdir=runs/ablation

# The same with the classes' own words taken out of the texts, after `make ablation`.
ablation-masked: ablation
	$(BIN)/python $(ABLATION) --workdir=runs/ablation_masked \
	  --config.data.mask_label_words=True --reuse_image=runs/ablation

install: $(VENV)/installed

$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache
