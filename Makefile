# Targets that need more than cargo. `cargo build`, `cargo test` need nothing of this.

# The Zipkin that we are measured against; a newer one is tried by `make real ZIPKIN_VERSION=...`.
ZIPKIN_VERSION ?= 3.6.1
REAL_DIR := $(CURDIR)/.real
ZIPKIN_JAR := $(REAL_DIR)/zipkin-server-$(ZIPKIN_VERSION)-exec.jar
# Clients that we did not write: the Python ones, and what Brave runs with.
VENV := $(REAL_DIR)/venv
BRAVE := $(REAL_DIR)/brave
# A NameNode and a DataNode.
HDFS := $(REAL_DIR)/hdfs

.PHONY: help real real-tools dashboard compose bench profile soak planted orders clean-real

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

real: real-tools $(ZIPKIN_JAR) $(VENV)/requirements.txt $(BRAVE) $(HDFS) ## prove it against real Zipkin servers, HDFS, full disks and foreign clients (about 9 minutes)
	cargo build --release
	REAL_ZIPKIN_JAR="$(ZIPKIN_JAR)" REAL_PYTHON="$(VENV)/bin/python" REAL_BRAVE="$(BRAVE)" REAL_HDFS="$(HDFS)" \
	    cargo test --release --test real -- --nocapture --test-threads=1 --skip dashboard::

dashboard: $(ZIPKIN_JAR) ## each query of the dashboard and each alert before a real Prometheus
	@command -v prometheus >/dev/null || { echo "make dashboard: missing: prometheus" >&2; exit 1; }
	REAL_ZIPKIN_JAR="$(ZIPKIN_JAR)" cargo test --release --test real -- --nocapture --test-threads=1 dashboard::

# STANDINS=yes builds the images from Debian's packages, where no image registry is reached (tests/standins).
compose: $(if $(STANDINS),$(ZIPKIN_JAR)) ## the whole set in containers, looked at from outside (needs a Docker engine)
	$(if $(STANDINS),STANDIN_ZIPKIN_JAR="$(ZIPKIN_JAR)") tests/compose.sh

bench: $(VENV)/requirements.txt ## what a span costs beside a bare floor; the archive, and looks into it (about 20 minutes and a build)
	cargo bench --bench gateway
	BENCH_PYTHON="$(VENV)/bin/python" cargo bench --bench lake

profile: ## where that time goes, of the gateway and of the floor (needs Linux perf; a minute and a build)
	cargo bench --bench gateway -- profile

# make soak MINUTES=60 KINDS="crash hours" SEED=7
soak: ## crashes, hours, kills and inputs by seed, for MINUTES (default 10) and KINDS (default all)
	cargo test --release --test soak -- $(KINDS) --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

clean-real: ## remove what `make real` fetched
	rm -rf "$(REAL_DIR)"

planted: ## faults of our own, planted one by one: each must be caught by a proof, by the promise that it breaks
	cargo test --features planted --test planted

orders: ## the hand-over from the channel's owner to its drains, in some twenty thousand orders of their steps (3 minutes)
	cargo test --features planted,shuttle --test orders

# Names everything that is missing at once; never skips.
real-tools:
	@missing=""; \
	for tool in java javac mvn python3 cargo; do \
	    command -v $$tool >/dev/null || missing="$$missing $$tool"; \
	done; \
	if command -v java >/dev/null; then \
	    major=$$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1); \
	    [ "$${major:-0}" -ge 17 ] || missing="$$missing java-17-or-newer(found:$${major:-none})"; \
	fi; \
	if command -v python3 >/dev/null; then \
	    python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	fi; \
	for tool in unshare nsenter; do \
	    command -v $$tool >/dev/null || missing="$$missing $$tool(util-linux)"; \
	done; \
	unshare --user --map-root-user --mount mount -t tmpfs tmpfs /tmp 2>/dev/null || \
	    missing="$$missing user-namespaces(a-mount-in-one-is-forbidden)"; \
	if [ -n "$$missing" ]; then \
	    echo "make real: missing:$$missing" >&2; \
	    echo "make real: needs a JDK of Java 17 or newer, Maven, Python 3 with venv, util-linux, user namespaces, and Rust" >&2; \
	    exit 1; \
	fi

# Fetched aside and renamed, so that a cut download is not taken for the jar.
$(ZIPKIN_JAR):
	mkdir -p "$(REAL_DIR)/fetch"
	cd "$(REAL_DIR)" && mvn --batch-mode --quiet dependency:copy \
	    -Dartifact=io.zipkin:zipkin-server:$(ZIPKIN_VERSION):jar:exec -DoutputDirectory="$(REAL_DIR)/fetch"
	mv "$(REAL_DIR)/fetch/$(notdir $(ZIPKIN_JAR))" "$@"
	rmdir "$(REAL_DIR)/fetch"

# The copy says what is in there: other packages, another venv.
$(VENV)/requirements.txt: tests/real/requirements.txt
	rm -rf "$(VENV)"
	python3 -m venv "$(VENV)"
	"$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check --requirement $<
	cp $< "$@"

$(BRAVE) $(HDFS): $(REAL_DIR)/%: tests/real/%/pom.xml
	rm -rf "$@" "$@.new"
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DoutputDirectory="$@.new"
	mv "$@.new" "$@"
	touch "$@"
