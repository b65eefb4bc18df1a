# The gateway in a container: `docker build -t spangate .`, or `docker compose up` for the whole set.
#
# Debian rather than an empty base: the health check is a line of bash, so that no program has to be added for it, and
# a person can `docker exec` a shell and read the archive with zcat. No package is installed in the final image.
# The base images are arguments, so that `make compose` can put locally built ones in their place.
ARG BUILD_IMAGE=rust:1.95.0-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-20260824-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
# A quarter of the size. A panic still names its file and line.
ENV CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=debuginfo
# The dependencies, in a layer of their own: it is built again only when the manifest changes. Cargo wants to see each
# target that the manifest names, so the package is there as empty files.
COPY Cargo.toml Cargo.lock ./
COPY benches ./benches
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --bin spangate \
    && rm -r src
COPY src ./src
# Cargo goes by times, and COPY keeps those of the files: they may be older than the empty ones.
RUN find src -name '*.rs' -exec touch {} + && cargo build --release --locked --bin spangate

FROM ${RUNTIME_IMAGE}
# The authorities that collectors with https are checked against.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/spangate /usr/local/bin/spangate
# A fixed number, so that a bind mount can be given to it. A new named volume takes the directory's owner.
RUN groupadd --gid 10001 spangate \
    && useradd --uid 10001 --gid spangate --no-create-home --home-dir /var/lib/spangate --shell /usr/sbin/nologin spangate \
    && install -d -o spangate -g spangate -m 0750 /var/lib/spangate
ENV SPANGATE_DATA=/var/lib/spangate
VOLUME /var/lib/spangate
WORKDIR /var/lib/spangate
USER 10001:10001
# Scribe; Zipkin HTTP. The admin port, 9412, is on the container's loopback until SPANGATE_ADMIN_ADDRESS says else.
EXPOSE 1463 9411
# Healthy while a span would be accepted; collectors and backlog have no say in it. By bash alone.
HEALTHCHECK --interval=2s --timeout=5s --start-period=30s --retries=5 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9412 && printf 'GET /ready HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -t 3 answer <&3 && [[ $answer == *' 200 '* ]]"]
ENTRYPOINT ["spangate"]
CMD ["run"]
