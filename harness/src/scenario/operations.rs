//! What each operation of a scenario takes, as data; part of the [`super::model`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::model::Output;

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
    pub labels: std::collections::BTreeMap<String, String>,
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
}

/// Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct WaitFor {
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
    /// What it shall be.
    pub value: String,
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
    pub env: Vec<super::model::Binding>,
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
    pub env: Vec<super::model::Binding>,
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
}

/// A conversation with a database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sql {
    /// Whose database.
    pub target: Target,
    /// Statements to run, one after another.
    pub exec: Option<OneOrMore>,
    /// Rows to insert.
    pub insert: Option<Insert>,
    /// Remember the inserted rows, once acknowledged, under this name.
    pub ledger: Option<String>,
    /// Every row of that ledger is there.
    pub verify_ledger: Option<String>,
    /// A query.
    pub query: Option<String>,
    /// Its rows, each cell as text.
    pub rows: Option<Vec<Vec<String>>>,
    /// The server lets nobody in with this user and password.
    pub refused: bool,
    /// What to keep: `$rows`.
    pub outputs: Vec<Output>,
    /// Limit of its own.
    pub timeout: Option<String>,
}

/// Whose database: an object that the operator under test knows, or a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Target {
    /// Kind of the object.
    pub kind: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// Labels of the pod.
    pub selector: Option<String>,
    /// User; `root` unless told.
    pub user: Option<String>,
    /// Password; the object's unless told.
    pub password: Option<String>,
    /// Database; the object's unless told.
    pub database: Option<String>,
}

/// One statement or a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// A list.
    More(Vec<String>),
}

/// Rows to insert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Insert {
    /// The table.
    pub into: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// Numbers, texts and nulls.
    pub rows: Vec<Vec<Value>>,
}

/// What holds for some time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Hold {
    /// How long.
    pub r#for: String,
    /// This client writes nothing: `operator`.
    pub no_writes_by: Option<String>,
    /// An object is as the fragment says, all the time.
    pub assert: Option<Assert>,
}

/// What happens to the operator under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OperatorAction {
    /// It starts.
    Start,
    /// It is told to end, and ends.
    Stop,
    /// It ends where it stands, as in a crash.
    Kill,
    /// It is killed and started again.
    Restart,
}

/// What goes wrong: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Fault {
    /// The operator crashes and is started again; at a request of its own with `on`, else now.
    pub crash_operator: Option<Empty>,
    /// Pods vanish without any grace; at a request with `on`, else now.
    pub kill_pod: Option<PodSelector>,
    /// The API server forgets the past: watches that resume get 410 Gone. Simulated clusters only.
    pub forget_history: Option<Empty>,
    /// A request of the operator is answered with this code. Needs `on`.
    pub error: Option<u16>,
    /// A write of the operator is done, and its answer is lost. Needs `on`.
    pub lose_response: Option<Empty>,
    /// A request of the operator is answered with a conflict. Needs `on`.
    pub conflict: Option<Empty>,
    /// A watch of the operator begins with 410 Gone. Needs `on`.
    pub gone410: Option<Empty>,
    /// Not yet.
    pub drop_events: Option<Value>,
    /// Not yet.
    pub lag_watch: Option<Value>,
    /// Not yet.
    pub expire_lease: Option<Value>,
    /// Not yet.
    pub advance_time: Option<Value>,
    /// At which request of the operator.
    pub on: Option<FaultTrigger>,
}

/// At which request of the operator a fault strikes. What is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct FaultTrigger {
    /// `create`, `update`, `patch`, `delete`, `deletecollection`, `get`, `list`, `watch`.
    pub verb: Option<String>,
    /// The resource with its group, and with a subresource if it is one: `jobs.batch`, `pods`, `mysqls.otus.homework/status`.
    pub resource: Option<String>,
    /// The name; after `~`, a regular expression.
    pub name: Option<String>,
    /// Before the cluster sees the request, or after it did what was asked.
    pub when: FaultTime,
    /// The first such request, unless told.
    pub occurrence: Option<usize>,
}

/// On which side of the write a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultTime {
    /// The cluster never sees the request.
    #[default]
    Before,
    /// The cluster has done it.
    AfterCommit,
}

/// Which faults shall have fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultsFired {
    /// All that were armed.
    All,
}

/// Pods by labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodSelector {
    /// As kubectl's `-l`.
    pub selector: String,
}
