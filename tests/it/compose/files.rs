//! The files against each other and against the program.

use std::collections::{BTreeSet, HashSet};
use std::process::Command;

use serde_json::Value;

use super::stack::{Dockerfile, Port, Stack};
use crate::support::dashboard::{board, file, yaml};

/// A tag that names a version: a registry's newest is another tomorrow.
fn is_pinned(image: &str) -> bool {
    let tag = image.rsplit('/').next().unwrap().split_once(':').map(|(_, tag)| tag);
    let version =
        |part: &str| part.split('.').count() == 3 || (part.len() == 8 && part.bytes().all(|b| b.is_ascii_digit()));
    // `bookworm` alone moves, as `latest` and `3` do; Debian's images carry a date.
    tag.is_some_and(|tag| tag.split(['-', 'v']).any(version))
}

#[test]
fn every_image_is_pinned() {
    let stack = Stack::read();
    let images = stack.services().map(|(_, service)| service["image"].as_str().unwrap().to_owned());
    for image in images.chain(Dockerfile::read().bases()) {
        assert!(is_pinned(&image), "{image} moves");
    }
    for moving in ["debian", "debian:bookworm-slim", "grafana/grafana:latest", "zipkin:3", "rust:1.95", "host:5000/x"] {
        assert!(!is_pinned(moving), "{moving}");
    }
    assert_eq!(stack.service("spangate")["image"], concat!("spangate:", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_image_builds_with_the_compiler_that_the_manifest_asks_for() {
    let bases = Dockerfile::read().bases();
    assert!(bases[0].starts_with(concat!("rust:", env!("CARGO_PKG_RUST_VERSION"), ".")), "{bases:?}");
    assert_eq!(bases.len(), 2, "one to build in, one to run in");
}

#[test]
fn the_image_runs_without_root_and_keeps_all_in_its_volume() {
    let dockerfile = Dockerfile::read();
    let user = dockerfile.one("USER");
    assert!(user.split(':').all(|id| id.parse::<u32>().unwrap() > 0), "{user}: numbers, and not root's");
    assert_eq!(dockerfile.one("VOLUME"), "/var/lib/spangate");
    assert_eq!(dockerfile.environment()["SPANGATE_DATA"], "/var/lib/spangate");
    let stack = Stack::read();
    let volumes = stack.volumes("spangate");
    assert_eq!(volumes, [("spangate-data".to_owned(), "/var/lib/spangate".to_owned())]);
    assert!(stack.whole["volumes"].as_object().unwrap().contains_key("spangate-data"));
    assert_eq!(stack.service("spangate")["read_only"], true);
}

#[test]
fn what_others_wait_for_has_a_health_check() {
    let stack = Stack::read();
    for (name, service) in stack.services() {
        let depended: Vec<&String> = service["depends_on"].as_object().into_iter().flat_map(|map| map.keys()).collect();
        let waits = stack.waits_for(name);
        assert_eq!(depended.len(), waits.len(), "{name} starts after {depended:?}, healthy or not");
        for other in waits {
            let own = stack.service(&other)["healthcheck"]["test"].is_array();
            // Ours is in the Dockerfile; `one` panics where it is not.
            let image = stack.service(&other)["build"] == "." && !Dockerfile::read().one("HEALTHCHECK").is_empty();
            assert!(own || image, "{name} waits for {other}, which has no health check");
        }
    }
    assert_eq!(stack.waits_for("zipkin-1"), ["zipkin-storage"]);
    assert_eq!(stack.waits_for("zipkin-2"), ["zipkin-storage"]);
    assert_eq!(stack.waits_for("grafana"), ["prometheus"]);
    assert_eq!(stack.waits_for("demo-http"), ["spangate", "zipkin-1", "zipkin-2"], "what it sends can be seen at once");
    assert_eq!(stack.waits_for("spangate"), [""; 0], "it takes spans whether or not collectors are there");
}

#[test]
fn published_ports_are_the_promised_ones_and_each_can_be_moved() {
    let stack = Stack::read();
    let port = |variable: &str, host, container| Port { variable: variable.into(), host, container };
    let expected = [
        ("spangate", vec![port("SPANGATE_SCRIBE_PORT", 1463, 1463), port("SPANGATE_HTTP_PORT", 9411, 9411)]),
        ("zipkin-1", vec![port("ZIPKIN_PORT", 9421, 9411)]),
        ("prometheus", vec![port("PROMETHEUS_PORT", 9090, 9090)]),
        ("grafana", vec![port("GRAFANA_PORT", 3000, 3000)]),
    ];
    for (name, ports) in &expected {
        assert_eq!(stack.ports(name), *ports, "{name}");
    }
    let published: usize = stack.services().map(|(name, _)| stack.ports(name).len()).sum();
    assert_eq!(published, 5, "nothing else is published, the admin port least of all");
    assert_eq!(Dockerfile::read().one("EXPOSE"), "1463 9411");
}

/// The container's environment is refused as soon as it holds a name that the gateway does not know.
#[test]
fn the_gateway_understands_its_environment_and_listens_where_the_files_say() {
    let (stack, dockerfile) = (Stack::read(), Dockerfile::read());
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["check", "--resolved"]).env_clear();
    command.envs(dockerfile.environment()).envs(stack.environment("spangate"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let resolved: toml::Table = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    let address = |listener: &str| resolved[listener]["address"][0].as_str().unwrap().to_owned();
    assert_eq!(address("scribe"), "0.0.0.0:1463");
    assert_eq!(address("http"), "0.0.0.0:9411");
    assert_eq!(address("admin"), "0.0.0.0:9412");
    assert_eq!(resolved["data"].as_str(), Some("/var/lib/spangate"));
    let sinks = resolved["drain"]["zipkin"]["sinks"].as_array().unwrap();
    let names: Vec<&str> = sinks.iter().map(|sink| sink["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["zipkin-1:9411", "zipkin-2:9411"]);
    let grace = stack.service("spangate")["stop_grace_period"].as_str().unwrap();
    let seconds = |text: &str| text.strip_suffix('s').unwrap().parse::<u64>().unwrap();
    assert!(seconds(grace) > seconds(resolved["stop_timeout"].as_str().unwrap()), "Docker kills before it has stopped");
}

#[test]
fn both_zipkin_servers_share_one_storage() {
    let stack = Stack::read();
    let (one, two) = (stack.environment("zipkin-1"), stack.environment("zipkin-2"));
    assert_eq!(one, two);
    assert_eq!((one["STORAGE_TYPE"].as_str(), one["MYSQL_HOST"].as_str()), ("mysql", "zipkin-storage"));
    let image = |name: &str| stack.service(name)["image"].as_str().unwrap().to_owned();
    assert_eq!(image("zipkin-1"), image("zipkin-2"));
    let version = |image: String| image.rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(version(image("zipkin-1")), version(image("zipkin-storage")), "its schema is of one version");
}

#[test]
fn prometheus_has_a_job_each_for_gateway_and_zipkin() {
    let (config, stack) = (yaml("deploy/prometheus/prometheus.yml"), Stack::read());
    let jobs = config["scrape_configs"].as_array().unwrap();
    let targets = |job: &Value| super::stack::strings(&job["static_configs"][0]["targets"]);
    let found: Vec<(&str, Vec<String>)> =
        jobs.iter().map(|job| (job["job_name"].as_str().unwrap(), targets(job))).collect();
    let zipkin = vec!["zipkin-1:9411".to_owned(), "zipkin-2:9411".to_owned()];
    assert_eq!(found, [("spangate", vec!["spangate:9412".to_owned()]), ("zipkin", zipkin)]);
    for host in found.iter().flat_map(|(_, targets)| targets).map(|target| target.split(':').next().unwrap()) {
        stack.service(host);
    }
    // `/metrics`, Prometheus' default, is the gateway's path; Zipkin has another.
    assert_eq!((&jobs[0]["metrics_path"], jobs[1]["metrics_path"].as_str()), (&Value::Null, Some("/prometheus")));
}

#[test]
fn every_file_that_a_container_is_given_is_there() {
    let stack = Stack::read();
    let mut given = 0;
    for (name, _) in stack.services() {
        for (source, _) in stack.volumes(name).iter().filter(|(source, _)| source.starts_with("./")) {
            assert!(file(source).exists(), "{name}: {source} is not there");
            given += 1;
        }
    }
    assert_eq!(given, 4);
}

#[test]
fn grafana_opens_on_the_dashboard_without_a_login() {
    let stack = Stack::read();
    let environment = stack.environment("grafana");
    assert_eq!(environment["GF_AUTH_ANONYMOUS_ENABLED"], "true");
    assert_eq!(environment["GF_AUTH_ANONYMOUS_ORG_ROLE"], "Viewer");
    let home = &environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    let volumes = stack.volumes("grafana");
    let inside = |(source, place): &(String, String)| Some(format!("{source}{}", home.strip_prefix(place.as_str())?));
    let here = volumes.iter().find_map(inside).expect("the home dashboard is in a volume");
    assert!(file(&here).exists(), "{here}");
    let provider = yaml("deploy/grafana/provisioning/dashboards/spangate.yml");
    assert!(home.starts_with(provider["providers"][0]["options"]["path"].as_str().unwrap()));
    let source = &yaml("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"][0];
    assert_eq!(source["url"], "http://prometheus:9090");
    let named: HashSet<String> = sources(&board());
    assert_eq!(named, HashSet::from([source["uid"].as_str().unwrap().to_owned()]));
    let scrape = &yaml("deploy/prometheus/prometheus.yml")["global"]["scrape_interval"];
    assert_eq!(&source["jsonData"]["timeInterval"], scrape, "rates over less than two scrapes show nothing");
}

/// `make compose STANDINS=yes` proves the compose file only as far as this holds.
#[test]
fn stand_ins_change_images_and_nothing_else() {
    let (stack, laid_over) = (Stack::read(), yaml("tests/standins/compose.yml"));
    let stands_in = |image: &Value| {
        let name = image.as_str().unwrap().strip_prefix("spangate-standin/").expect("a name of its own");
        let path = format!("tests/standins/{name}.Dockerfile");
        assert!(name == "debian" || file(&path).exists(), "{path} is not there");
    };
    for (name, service) in
        stack.services().filter(|(_, service)| service["image"] != stack.service("spangate")["image"])
    {
        let other = laid_over["services"][name].as_object().unwrap_or_else(|| panic!("{name} has no stand-in"));
        let key = if name == "grafana" { "profiles" } else { "image" };
        assert!(other.keys().eq([key]), "{name}: {other:?} replaces more than the image {}", service["image"]);
        other.get("image").into_iter().for_each(stands_in);
    }
    let built = laid_over["services"]["spangate"].as_object().unwrap();
    assert!(built.keys().eq(["build"]) && built["build"].as_object().unwrap().keys().eq(["args"]), "{built:?}");
    let dockerfile = Dockerfile::read();
    for (argument, image) in built["build"]["args"].as_object().unwrap() {
        assert!(dockerfile.all("ARG").iter().any(|arg| arg.starts_with(&format!("{argument}="))), "no ARG {argument}");
        stands_in(image);
    }
}

/// Every data source that a dashboard names.
fn sources(value: &Value) -> HashSet<String> {
    let own = value.get("datasource").and_then(|source| source["uid"].as_str()).map(str::to_owned);
    let below: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    };
    below.into_iter().flat_map(sources).chain(own).collect()
}

#[test]
fn panels_of_the_dashboard_do_not_cover_each_other() {
    let board = board();
    let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels of one id");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{} is wider than the page", panel["title"]);
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{} covers another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn the_image_is_built_from_what_it_copies() {
    // What `.dockerignore` lets through is what COPY names: a new directory that the build needs is missed here first.
    let ignore = crate::support::dashboard::text(".dockerignore");
    let kept: BTreeSet<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let dockerfile = Dockerfile::read();
    let copies = dockerfile.all("COPY").into_iter().filter(|copy| !copy.starts_with("--from"));
    let copied: BTreeSet<&str> = copies.flat_map(|copy| copy.split(' ').rev().skip(1)).collect();
    assert_eq!(copied, kept);
    assert!(copied.iter().all(|path| file(path).exists()), "{copied:?}");
}
