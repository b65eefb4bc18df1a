# For rust:...-slim: a toolchain, the crates that Cargo.lock names, and a C compiler.
FROM spangate-standin/debian
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /usr/local/
ENV CARGO_HOME=/usr/local/cargo
