#!/usr/bin/env bash
# `make compose`: docker-compose.yml for real, looked at from outside, on free ports, and taken down again.
#
# With STANDIN_ZIPKIN_JAR set (`make compose STANDINS=yes`), images are built from Debian's packages and laid over the
# file's (standins/): for an engine without an image registry. Grafana alone has none; what is left out is said. Other
# than that, what is missing is named and nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'make compose: %s\n' "$*" >&2; exit 1; }
step() { printf '=== %s (%s s)\n' "$*" "$SECONDS"; }

missing=()
for tool in docker curl; do command -v "$tool" >/dev/null || missing+=("$tool"); done
((${#missing[@]})) && fail "missing: ${missing[*]}"
docker compose version >/dev/null 2>&1 || fail "missing: Docker's compose plugin (\`docker compose version\` fails)"
docker info >/dev/null 2>&1 || fail "missing: a Docker engine that runs (\`docker info\` fails)"

if [[ -n ${STANDIN_ZIPKIN_JAR:-} ]]; then
    tests/standins/build.sh "$STANDIN_ZIPKIN_JAR"
    export COMPOSE_FILE=docker-compose.yml:tests/standins/compose.yml
fi

# Beside a set that someone runs, and beside other ports: project, ports and volume of its own.
export COMPOSE_PROJECT_NAME=spangate-proof
export SPANGATE_SCRIBE_PORT=21463 SPANGATE_HTTP_PORT=21411 ZIPKIN_PORT=21421 PROMETHEUS_PORT=21090 GRAFANA_PORT=21300
down() { docker compose --profile demo down --volumes --timeout 30 >/dev/null 2>&1 || true; }
trap down EXIT
down

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
runs() { docker compose config --services | grep -qx "$1"; }
inside() { docker compose exec -T spangate "$@"; }
# send ID NAME: a span of its own trace.
send() {
    get "localhost:$SPANGATE_HTTP_PORT/api/v2/spans" -H 'Content-Type: application/json' \
        -d "[{\"traceId\":\"$1\",\"id\":\"$1\",\"name\":\"$2\",\"timestamp\":$(date +%s)000000,\"duration\":1000,\"localEndpoint\":{\"serviceName\":\"compose\"}}]"
}
new_id() { printf '%016x' "$(date +%s%N)"; }
archived() { inside bash -c "zcat /var/lib/spangate/archive/*.gz | grep -q $1"; }

step "build"
docker compose build spangate
docker image inspect --format 'the image has {{.Size}} bytes and runs as {{.Config.User}}' "$(docker compose config --images | grep '^spangate:')"

step "up"
docker compose up --detach --wait --wait-timeout 300 || { docker compose ps; docker compose logs --tail 30; fail "not all is healthy"; }

step "what runs is what the files say"
[[ $(inside id -u) == 10001 ]] || fail "the gateway runs as $(inside id -u)"
inside touch /usr/local/written 2>/dev/null && fail "the gateway can write outside its volume"
[[ -z $(docker compose port spangate 9412 2>/dev/null | grep -v ':0$') ]] || fail "the admin port is published"

step "a span goes through"
id=$(new_id)
send "$id" hello
until_so "Zipkin shows it" holds "localhost:$ZIPKIN_PORT/api/v2/trace/$id" hello
until_so "it is in the archive" archived "$id"
(exec 3<>"/dev/tcp/127.0.0.1/$SPANGATE_SCRIBE_PORT") || fail "nobody listens for Scribe"

step "the demo draws a graph"
# Without --wait, which some versions of Compose refuse for a service whose health check is disabled.
docker compose --profile demo up --detach
until_so "Zipkin has dependencies" holds "localhost:$ZIPKIN_PORT/api/v2/dependencies?endTs=$(($(date +%s) + 3600))000" '"parent"'

step "it is watched"
for job in spangate zipkin; do
    until_so "Prometheus scrapes $job" \
        holds "localhost:$PROMETHEUS_PORT/api/v1/query?query=min(up%7Bjob%3D%22$job%22%7D)" '"1"\]'
done
until_so "both Zipkin servers were given spans" \
    holds "localhost:$PROMETHEUS_PORT/api/v1/query?query=count(sum%20by(instance)(zipkin_collector_spans_total)%3E0)" '"2"\]'
if runs grafana; then
    until_so "Grafana has the dashboard, without a login" holds "localhost:$GRAFANA_PORT/api/dashboards/uid/spangate" '"title":"spangate"'
    until_so "Grafana opens on it" holds "localhost:$GRAFANA_PORT/api/dashboards/home" '"title":"spangate"'
else
    echo "left out: Grafana, which has no stand-in"
fi

step "spans wait for collectors that are away, and outlive the gateway"
docker compose stop --timeout 30 zipkin-1 zipkin-2
later=$(new_id)
send "$later" patience
docker compose kill spangate
docker compose up --detach --wait --wait-timeout 300
until_so "Zipkin shows it" holds "localhost:$ZIPKIN_PORT/api/v2/trace/$later" patience
until_so "it is in the archive" archived "$later"

step "all is in the volume"
docker compose --profile demo down --timeout 30
docker compose up --detach --wait --wait-timeout 300 spangate
archived "$id" && archived "$later" || fail "the archive went with its container"

step "done"
