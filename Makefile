# Two commands for a stranger: `make demo` and `make test`. Both make .venv on first use and need only Python >= 3.11.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-isa check slow parity trackers slurm ray docs bench tpu-compile clean

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V); jaxgpt needs Python 3.11 or later: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv .venv
	@echo "installing jaxgpt into .venv (about a minute)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: .venv/installed  ## a first ablation on the standard library's source: about 3 minutes on 2 cores
	$(BIN)/jaxgpt ablate experiments/position.py

test: .venv/installed  ## the tests
	$(BIN)/python -m pytest

test-isa: .venv/installed  ## the tests as on older processors: each instruction set that XLA may use here, in turn
	@sets=; for known in sse4_2:SSE4_2 avx2:AVX2 avx512f:AVX512; do \
	  ! grep -qw $${known%:*} /proc/cpuinfo 2> /dev/null || sets="$$sets $${known#*:}"; \
	done; \
	[ -n "$$sets" ] || { echo "error: /proc/cpuinfo names no instruction set that XLA could be held to"; exit 2; }; \
	failed=; for isa in $$sets; do \
	  echo "instruction set $$isa of$$sets"; \
	  JAXGPT_TEST_XLA_FLAGS="--xla_cpu_max_isa=$$isa" $(BIN)/python -m pytest || failed="$$failed $$isa"; \
	done; \
	[ -z "$$failed" ] || { echo "error: the tests fail under$$failed"; exit 1; }

check: .venv/installed  ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py -n 0

slow: .venv/installed  ## minutes: kill -9 at random moments, learning results
	$(BIN)/python -m pytest -m slow -n 0

.venv/peer: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,peer,mteb,eval]'
	@touch $@

parity: .venv/peer  ## logits and gradients against transformers on torch
	$(BIN)/python -m pytest -m parity -n 0

.venv/track: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,track]'
	@touch $@

trackers: .venv/track  ## Weights & Biases, MLflow, trackio and TensorBoard, offline
	$(BIN)/python -m pytest -m trackers -n 0

.venv/engines: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,engines]'
	@touch $@

slurm: .venv/engines  ## a private Slurm cluster on this machine: a sweep survives requeueing and the loss of a node
	@for program in munged slurmctld slurmd sbatch; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $$program > /dev/null || \
	    { echo "error: no $$program on this machine; on Debian: apt-get install slurm-wlm munge"; exit 2; }; \
	done
	$(BIN)/python -m pytest -m slurm -n 0

ray: .venv/engines  ## two raylets on this machine: a sweep survives the loss of one
	$(BIN)/python -m pytest -m ray -n 0

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,docs]'
	@touch $@

docs: .venv/docs  ## the site in build/site/: pages, and the reference from docstrings; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "open build/site/index.html"

.venv-tpu/installed: pyproject.toml
	$(PYTHON) -m venv .venv-tpu
	.venv-tpu/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev,tpu]'
	@touch $@

tpu-compile: .venv-tpu/installed  ## kernels and training steps compiled for TPU v5e and v5p, and their collectives, without a TPU
	.venv-tpu/bin/python -m pytest -m tpu -n 0 -s

bench: .venv/peer  ## every figure, ours and the peer's in one run; JSON under runs/bench/
	@mkdir -p runs/bench
	for name in train_step step_ops generate smollm2 minilm first_step attention gpu gradcache simcse_step simcse simcse_minilm sharding fused lab_statistics shakespeare shakespeare_torch; do \
	  $(BIN)/python bench/$$name.py --json runs/bench/$$name.json || exit 1; \
	done

clean:
	rm -rf .venv .venv-tpu build *.egg-info .pytest_cache .mypy_cache .ruff_cache
