//! What each operation that chainsaw has too takes, as data; part of the [`super::model`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::model::{Binding, OtherCluster, Output};

mod laboratory;

pub use laboratory::*;

/// Objects to write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Apply {
    /// A file of the scenario's folder, with one object or several.
    pub file: Option<String>,
    /// The object itself.
    pub resource: Option<Value>,
    /// Ask the API, store nothing.
    pub dry_run: bool,
    /// What the API's answer shall be; success unless told.
    pub expect: Vec<Expectation>,
    /// Limit of its own.
    pub timeout: Option<String>,
    /// Whether `(expressions)` are evaluated.
    pub template: Option<bool>,
    /// What to keep of the result.
    pub outputs: Vec<Output>,
    /// Values of its own.
    pub bindings: Vec<Binding>,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// For `patch`: the part of the object that it is about, such as `status`.
    pub subresource: Option<String>,
}

/// What an answer of the API shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expectation {
    /// Only for objects that match.
    #[serde(default)]
    pub r#match: Option<Value>,
    /// An assertion on the result; `$error` is null or the API's message.
    pub check: Value,
}

/// An object or several, by name or by labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Reference {
    /// For example `v1`.
    pub api_version: String,
    /// For example `Pod`.
    pub kind: String,
    /// By name,
    pub name: Option<String>,
    /// in a namespace,
    pub namespace: Option<String>,
    /// or by labels.
    pub labels: BTreeMap<String, String>,
}

/// Objects to delete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Delete {
    /// The objects of a file.
    pub file: Option<String>,
    /// Objects by reference.
    pub r#ref: Option<Reference>,
    /// `Background`, `Foreground` or `Orphan`.
    pub deletion_propagation_policy: Option<String>,
    /// What the API's answer shall be.
    pub expect: Vec<Expectation>,
    /// Scenario only: false asks for the deletion and goes on.
    pub wait: Option<bool>,
    /// Limit of its own.
    pub timeout: Option<String>,
    /// Whether `(expressions)` are evaluated.
    pub template: Option<bool>,
    /// Values of its own.
    pub bindings: Vec<Binding>,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
}

/// A fragment of an object, or of bindings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Assert {
    /// A file of the scenario's folder with one fragment or several.
    pub file: Option<String>,
    /// The fragment itself.
    pub resource: Option<Value>,
    /// Limit of its own.
    pub timeout: Option<String>,
    /// Accepted: expressions in fragments are always evaluated.
    pub template: Option<bool>,
    /// Values of its own.
    pub bindings: Vec<Binding>,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
}

/// What `kubectl wait` takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Wait {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// By name,
    pub name: Option<String>,
    /// in a namespace,
    pub namespace: Option<String>,
    /// or by a selector of labels.
    pub selector: Option<String>,
    /// Limit of its own.
    pub timeout: Option<String>,
    /// For what.
    pub r#for: WaitFor,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// Show the object in the end: `json` or `yaml`.
    pub format: Option<String>,
}

/// Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct WaitFor {
    /// That it is there.
    pub creation: Option<Empty>,
    /// That it is gone.
    pub deletion: Option<Empty>,
    /// That a condition has a value.
    pub condition: Option<WaitCondition>,
    /// That a path has a value.
    pub json_path: Option<WaitPath>,
}

/// `{}`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A condition in `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WaitCondition {
    /// Its type.
    pub name: String,
    /// Its status; `true` unless told.
    #[serde(default)]
    pub value: Option<String>,
}

/// A path as kubectl writes it: `{.status.phase}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WaitPath {
    /// The path.
    pub path: String,
    /// What it shall be; anything unless told.
    #[serde(default)]
    pub value: Option<String>,
}

/// A program to run, with `KUBECONFIG` of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Command {
    /// The program.
    pub entrypoint: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// More environment.
    pub env: Vec<Binding>,
    /// Where it runs; the scenario's folder unless told.
    pub work_dir: Option<String>,
    /// Keep its output out of reports.
    pub skip_log_output: bool,
    /// An assertion on `$stdout`, `$stderr` and `$error`; success unless told.
    pub check: Option<Value>,
    /// What to keep of the result.
    pub outputs: Vec<Output>,
    /// Limit of its own.
    pub timeout: Option<String>,
    /// Values of its own.
    pub bindings: Vec<Binding>,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// Keep what is run out of reports.
    pub skip_command_output: bool,
}

/// A shell script to run, with `KUBECONFIG` of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Script {
    /// The script.
    pub content: String,
    /// The shell; `sh` unless told.
    pub shell: Option<String>,
    /// More environment.
    pub env: Vec<Binding>,
    /// Where it runs; the scenario's folder unless told.
    pub work_dir: Option<String>,
    /// Keep its output out of reports.
    pub skip_log_output: bool,
    /// An assertion on `$stdout`, `$stderr` and `$error`; success unless told.
    pub check: Option<Value>,
    /// What to keep of the result.
    pub outputs: Vec<Output>,
    /// Limit of its own.
    pub timeout: Option<String>,
    /// Values of its own.
    pub bindings: Vec<Binding>,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// What the shell gets before the script; `-c` unless told.
    pub shell_args: Vec<String>,
    /// Again until it succeeds, as kuttl's asserts have it; no file can say it.
    #[serde(skip)]
    pub until_success: bool,
    /// Keep what is run out of reports.
    pub skip_command_output: bool,
}

/// Waiting without a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sleep {
    /// How long.
    pub duration: String,
}

/// What to show in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Look {
    /// The kind's version; for logs and events not needed.
    pub api_version: Option<String>,
    /// The kind.
    pub kind: Option<String>,
    /// Only this one.
    pub name: Option<String>,
    /// Only in this namespace.
    pub namespace: Option<String>,
    /// Only with these labels.
    pub selector: Option<String>,
    /// Only this container.
    pub container: Option<String>,
    /// Only so many lines; `-1` for all.
    pub tail: Option<i64>,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// `json`, or `yaml`, which it is unless told.
    pub format: Option<String>,
    /// For `describe`: whether events are shown; they are unless told.
    pub show_events: Option<bool>,
    /// Limit of its own.
    pub timeout: Option<String>,
}

/// A request to a pod or a service, through the API server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Proxy {
    /// `v1`
    pub api_version: String,
    /// `Pod` or `Service`.
    pub kind: String,
    /// Its namespace; the scenario's unless told.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Number or name of the port.
    pub port: Option<String>,
    /// The path that is asked for.
    pub path: Option<String>,
    /// What to keep: `$stdout` is the answer.
    pub outputs: Vec<Output>,
    /// Limit of its own.
    pub timeout: Option<String>,
    /// The cluster; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
}
