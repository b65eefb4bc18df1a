#!/usr/bin/env bash
# Builds images that stand in for those of docker-compose.yml and the Dockerfile, from Debian's packages, for a machine
# with a Docker engine but no image registry: `make compose STANDINS=yes`.
#
# Everything is the real program under other packaging: Debian's base system, this machine's Rust and crates, Zipkin's
# own server jar (`make real` fetches it), MariaDB with Zipkin's schema, Prometheus. Grafana is in no package of
# Debian's and has no stand-in. The names are `spangate-standin/...`, so that none is ever taken for the image that it
# stands for. The base system is made once: `docker image rm spangate-standin/debian` for a newer one. Needs root.
set -euo pipefail
cd "$(dirname "$0")"

fail() { printf 'stand-ins: %s\n' "$*" >&2; exit 1; }
jar=${1:?usage: build.sh ZIPKIN_JAR}

missing=()
for tool in docker debootstrap cargo python3 tar; do command -v "$tool" >/dev/null || missing+=("$tool"); done
((${#missing[@]})) && fail "missing: ${missing[*]}"
[[ -f $jar ]] || fail "$jar is not there"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# image NAME FUNCTION [FLAG...]: what FUNCTION puts into its directory is the context of NAME.Dockerfile. What has not
# changed is in Docker's cache.
image() {
    printf '=== stand-in: %s (%s s)\n' "$1" "$SECONDS"
    mkdir "$work/$1"
    "$2" "$work/$1"
    docker build --quiet --tag "spangate-standin/$1" --file "$1.Dockerfile" "${@:3}" "$work/$1"
    rm -rf "${work:?}/$1"
}

debian() {
    docker image inspect spangate-standin/debian >/dev/null 2>&1 && return
    printf '=== stand-in: debian (%s s)\n' "$SECONDS"
    debootstrap --variant=minbase bookworm "$work/debian" >"$work/log" 2>&1 || { tail "$work/log" >&2; fail "debootstrap failed"; }
    tar -C "$work/debian" --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' --create . | docker import - spangate-standin/debian
    rm -rf "${work:?}/debian"
}

# With the crates, so that a container needs to reach no registry for them.
toolchain() {
    cp -a "$(rustc --print sysroot)"/{bin,lib} "$1"
    mkdir "$1/cargo"
    cargo vendor --quiet --locked --versioned-dirs --manifest-path ../../Cargo.toml "$1/cargo/vendor" >/dev/null
    printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "/usr/local/cargo/vendor"\n' \
        >"$1/cargo/config.toml"
}
server() { cp "$jar" "$1/zipkin.jar"; }
# The jar of the storage is inside the server's.
schema() {
    python3 - "$jar" >"$1/mysql.sql" <<'PYTHON'
import io, sys, zipfile
server = zipfile.ZipFile(sys.argv[1])
name = next(name for name in server.namelist() if "zipkin-storage-mysql" in name)
storage = zipfile.ZipFile(io.BytesIO(server.read(name)))
sys.stdout.write(storage.read("mysql.sql").decode())
PYTHON
}
nothing() { :; }

debian
# Too large to be looked at each time.
made_of=$({ rustc --version; cat ../../Cargo.lock; } | sha256sum | cut -c 1-64)
[[ $(docker image inspect --format '{{.Config.Labels.made_of}}' spangate-standin/rust 2>/dev/null) == "$made_of" ]] \
    || image rust toolchain --label "made_of=$made_of"
image zipkin server
image zipkin-mysql schema
image prometheus nothing
