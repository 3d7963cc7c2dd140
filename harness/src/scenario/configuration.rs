//! What holds for all scenarios of a run: chainsaw's `Configuration`, `v1alpha2`.
//!
//! Its fields are those of chainsaw; what is of no use here is read and said to be so at its field.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{
    expression::Compiler,
    model::{Metadata, Operation, OtherCluster, Timeouts},
    parse::{self, LoadError},
};

/// A file of `kind: Configuration`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Configuration {
    /// `chainsaw.kyverno.io/v1alpha2`
    pub api_version: String,
    /// `Configuration`
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// What it says.
    pub spec: ConfigurationSpec,
}

/// What a [`Configuration`] says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ConfigurationSpec {
    /// What becomes of what was made.
    pub cleanup: Cleanup,
    /// Not there: a scenario has one cluster.
    pub clusters: BTreeMap<String, OtherCluster>,
    /// How deletions go on.
    pub deletion: Deletion,
    /// Read, and of no use: scenarios are found by the names of their files.
    pub discovery: Value,
    /// What to look at when a step failed.
    pub error: OnError,
    /// How scenarios are run.
    pub execution: Execution,
    /// The namespace of each scenario.
    pub namespace: NamespaceOptions,
    /// Read, and of no use: reports are asked for on the command line.
    pub report: Value,
    /// Expressions in resources.
    pub templating: Templating,
    /// Limits of all scenarios that say none.
    pub timeouts: Timeouts,
}

/// What becomes of what was made.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Cleanup {
    /// It stays.
    pub skip_delete: bool,
    /// Wait so long before.
    pub delay_before_cleanup: Option<String>,
}

/// How deletions go on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Deletion {
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation: Option<String>,
}

/// What to do after a failure.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct OnError {
    /// Operations that look.
    pub catch: Vec<Operation>,
}

/// How scenarios are run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Execution {
    /// Read, and of no use: each scenario has a cluster of its own.
    pub fail_fast: bool,
    /// Read, and of no use: scenarios run one after another.
    pub parallel: Option<u64>,
    /// Read, and of no use.
    pub repeat_count: Option<u64>,
    /// The grace period of all pods that are written.
    pub force_termination_grace_period: Option<String>,
}

/// The namespace of each scenario.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct NamespaceOptions {
    /// Its name.
    pub name: Option<String>,
    /// The language of expressions in the template.
    pub compiler: Option<Compiler>,
    /// What it shall have.
    pub template: Option<Value>,
    /// Read, and of no use: the clean-up is no part of the verdict.
    pub fast_delete: bool,
}

/// Expressions in resources.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Templating {
    /// Whether they are evaluated.
    pub enabled: Option<bool>,
    /// Their language.
    pub compiler: Option<Compiler>,
}

/// Reads a file with one configuration.
pub fn load(path: &Path) -> Result<Configuration, LoadError> {
    let all: Vec<Configuration> = parse::documents(path, &parse::read(path)?)?;
    let wrong = |problem: String| LoadError::Wrong {
        path: path.to_owned(),
        line: 1,
        column: 1,
        problem,
    };
    let [configuration] = <[Configuration; 1]>::try_from(all)
        .map_err(|all| wrong(format!("one configuration is wanted, not {}", all.len())))?;
    let is = (
        configuration.api_version.as_str(),
        configuration.kind.as_str(),
    );
    if is != ("chainsaw.kyverno.io/v1alpha2", "Configuration") {
        return Err(wrong(format!(
            "{} in {} is not known; write Configuration and chainsaw.kyverno.io/v1alpha2",
            is.1, is.0
        )));
    }
    Ok(configuration)
}
