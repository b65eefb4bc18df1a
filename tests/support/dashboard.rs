//! The Grafana dashboard and the alert rules, as tests read them: each query with the place it stands at.
#![allow(clippy::disallowed_methods, reason = "a test reads the repository")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn text(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file as JSON, its merges (`<<`) carried out.
pub fn yaml(path: &str) -> Value {
    let mut value: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    value.apply_merge().unwrap();
    serde_json::to_value(value).unwrap()
}

pub fn board() -> Value {
    serde_json::from_str(&text("deploy/grafana/dashboards/spangate.json")).unwrap()
}

/// A query in PromQL, and what names its lines.
pub struct Query {
    /// Panel and letter, or the alert's name.
    pub at: String,
    pub expression: String,
    /// Grafana's `{{label}}`, or an annotation's `$labels.label`.
    pub legend: String,
}

/// Every query of the dashboard.
pub fn queries() -> Vec<Query> {
    let board = board();
    let panels = board["panels"].as_array().expect("a dashboard has panels");
    panels.iter().flat_map(of_panel).collect()
}

fn of_panel(panel: &Value) -> Vec<Query> {
    let title = panel["title"].as_str().expect("a panel has a title");
    let Some(targets) = panel["targets"].as_array() else {
        assert_eq!(panel["type"], "row", "panel {title} asks nothing");
        return Vec::new();
    };
    let query = |target: &Value| Query {
        at: format!("{title} ({})", target["refId"].as_str().unwrap()),
        expression: target["expr"].as_str().unwrap().to_owned(),
        legend: target["legendFormat"].as_str().unwrap_or("").to_owned(),
    };
    targets.iter().map(query).collect()
}

/// Every alert's condition.
pub fn alerts() -> Vec<Query> {
    let rules = yaml("deploy/prometheus/alerts.yml");
    let groups = rules["groups"].as_array().expect("rules come in groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let query = |rule: &Value| Query {
        at: rule["alert"].as_str().expect("each rule is an alert").to_owned(),
        expression: rule["expr"].as_str().unwrap().to_owned(),
        legend: rule["annotations"]["summary"].as_str().expect("an alert says what is wrong").to_owned(),
    };
    rules.map(query).collect()
}
