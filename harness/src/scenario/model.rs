//! What a scenario file says, as data.
//!
//! Two kinds of document share one schema: chainsaw's `Test`, of which this is a documented subset, and
//! our `Scenario`, which adds operations that only a laboratory has. Every field that is not here is an
//! error. What the fields mean is `run`'s; what they must be beyond their types is [`super::lint`]'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use super::{action::Operation, expression::Compiler, operations::*};

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
    pub labels: BTreeMap<String, String>,
    /// For people and tools.
    pub annotations: BTreeMap<String, String>,
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
    /// What the namespace shall have; it is made then, under a name of its own unless one is given.
    pub namespace_template: Option<Value>,
    /// The language of expressions in it.
    pub namespace_template_compiler: Option<Compiler>,
    /// Do not wait until the namespace is gone.
    pub fast_namespace_deletion: Option<bool>,
    /// How deletions go on to what an object owns: `Background`, `Foreground` or `Orphan`.
    pub deletion_propagation_policy: Option<String>,
    /// The grace period of all pods that are written, also in what makes pods.
    pub force_termination_grace_period: Option<String>,
    /// Wait so long before the clean-up.
    pub delay_before_cleanup: Option<String>,
    /// The cluster to work on; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// In which language expressions are, unless they say it.
    pub compiler: Option<Compiler>,
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
    /// Its name in reports.
    pub name: Option<String>,
    /// Its values.
    pub bindings: Vec<Binding>,
}

/// A value with a name; the value may hold `(expressions)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Binding {
    /// Used as `$name`; may be an `(expression)`.
    pub name: String,
    /// The language of its expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<Compiler>,
    /// Its value.
    pub value: Value,
}

/// A value that an operation gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Output {
    /// Used as `$name` in what follows; may be an `(expression)`.
    pub name: String,
    /// The language of its expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<Compiler>,
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
    /// How its deletions go on: `Background`, `Foreground` or `Orphan`.
    pub deletion_propagation_policy: Option<String>,
    /// The cluster to work on; an empty one is the scenario's. Others are not there yet.
    pub cluster: Option<String>,
    /// Other clusters by name. Not there yet.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// In which language expressions are, unless they say it.
    pub compiler: Option<Compiler>,
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

/// A cluster beside the scenario's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct OtherCluster {
    /// The file of its kubeconfig.
    pub kubeconfig: String,
    /// The context in it; the present one unless told.
    pub context: Option<String>,
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
