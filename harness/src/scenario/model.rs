//! What a scenario file says, as data.
//!
//! Two kinds of document share one schema: chainsaw's `Test`, of which this is a documented subset, and
//! our `Scenario`, which adds operations that only a laboratory has. Every field that is not here is an
//! error. What the fields mean is `run`'s; what they must be beyond their types is [`super::lint`]'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::operations::*;

/// `apiVersion` of chainsaw's documents.
pub const CHAINSAW: &str = "chainsaw.kyverno.io/v1alpha1";
/// `apiVersion` of ours.
pub const OURS: &str = "harness.otus.homework/v1alpha1";

/// A document: a `Test` or a `Scenario`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Document {
    /// `chainsaw.kyverno.io/v1alpha1` or `harness.otus.homework/v1alpha1`.
    pub api_version: String,
    /// `Test` or `Scenario`.
    pub kind: String,
    /// Its name and labels.
    pub metadata: Metadata,
    /// What to do.
    pub spec: Spec,
}

/// A document's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// To select by.
    pub labels: std::collections::BTreeMap<String, String>,
    /// For people and tools.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// What a scenario does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Spec {
    /// For people.
    pub description: Option<String>,
    /// Not run at all, and said to be skipped.
    pub skip: bool,
    /// Accepted: each scenario here has a cluster of its own, so all may run at once.
    pub concurrent: Option<bool>,
    /// What was made stays; only of use on a cluster that is not our own.
    pub skip_delete: bool,
    /// Accepted: the first failure always ends a scenario.
    pub fail_fast: Option<bool>,
    /// The namespace to work in; made if it is not there.
    pub namespace: Option<String>,
    /// Whether `(expressions)` in resources are evaluated; yes unless told.
    pub template: Option<bool>,
    /// How long each sort of operation may take.
    pub timeouts: Timeouts,
    /// Values by name.
    pub bindings: Vec<Binding>,
    /// The same steps once for each of these sets of bindings.
    pub scenarios: Vec<Variant>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What to look at when any step failed.
    pub catch: Vec<Operation>,
    /// Scenario only: on which clusters it can run: `simulated`, `existing`, `k3s`; all unless told.
    pub backends: Vec<String>,
    /// Scenario only: what it needs.
    pub requires: Requirements,
}

/// What a scenario needs of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Requirements {
    /// `real`: pods truly run. No other sort is there yet.
    pub mysqld: Option<String>,
    /// Whether the operator runs from the start; yes unless told.
    pub operator: Option<bool>,
}

/// One run of the steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Variant {
    /// Its values.
    pub bindings: Vec<Binding>,
}

/// A value with a name; the value may hold `(expressions)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Binding {
    /// Used as `$name`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A value that an operation gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Output {
    /// Used as `$name` in what follows.
    pub name: String,
    /// Only from results that match.
    #[serde(default)]
    pub r#match: Option<Value>,
    /// An expression on the result.
    pub value: Value,
}

/// Limits, as `30s` or `2m`. Unless told, they are chainsaw's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Timeouts {
    /// apply, create, patch, update: 5s.
    pub apply: Option<String>,
    /// assert: 30s.
    pub assert: Option<String>,
    /// Each object that is cleaned up: 30s.
    pub cleanup: Option<String>,
    /// delete: 15s.
    pub delete: Option<String>,
    /// error: 30s.
    pub error: Option<String>,
    /// command, script, sql: 5s.
    pub exec: Option<String>,
}

/// A step: operations in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Limits of its own.
    pub timeouts: Timeouts,
    /// Values of its own.
    pub bindings: Vec<Binding>,
    /// What it makes stays.
    pub skip_delete: Option<bool>,
    /// Whether `(expressions)` in resources are evaluated.
    pub template: Option<bool>,
    /// Take the operations of a template.
    pub r#use: Option<Use>,
    /// The operations; the first that fails ends them.
    pub r#try: Vec<Operation>,
    /// Run when one of them failed.
    pub catch: Vec<Operation>,
    /// Run in any case.
    pub finally: Vec<Operation>,
    /// Run at the end of the scenario.
    pub cleanup: Vec<Operation>,
}

/// A step template, by the path of its file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Use {
    /// The file, relative to the scenario's folder.
    pub template: String,
    /// Its parameters.
    pub with: With,
}

/// Parameters of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct With {
    /// Values by name.
    pub bindings: Vec<Binding>,
}

/// A file with a step for others to use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepTemplate {
    /// As of a [`Document`].
    pub api_version: String,
    /// `StepTemplate`.
    pub kind: String,
    /// Its name.
    #[serde(default)]
    pub metadata: Metadata,
    /// The step.
    pub spec: Step,
}

/// One thing to do: exactly one of the actions is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Operation {
    /// For people.
    pub description: Option<String>,
    /// Go on when it fails.
    pub continue_on_error: bool,
    /// Apply objects, by server-side apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply: Option<Apply>,
    /// Create objects; fails if they are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<Apply>,
    /// Replace objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Apply>,
    /// Merge into objects that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<Apply>,
    /// Delete objects and wait until they are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<Delete>,
    /// Wait until an object is as the fragment says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assert: Option<Assert>,
    /// Wait until no object is as the fragment says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Assert>,
    /// Wait for a condition, as `kubectl wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// Run a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Run a shell script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Wait for no reason. Refused in a `Scenario`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep: Option<Sleep>,
    /// Show events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Look>,
    /// Show logs of pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_logs: Option<Look>,
    /// Show objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get: Option<Look>,
    /// Show objects with their events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub describe: Option<Look>,
    /// Scenario only: speak to a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<Sql>,
    /// Scenario only: something holds, and goes on holding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Scenario only: start, stop, kill or restart the operator under test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorAction>,
    /// Scenario only: make something go wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Scenario only: wait until armed faults have fired, and show the proofs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults_fired: Option<FaultsFired>,
}
