# The verbs of this repository. Everything lives in .venv, made from requirements/dev.txt with hashes checked.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Set it to choose the interpreter: make test PYTHON=/opt/python3.12/bin/python3
PYTHON ?=
# More words for pytest: make test PYTEST='-k ring'
PYTEST ?=
MODEL_STEPS ?= 1000000
FUZZ_REQUESTS ?= 1000000
SOAK_KEY_SETS ?= 10000
SOAK_YEARS ?= 10
CHAOS_SECONDS ?= 600
# make chaos CHAOS_SEED=7 does what the run with that number did, as far as the machine allows.
CHAOS_SEED ?=
# make lock UPGRADE=--upgrade takes the newest releases; without it only what must change does.
UPGRADE ?=
UV := uv==0.13.9
# An index that is slow to answer is asked again (pip's own words for it).
export PIP_DEFAULT_TIMEOUT ?= 60
export PIP_RETRIES ?= 8

# What needs the network is tried three times: a download that breaks off in its midst is not tried again by pip, go or
# apt themselves. `packages` installs some of Debian's, and waits for whoever installs something just now.
define trying
again() {
    for pause in 5 30; do
        if "$$@"; then return; fi
        echo "it is tried again in $$pause s: $$*" >&2
        sleep $$pause
    done
    "$$@"
}
lists() { [ "$$(id -u)" != 0 ] || apt-get -qq update || true; }
fetch() { lists; apt-get -qq -o APT::Sandbox::User=root download "$$@"; }
get() {
    lists
    DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=600 install --yes --no-install-recommends "$$@"
}
packages() { again get "$$@"; }
endef

# Prints a Python >= 3.11 that can make virtual environments, or says what is missing.
define find_python
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python); do \
    if "$$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
    then echo "$$candidate"; exit 0; fi; \
done; \
echo "No Python >= 3.11 with the venv and ensurepip modules was found$(if $(PYTHON), at $(PYTHON))." \
     "Install one (Debian: apt install python3-venv) or name it: make PYTHON=/path/to/python3" >&2; \
exit 1
endef

.PHONY: help
help:  ## show these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | while IFS= read -r line; do \
	    printf '  make %-14s %s\n' "$${line%%:*}" "$${line##*## }"; done

# One file per finished stage: a second call with nothing changed costs a look at the dates.
$(VENV)/.requirements: requirements/dev.txt
	@python=$$($(find_python))
	echo 'making $(VENV) from requirements/dev.txt'
	rm -f $(VENV)/.installed
	"$$python" -m venv --clear $(VENV)
	$(trying)
	again $(PIP) install --quiet --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/.installed: $(VENV)/.requirements pyproject.toml
	@echo 'installing rotator into $(VENV)'
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	touch $@

.PHONY: venv
venv: $(VENV)/.installed  ## set up .venv: locked requirements and an editable install

.PHONY: run
run: $(VENV)/.installed  ## set up and run the daemon with the quick-start configuration
	@$(BIN)/rotator run --config config/quickstart.yaml & daemon=$$!
	# Ctrl-C reaches the daemon by itself; SIGTERM reaches this shell only. Either is the end that was asked for.
	trap : INT; trap 'kill -TERM $$daemon' TERM
	while code=0; wait $$daemon || code=$$?; kill -0 $$daemon 2>/dev/null; do :; done
	case $$code in 130|143) ;; *) exit $$code;; esac

.PHONY: test
test: lint types unit  ## set up and run everything that must pass: lint, types, pytest

# Real servers for the tests, compiled from released modules; none is in any package or image of this program.
# Vault is under the Business Source License 1.1: it is built where it is tested against.
define build_go
	@command -v go >/dev/null || { echo "make servers compiles $(@F) and needs Go >= 1.26, which is not on the PATH:" \
	    "install it from your distribution or https://go.dev/dl/; or set $(2) to one you have" >&2; exit 1; }
	echo 'building $@ (minutes and gigabytes of module cache the first time)'
	mkdir -p .servers
	cd tests/servers/go/$(@F)
	$(trying)
	CGO_ENABLED=0 again go build $(3) -trimpath -ldflags='-s -w' -o $(CURDIR)/$@.new $(1)
	mv $(CURDIR)/$@.new $(CURDIR)/$@
	touch $(CURDIR)/$@
endef

.servers/vault: tests/servers/go/vault/go.mod tests/servers/go/vault/go.sum
	$(call build_go,github.com/hashicorp/vault,ROTATOR_VAULT,-tags minimal)

.servers/kube-apiserver: tests/servers/go/kube-apiserver/go.mod tests/servers/go/kube-apiserver/go.sum
	$(call build_go,k8s.io/kubernetes/cmd/kube-apiserver,ROTATOR_KUBE_APISERVER,)

# What people install with, and what checks the manifests.
.servers/helm: tests/servers/go/helm/go.mod tests/servers/go/helm/go.sum
	$(call build_go,helm.sh/helm/v3/cmd/helm,ROTATOR_HELM,)

.servers/kubeconform: tests/servers/go/kubeconform/go.mod tests/servers/go/kubeconform/go.sum
	$(call build_go,github.com/yannh/kubeconform/cmd/kubeconform,ROTATOR_KUBECONFORM,)

.servers/kustomize: tests/servers/go/kustomize/go.mod tests/servers/go/kustomize/go.sum
	$(call build_go,sigs.k8s.io/kustomize/kustomize/v5,ROTATOR_KUSTOMIZE,)

# Taken out of its Debian package, not installed: the package would start a service on this machine.
.servers/etcd:
	@mkdir -p .servers
	if command -v etcd >/dev/null; then ln -sf "$$(command -v etcd)" $@; exit 0; fi
	command -v apt-get >/dev/null || { echo "make servers takes etcd from Debian's packages: install etcd" >&2; exit 1; }
	echo 'fetching $@'
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT
	$(trying)
	chmod 755 "$$folder"
	(cd "$$folder" && again fetch etcd-server)
	dpkg-deb --extract "$$folder"/etcd-server_*.deb "$$folder"
	mv "$$folder/usr/bin/etcd" $@

# Likewise.
.servers/promtool .servers/prometheus &:
	@mkdir -p .servers
	if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
	    ln -sf "$$(command -v promtool)" "$$(command -v prometheus)" .servers; exit 0
	fi
	command -v apt-get >/dev/null || { echo "make servers takes promtool from Debian's packages: install prometheus" >&2; exit 1; }
	echo 'fetching .servers/promtool, .servers/prometheus'
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT
	$(trying)
	chmod 755 "$$folder"
	(cd "$$folder" && again fetch prometheus)
	dpkg-deb --extract "$$folder"/prometheus_*.deb "$$folder"
	mv "$$folder/usr/bin/promtool" "$$folder/usr/bin/prometheus" .servers

# No server, but likewise something real that a test is held against: the types of Grafana's dashboards.
.servers/grafana: requirements/grafana.txt | $(VENV)/.requirements
	@echo 'fetching $@'
	rm -rf $@ && mkdir -p .servers
	$(trying)
	unpack() { rm -rf $@.new; $(PIP) install --quiet --require-hashes --no-deps --target $@.new -r requirements/grafana.txt; }
	again unpack
	mv $@.new $@ && touch $@

.PHONY: servers
servers: .servers/vault .servers/kube-apiserver .servers/etcd .servers/helm .servers/kubeconform .servers/kustomize .servers/promtool .servers/prometheus .servers/grafana nginx chromium systemd-analyze  ## build or fetch the real servers that tests run against (needs Go; etcd, prometheus, nginx and chromium from Debian's packages)

# The browser that the status page is shown in; in some distributions it has another name.
.PHONY: chromium
chromium:
	@{ command -v chromium || command -v chromium-browser; } >/dev/null && exit 0
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	    echo 'installing chromium'
	    $(trying)
	    packages chromium
	else
	    echo 'chromium is not on the PATH: the test of the status page in a browser is left out until you install it' >&2
	fi

.PHONY: nginx
nginx:
	@command -v nginx >/dev/null && exit 0
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	    echo 'installing nginx-light'
	    $(trying)
	    packages nginx-light
	else
	    echo 'nginx is not on the PATH: the tests that compare with it are left out until you install it' >&2
	fi

.PHONY: systemd-analyze
systemd-analyze:
	@command -v systemd-analyze >/dev/null && exit 0
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	    echo 'installing systemd, for systemd-analyze: it does not start it'
	    $(trying)
	    packages systemd
	else
	    echo 'systemd-analyze is not on the PATH: the tests of the units are left out until you install systemd' >&2
	fi

# What images are built on in the tests: a Debian with Python and nothing else, from where this machine has its packages.
.servers/base.tar:
	@mkdir -p .servers
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	    echo 'make container-test lays out a Debian with debootstrap and builds on it with buildah: it needs root on Debian' >&2; exit 1
	fi
	$(trying)
	if command -v debootstrap >/dev/null; then lists; else packages debootstrap; fi
	suite=$$(. /etc/os-release && echo "$$VERSION_CODENAME")
	mirror=$$(apt-get indextargets --format '$$(REPO_URI)' 'Created-By: Packages' "Codename: $$suite" | sed -n 1p)
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT
	echo 'making $@ (some minutes)'
	lay() {
	    rm -rf "$$folder/root"
	    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$$suite" "$$folder/root" "$$mirror" \
	        >"$$folder/log" || { tail -n 20 "$$folder/log" >&2; return 1; }
	}
	again lay
	rm -rf "$$folder/root/var/cache/apt" "$$folder"/root/var/lib/apt/lists/* "$$folder/root/dev" && mkdir "$$folder/root/dev"
	tar -C "$$folder/root" --numeric-owner -cf $@.new .
	mv $@.new $@

.PHONY: buildah
buildah:
	@command -v buildah >/dev/null && exit 0
	echo 'installing buildah'
	$(trying)
	packages buildah

.PHONY: container-test
container-test: $(VENV)/.installed .release/.installed .servers/base.tar buildah  ## build the image with buildah and run it, read-only, as uid 65532; its SBOM; the audit (needs root on Debian)
	ROTATOR_CONTAINER=1 $(BIN)/python -P -m pytest --timeout 0 -rP tests/container $(PYTEST)

.PHONY: unit
unit: $(VENV)/.installed  ## pytest alone, packaging included
	$(BIN)/python -P -m pytest -n 3 $(PYTEST)

.PHONY: package-test
package-test: $(VENV)/.installed  ## build wheel and sdist and try the wheel in an environment of its own
	$(BIN)/python -P -m pytest tests/packaging $(PYTEST)

.PHONY: model
model: $(VENV)/.installed  ## the model over the rehearsal world, MODEL_STEPS steps (1,000,000)
	ROTATOR_MODEL_STEPS=$(MODEL_STEPS) $(BIN)/python -P -m pytest -n 2 --timeout 0 tests/model $(PYTEST)

.PHONY: fuzz
fuzz: $(VENV)/.installed  ## hostile input against the server and the admin listener, FUZZ_REQUESTS requests (1,000,000) to each
	ROTATOR_FUZZ_REQUESTS=$(FUZZ_REQUESTS) $(BIN)/python -P -m pytest --timeout 0 -rP tests/fuzz $(PYTEST)

.PHONY: soak
soak: $(VENV)/.installed  ## one daemon with SOAK_KEY_SETS key sets (10,000) through SOAK_YEARS simulated years (10)
	ROTATOR_SOAK_KEY_SETS=$(SOAK_KEY_SETS) ROTATOR_SOAK_YEARS=$(SOAK_YEARS) $(BIN)/python -P -m pytest --timeout 0 -s tests/soak $(PYTEST)

.PHONY: chaos
chaos: $(VENV)/.installed servers  ## replicas on file, Vault and moto under kills, pauses and faults, CHAOS_SECONDS seconds (600)
	$(BIN)/python -P -m tests.chaos --seconds $(CHAOS_SECONDS) $(if $(CHAOS_SEED),--seed $(CHAOS_SEED))

.PHONY: lint
lint: $(VENV)/.installed  ## ruff, its formatter, and the import arrows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYTHONPATH=.:backends $(BIN)/lint-imports

.PHONY: types
types: $(VENV)/.installed  ## mypy, strict
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.installed  ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The AWS CLI, which the benchmarks compare with, pins what it is made of: it has an environment of its own.
# What releases are made with must not be among what is released.
.bench/.installed .release/.installed: .%/.installed: requirements/%.txt $(VENV)/.requirements
	@echo 'making .$* from $<'
	$(BIN)/python -m venv --clear --without-pip .$*
	$(trying)
	again $(PIP) --python .$*/bin/python install --quiet --require-hashes -r $<
	touch $@

.PHONY: bench
bench: $(VENV)/.installed .bench/.installed  ## print the figures of benchmarks/
	$(BIN)/python -P -m benchmarks

.PHONY: build
build: $(VENV)/.installed  ## wheel and sdist in dist/
	$(BIN)/python -m build --no-isolation --outdir dist

# What the image holds, made from the same lock as the image and with the Python of this environment: what the lock
# asks for differs by Python, so name the image's (make sbom PYTHON=python3.13).
.PHONY: sbom
sbom: $(VENV)/.installed .release/.installed  ## write dist/sbom.cdx.json (CycloneDX), what the default image holds
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT
	python=$$($(find_python))
	"$$python" -m venv --without-pip "$$folder/venv"
	$(trying)
	again $(PIP) --python "$$folder/venv/bin/python" install --quiet --no-compile --require-hashes --only-binary :all: -r requirements/all.txt
	$(BIN)/python -m build --no-isolation --wheel --outdir "$$folder" >"$$folder/log" || { cat "$$folder/log" >&2; exit 1; }
	$(PIP) --python "$$folder/venv/bin/python" install --quiet --no-compile --no-index --no-deps "$$folder"/*.whl
	mkdir -p dist
	.release/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
	    --output-format JSON --output-file dist/sbom.cdx.json "$$folder/venv/bin/python"

# --strict: a package that could not be looked up is a failure, not a line that nobody reads.
# AUDIT: more words for pip-audit, such as `--ignore-vuln ID` or another service.
AUDIT ?=
.PHONY: audit
audit: .release/.installed  ## look up the image's packages and the build's in an advisory service; fails if it cannot
	.release/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes \
	    -r requirements/all.txt -r requirements/build.txt $(AUDIT)

.PHONY: lock
lock:  ## solve requirements/*.txt again (UPGRADE=--upgrade for the newest)
	@python=$$($(find_python)); tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT
	"$$python" -m venv "$$tools"
	"$$tools/bin/python" -m pip install --quiet --disable-pip-version-check '$(UV)'
	compile() { \
	    "$$tools/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --prerelease disallow \
	        --generate-hashes --no-header --no-emit-index-url --no-emit-find-links $(UPGRADE) "$$@"; \
	}
	compile pyproject.toml --extra all --output-file requirements/all.txt
	compile pyproject.toml --constraint requirements/all.txt --output-file requirements/runtime.txt
	compile requirements/build.in --constraint requirements/all.txt --output-file requirements/build.txt
	compile pyproject.toml --extra all requirements/dev.in --constraint requirements/all.txt --output-file requirements/dev.txt
	compile requirements/bench.in --output-file requirements/bench.txt
	compile requirements/grafana.in --output-file requirements/grafana.txt
	compile requirements/release.in --output-file requirements/release.txt

.PHONY: clean
clean:  ## remove what these verbs made
	rm -rf $(VENV) .bench .release .quickstart .servers build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find rotator backends tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.ONESHELL:
