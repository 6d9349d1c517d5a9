# make up     from a fresh clone to a running gateway, in the foreground
# make test   every check and test; ARGS='-k name' goes to pytest, STRICT=1 forbids skips,
#             LONG=1 runs the long group instead: every store, client, name, theme
# make lock   pin the newest releases that pyproject.toml allows
# make install  only the environments that make up uses
# make run    any landbridge command: make run ARGS=doctor

PYTHON ?= python3
ARGS ?=

.PHONY: up test lock run install
up run test install: python
	@exec $(PYTHON) scripts/bootstrap.py $@ $(if $(STRICT),--strict) $(if $(LONG),--long) $(ARGS)

lock: python
	@exec $(PYTHON) scripts/lock.py

.PHONY: python
python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "landbridge: $(PYTHON) is not installed; Landbridge needs Python 3.11 or newer." >&2; exit 1; }
