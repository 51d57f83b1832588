# pam_arena: `make demo` to see it, `make test` for everything that must hold. As root, on Debian 12.

SHELL := /bin/bash -euo pipefail
# Debian's own tools and Python alone: a Python of pyenv or conda would build for itself.
export PATH := /usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL := C.UTF-8

# What a machine needs: to build the packages, to run the library, to test, to boot throw-away hosts.
APT := build-essential debhelper dh-apparmor dh-python dpkg-dev git libpam0g-dev pybuild-plugin-pyproject \
	python3-all python3-babel python3-cffi python3-dev python3-setuptools python3-venv \
	python3-aiohttp python3-alembic python3-argon2 python3-attr python3-click python3-cryptography python3-httpx \
	python3-pampy python3-prometheus-client python3-pskc python3-pyotp python3-rich python3-sdnotify python3-segno python3-six \
	python3-sqlalchemy \
	python3-aiosmtpd python3-hypothesis python3-matplotlib python3-numpy python3-pytest python3-pytest-xdist python3-yaml \
	afl++ clang clang-format libclang-rt-14-dev libpam-modules shellcheck strace valgrind \
	ca-certificates iproute2 mmdebstrap openssh-client util-linux zsh zstd
# atheris: the fuzzers of tests/fuzz/parsers.py.
PIP := ruff==0.17.6 mypy==2.4.1 atheris==3.0.0
# It brings newer releases of what Debian has: apart from the tests' own Python.
PIP_API := schemathesis==4.32.5
# mypy reads these: Debian 12's SQLAlchemy has no types yet.
PIP_TYPES := SQLAlchemy==2.0.40 aiohttp==3.11.16 alembic==1.13.2 argon2-cffi==23.1.0 attrs==25.3.0 cffi==1.17.1 \
	click==8.2.0 cryptography==43.0.0 httpx==0.28.1 prometheus_client==0.21.1 pyotp==2.9.0 rich==13.9.4 segno==1.6.6

PYTHON := .venv/bin/python
# The lists above are in the stamp's name: changed lists, new set-up.
READY := .venv/ready-$(shell echo '$(APT) $(PIP) $(PIP_API) $(PIP_TYPES)' | sha256sum | cut -c1-12)
SOURCES := $(wildcard setup.py pyproject.toml) \
	$(shell find c_shim pam_arena daemon packaging -type f ! -path '*/__pycache__/*' ! -name '*.so' ! -name '*.mo' ! -name '_shim.c')

.PHONY: setup build lint test torture fuzz timing deb demo bench clean

setup: $(READY)

$(READY):
	@[ "$$(id -u)" = 0 ] || { echo 'make: run as root: the tests boot throw-away hosts' >&2; exit 1; }
	@if [ "$$(dpkg-query -W -f '$${db:Status-Status}\n' $(APT) 2>/dev/null | grep -cx installed)" != $(words $(APT)) ]; then \
		echo 'Installing what is missing of Debian packages ...'; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get -qq -o DPkg::Lock::Timeout=300 update; \
		apt-get -qqy -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 --no-install-recommends install $(APT) >/dev/null; \
	fi
	@[ -x $(PYTHON) ] || /usr/bin/python3 -m venv --system-site-packages .venv
	@echo 'Setting up .venv, .venv-lint and .venv-api ...'
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check $(PIP)
	@[ -x .venv-lint/bin/python ] || /usr/bin/python3 -m venv .venv-lint
	@.venv-lint/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_TYPES)
	@[ -x .venv-api/bin/python ] || /usr/bin/python3 -m venv .venv-api
	@.venv-api/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_API)
	@rm -f .venv/ready-*
	@touch $@

# The module, the test extension and the catalogues, next to their sources.
build: $(READY) build/.done
build/.done: $(SOURCES)
	$(PYTHON) setup.py --quiet build_py build_ext --inplace
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	mkdir -p build && touch $@

lint: build
	$(PYTHON) -m pytest -q tests/test_lint.py

test: build deb
	$(PYTHON) -m pytest -n 6 --dist loadgroup tests

# The long forms of the attacks, an hour and more; their counts stand at the end of what it prints.
torture: build
	ARENA_LONG=1 $(PYTHON) -m pytest -n 2 --dist loadgroup tests/fault tests/torture

# All fuzzers, for T seconds in sum; not 0 where one finds something.
T := 600
fuzz: build
	$(PYTHON) tests/fuzz/run.py $(T)

# Denials on the stopwatch: N of each state at the socket, SSHD through sshd. The long form, N=10000 SSHD=2000, takes 1 h 40.
N := 1000
SSHD := 100
timing: build deb
	$(PYTHON) tests/timing/run $(N) $(SSHD)

deb: $(READY) dist/.done
dist/.done: $(SOURCES)
	@echo 'Building the packages ...'
	@packaging/build-debs
	@touch $@

demo: deb
	@tests/host/demo

bench: build deb
	tests/bench/run

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find c_shim pam_arena daemon tests -name __pycache__ -prune -exec rm -r {} +
	find pam_arena \( -name '*.so' -o -name '*.mo' -o -name _shim.c \) -delete
