# podway's own commands. Each target does all of its own set-up on a fresh Debian 12 machine:
# system packages (asked for only when missing), a virtual environment, everything.
#
#   make demo    the main job: three nodes, six pods, every pod reaches every pod
#   make test    all checks and all tests, on this kernel and on User Mode Linux
#   make check   format, lint, types, import contracts
#   make bench   measure podway against what it replaces; writes docs/benchmarks.md
#   make man     write the man pages to build/man
#   make clean   remove what the other targets made, running labs included

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

SYSTEM_PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

RUN_PACKAGES := python3 python3-venv iproute2 nftables libnftables1 iperf3 procps
TEST_PACKAGES := containernetworking-plugins iptables tcpdump ethtool conntrack \
  user-mode-linux kmod \
  wireguard-go wireguard-tools \
  gcc libc6-dev \
  etcd-server etcd-client \
  strace \
  dnsmasq-base udhcpd \
  firewalld dbus-daemon libglib2.0-bin \
  podman containerd runc conmon busybox-static \
  zsh fish
KUBERNETES_PACKAGES := golang-go dpkg-dev etcd-server \
  debootstrap buildah patchelf
BENCH_PACKAGES := containernetworking-plugins iptables etcd-server gcc libc6-dev

.PHONY: demo test check bench man clean

demo: $(STAMPS)/run
	$(SUDO) $(BIN)/podway lab demo

test: check $(STAMPS)/test-packages $(STAMPS)/kubernetes
	$(SUDO) $(BIN)/python tests/run.py $(TESTS)

check: $(STAMPS)/dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMPS)/dev $(STAMPS)/bench-packages
	$(SUDO) $(BIN)/python -m bench $(BENCH)

man: $(STAMPS)/dev
	$(BIN)/python -m podway.cli.manual build/man

clean:
	if [ -x $(BIN)/podway ]; then $(SUDO) $(BIN)/podway lab down --all; fi
	rm -rf $(VENV) $(STAMPS) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMPS)/run: pyproject.toml constraints.txt | $(STAMPS)/run-packages
	$(SYSTEM_PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(STAMPS)/dev: $(STAMPS)/run
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev
	touch $@

# A real API server for the tests. It takes minutes, once per machine: the programs lie outside of
# the checkout, with the same user who runs the tests.
$(STAMPS)/kubernetes: tests/kube_apiserver/build.sh | $(STAMPS)/kubernetes-packages
	$(SUDO) tests/kube_apiserver/build.sh
	touch $@

# Only what is missing is asked for, so that a machine that has it all needs no network. Asked again
# when this file changes, which has the lists.
$(STAMPS)/%-packages: Makefile
	mkdir -p $(STAMPS)
	missing=$$(dpkg-query --show --showformat='$${db:Status-Abbrev} $${Package}\n' \
	  $($(call upper,$*)_PACKAGES) 2>&1 | awk '!/^ii /{print}' || true); \
	if [ -n "$$missing" ]; then \
	  $(SUDO) apt-get update --quiet --quiet; \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes \
	    --no-install-recommends $($(call upper,$*)_PACKAGES); \
	fi
	touch $@

upper = $(shell echo '$1' | tr a-z A-Z)
