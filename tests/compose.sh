#!/usr/bin/env bash
# `make compose`: docker-compose.yml for real, looked at from outside, on free ports, and taken down again.
#
# Base images that no registry gives are replaced by COMPOSE_BUILD_IMAGE and COMPOSE_RUNTIME_IMAGE (Dockerfile), where
# these are set. What is missing is named; nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'make compose: %s\n' "$*" >&2; exit 1; }
step() { printf '=== %s (%s s)\n' "$*" "$SECONDS"; }

missing=()
for tool in docker curl; do command -v "$tool" >/dev/null || missing+=("$tool"); done
((${#missing[@]})) && fail "missing: ${missing[*]}"
docker compose version >/dev/null 2>&1 || fail "missing: Docker's compose plugin (\`docker compose version\` fails)"
docker info >/dev/null 2>&1 || fail "missing: a Docker engine that runs (\`docker info\` fails)"

# Beside a set that someone runs, and beside other ports: project, ports and volume of its own.
export COMPOSE_PROJECT_NAME=spangate-proof
export SPANGATE_SCRIBE_PORT=21463 SPANGATE_HTTP_PORT=21411 ZIPKIN_PORT=21421 PROMETHEUS_PORT=21090 GRAFANA_PORT=21300
down() { docker compose --profile demo down --volumes --timeout 30 >/dev/null 2>&1 || true; }
trap down EXIT
down

step "build"
docker compose build \
    ${COMPOSE_BUILD_IMAGE:+--build-arg BUILD_IMAGE="$COMPOSE_BUILD_IMAGE"} \
    ${COMPOSE_RUNTIME_IMAGE:+--build-arg RUNTIME_IMAGE="$COMPOSE_RUNTIME_IMAGE"} spangate
docker image inspect --format 'the image has {{.Size}} bytes and runs as {{.Config.User}}' "$(docker compose config --images | grep '^spangate:')"

step "up"
docker compose up --detach --wait --wait-timeout 300 || { docker compose ps; docker compose logs --tail 30; fail "not all is healthy"; }

# Runs a command until it succeeds, two minutes at most.
until_so() {
    local what=$1 end=$((SECONDS + 120))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || { docker compose logs --tail 30 spangate; fail "$what: not within two minutes"; }
        sleep 1
    done
    echo "$what"
}
get() { curl --silent --show-error --fail --max-time 10 "$@"; }
holds() { get "$1" | grep -q "$2"; }

step "a span goes through"
id=$(printf '%016x' "$(date +%s%N)")
now=$(date +%s)000000
get "localhost:$SPANGATE_HTTP_PORT/api/v2/spans" -H 'Content-Type: application/json' \
    -d "[{\"traceId\":\"$id\",\"id\":\"$id\",\"name\":\"hello\",\"timestamp\":$now,\"duration\":1000,\"localEndpoint\":{\"serviceName\":\"compose\"}}]"
until_so "Zipkin shows it" holds "localhost:$ZIPKIN_PORT/api/v2/trace/$id" hello
(exec 3<>"/dev/tcp/127.0.0.1/$SPANGATE_SCRIBE_PORT") || fail "nobody listens for Scribe"
[[ -z $(docker compose port spangate 9412 2>/dev/null | grep -v ':0$') ]] || fail "the admin port is published"

step "the demo draws a graph"
docker compose --profile demo up --detach --wait --wait-timeout 300
until_so "Zipkin has dependencies" holds "localhost:$ZIPKIN_PORT/api/v2/dependencies?endTs=$(($(date +%s) + 3600))000" '"parent"'

step "it is watched"
for job in spangate zipkin; do
    until_so "Prometheus scrapes $job" \
        holds "localhost:$PROMETHEUS_PORT/api/v1/query?query=min(up%7Bjob%3D%22$job%22%7D)" '"1"\]'
done
until_so "Grafana has the dashboard, without a login" holds "localhost:$GRAFANA_PORT/api/dashboards/uid/spangate" '"title":"spangate"'
until_so "Grafana opens on it" holds "localhost:$GRAFANA_PORT/api/dashboards/home" '"title":"spangate"'

step "spans wait for collectors that are away, and outlive the gateway"
docker compose stop --timeout 30 zipkin-1 zipkin-2
id=$(printf '%016x' "$(date +%s%N)")
get "localhost:$SPANGATE_HTTP_PORT/api/v2/spans" -H 'Content-Type: application/json' \
    -d "[{\"traceId\":\"$id\",\"id\":\"$id\",\"name\":\"patience\",\"timestamp\":$now,\"duration\":1000}]"
docker compose kill spangate
docker compose up --detach --wait --wait-timeout 300
until_so "Zipkin shows it" holds "localhost:$ZIPKIN_PORT/api/v2/trace/$id" patience

step "done"
