//! What a person starts to try it, held without a Docker engine: Dockerfile, compose file, scrape, dashboard, alerts.
//!
//! `files` reads them and holds them against each other and against the program. `processes` starts what the compose
//! file says as plain processes: the same command, environment and health check, its ports and hosts mapped to free
//! ones. `queries` holds each query of the dashboard against the table of metrics. `make compose` does it for real.

mod files;
mod processes;
mod queries;
mod stack;
