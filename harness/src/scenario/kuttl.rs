//! Folders as kuttl has them: `NN-name.yaml` is applied, `NN-assert.yaml` must come true, and nothing
//! may be as `NN-errors.yaml` says.
//!
//! It makes a [`Document`] of the folder, so that one engine runs both. `TestStep` and `TestAssert`
//! documents in these files are understood as far as their fields are here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    model::{
        Apply, Assert, CHAINSAW, Delete, Document, Metadata, Operation, Reference, Script, Spec,
        Step,
    },
    parse::{LoadError, Loaded, documents, read},
};

/// kuttl's own limit for asserts.
const LIMIT: &str = "30s";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct TestStep {
    api_version: String,
    kind: String,
    metadata: Metadata,
    commands: Vec<Run>,
    delete: Vec<Reference>,
    apply: Vec<String>,
    assert: Vec<String>,
    error: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct TestAssert {
    api_version: String,
    kind: String,
    metadata: Metadata,
    /// Seconds.
    timeout: Option<u64>,
    commands: Vec<Run>,
    collectors: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Run {
    command: Option<String>,
    script: Option<String>,
    ignore_failure: bool,
    skip_log_output: bool,
    /// kuttl adds `--namespace`; here it is in the environment as `NAMESPACE`.
    namespaced: bool,
    /// Seconds.
    timeout: Option<u64>,
}

/// The folder as one document; `None` if no file is named as kuttl names them.
pub(super) fn load(folder: &Path) -> Result<Option<Loaded>, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let mut files: BTreeMap<u32, Vec<(String, PathBuf)>> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if let Some((number, name)) = numbered(&path) {
            files.entry(number).or_default().push((name, path));
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    let mut spec = Spec::default();
    for (number, mut files) in files {
        files.sort();
        let mut step = Step {
            name: format!("{number:02}"),
            ..Step::default()
        };
        let mut later = Vec::new();
        for (name, path) in files {
            match name.as_str() {
                "assert" => add_asserts(&path, &mut later)?,
                "errors" => later.push(Operation {
                    error: Some(of_file(&path)),
                    ..Operation::default()
                }),
                _ => {
                    step.name = format!("{number:02}-{name}");
                    add_step(&path, &mut step, &mut later)?;
                }
            }
        }
        step.r#try.extend(later);
        spec.steps.push(step);
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Some(Loaded {
        path: folder.to_owned(),
        folder: folder.to_owned(),
        document: Document {
            api_version: CHAINSAW.to_owned(),
            kind: "Test".to_owned(),
            metadata: Metadata {
                name: name.into_owned(),
                ..Metadata::default()
            },
            spec,
        },
    }))
}

/// `00-install.yaml` as 0 and `install`.
fn numbered(path: &Path) -> Option<(u32, String)> {
    let name = path.file_name()?.to_str()?;
    let stem = name
        .strip_suffix(".yaml")
        .or_else(|| name.strip_suffix(".yml"))?;
    let (number, name) = stem.split_once('-').unwrap_or((stem, ""));
    Some((number.parse().ok()?, name.to_owned()))
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn of_file(path: &Path) -> Assert {
    Assert {
        file: file_name(path),
        timeout: Some(LIMIT.to_owned()),
        ..Assert::default()
    }
}

fn kind_of(value: &Value) -> &str {
    value["kind"].as_str().unwrap_or_default()
}

fn is_kuttl(value: &Value) -> bool {
    value["apiVersion"]
        .as_str()
        .is_some_and(|version| version.starts_with("kuttl.dev/"))
}

fn add_asserts(path: &Path, later: &mut Vec<Operation>) -> Result<(), LoadError> {
    let text = read(path)?;
    let mut limit = LIMIT.to_owned();
    let mut fragments = Vec::new();
    for value in documents::<Value>(path, &text)? {
        if is_kuttl(&value) && kind_of(&value) == "TestAssert" {
            let extra: TestAssert = strictly(path, &value)?;
            drop((
                extra.api_version,
                extra.kind,
                extra.metadata,
                extra.collectors,
            ));
            if let Some(seconds) = extra.timeout {
                limit = format!("{seconds}s");
            }
            later.extend(extra.commands.into_iter().map(script));
        } else {
            fragments.push(value);
        }
    }
    later.extend(fragments.into_iter().map(|fragment| Operation {
        assert: Some(Assert {
            resource: Some(fragment),
            timeout: Some(limit.clone()),
            ..Assert::default()
        }),
        ..Operation::default()
    }));
    Ok(())
}

fn add_step(path: &Path, step: &mut Step, later: &mut Vec<Operation>) -> Result<(), LoadError> {
    let text = read(path)?;
    for value in documents::<Value>(path, &text)? {
        if !(is_kuttl(&value) && kind_of(&value) == "TestStep") {
            step.r#try.push(apply(Apply {
                resource: Some(value),
                template: Some(false),
                ..Apply::default()
            }));
            continue;
        }
        let extra: TestStep = strictly(path, &value)?;
        drop((extra.api_version, extra.kind, extra.metadata));
        // kuttl's order: what is to be deleted, commands, what is to be applied.
        let deletions = extra.delete.into_iter().map(|reference| Operation {
            delete: Some(Delete {
                r#ref: Some(reference),
                ..Delete::default()
            }),
            ..Operation::default()
        });
        let commands = extra.commands.into_iter().map(script);
        let before: Vec<Operation> = deletions.chain(commands).collect();
        step.r#try.splice(0..0, before);
        step.r#try.extend(extra.apply.into_iter().map(|file| {
            apply(Apply {
                file: Some(file),
                template: Some(false),
                ..Apply::default()
            })
        }));
        let assertion = |file| Assert {
            file: Some(file),
            timeout: Some(LIMIT.to_owned()),
            ..Assert::default()
        };
        later.extend(extra.assert.into_iter().map(|file| Operation {
            assert: Some(assertion(file)),
            ..Operation::default()
        }));
        later.extend(extra.error.into_iter().map(|file| Operation {
            error: Some(assertion(file)),
            ..Operation::default()
        }));
    }
    Ok(())
}

fn apply(apply: Apply) -> Operation {
    Operation {
        apply: Some(apply),
        ..Operation::default()
    }
}

fn script(run: Run) -> Operation {
    let content = run.script.or(run.command).unwrap_or_default();
    Operation {
        continue_on_error: run.ignore_failure,
        description: run
            .namespaced
            .then(|| "kuttl adds --namespace here; use $NAMESPACE".to_owned()),
        script: Some(Script {
            content,
            skip_log_output: run.skip_log_output,
            timeout: run.timeout.map(|seconds| format!("{seconds}s")),
            ..Script::default()
        }),
        ..Operation::default()
    }
}

fn strictly<T: for<'de> Deserialize<'de>>(path: &Path, value: &Value) -> Result<T, LoadError> {
    serde_json::from_value(value.clone()).map_err(|error| LoadError::Wrong {
        path: path.to_owned(),
        line: 1,
        column: 1,
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_numbered_files_is_a_scenario() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file");
        };
        let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
        write("00-install.yaml", map);
        write(
            "00-assert.yaml",
            &format!("{map}\n---\n{{apiVersion: kuttl.dev/v1beta1, kind: TestAssert, timeout: 7}}"),
        );
        write(
            "01-delete.yaml",
            "{apiVersion: kuttl.dev/v1beta1, kind: TestStep, delete: [{apiVersion: v1, kind: ConfigMap, name: a}]}",
        );
        write("01-errors.yaml", map);
        write("README.md", "not a step");
        let loaded = load(folder.path()).expect("readable").expect("a scenario");
        let steps = &loaded.document.spec.steps;
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].name, "00-install");
        assert!(steps[0].r#try[0].apply.is_some());
        let assertion = steps[0].r#try[1].assert.as_ref().expect("an assert");
        assert_eq!(assertion.timeout.as_deref(), Some("7s"));
        assert!(steps[1].r#try[0].delete.is_some());
        assert!(steps[1].r#try[1].error.is_some());
    }

    #[test]
    fn a_folder_without_such_files_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(load(folder.path()).expect("readable").is_none());
    }
}
