//! What the documents in kuttl's files say, as operations of a step.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::scenario::{
    environment,
    model::{Apply, Assert, Delete, Look, Metadata, Operation, Reference, Script, Step, Timeouts},
    parse::{LoadError, documents, read},
};

/// kuttl's own limit for asserts.
const LIMIT: u64 = 30;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct TestStep {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    /// Of no use: the name of the file says it.
    #[serde(rename = "index")]
    _index: Option<i64>,
    /// Of no use to kuttl either.
    #[serde(rename = "timeout")]
    _timeout: Option<u64>,
    /// For kuttl's own tests.
    #[serde(rename = "unitTest")]
    _unit_test: bool,
    commands: Vec<Run>,
    delete: Vec<Reference>,
    apply: Vec<String>,
    assert: Vec<String>,
    error: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct TestAssert {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "metadata")]
    _metadata: Metadata,
    /// Seconds.
    timeout: Option<u64>,
    commands: Vec<Run>,
    collectors: Vec<Collector>,
    resource_refs: Vec<ResourceRef>,
    assert_all: Vec<Cel>,
    assert_any: Vec<Cel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Run {
    command: Option<String>,
    script: Option<String>,
    ignore_failure: bool,
    skip_log_output: bool,
    /// `--namespace` is added to the command.
    namespaced: bool,
    /// Seconds.
    timeout: Option<u64>,
}

/// What to look at after a failure.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Collector {
    /// `pod`, `events` or `command`; found out by what else is given unless told.
    r#type: Option<String>,
    pod: Option<String>,
    namespace: Option<String>,
    container: Option<String>,
    selector: Option<String>,
    tail: Option<i64>,
    command: Option<String>,
}

/// An object that expressions in CEL speak of.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ResourceRef {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    r#ref: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Cel {
    cel_expr: String,
}

/// A step that is being put together.
pub(super) struct StepOf<'a> {
    folder: &'a Path,
    step: Step,
    /// What is done after all that is applied.
    later: Vec<Operation>,
}

impl<'a> StepOf<'a> {
    /// Nothing is to be done yet.
    pub(super) fn new(folder: &'a Path, name: String) -> Self {
        let seconds = || Some(format!("{LIMIT}s"));
        Self {
            folder,
            step: Step {
                name,
                timeouts: Timeouts {
                    apply: seconds(),
                    delete: seconds(),
                    exec: seconds(),
                    ..Timeouts::default()
                },
                ..Step::default()
            },
            later: Vec::new(),
        }
    }

    /// All that was said.
    pub(super) fn done(mut self) -> Step {
        self.step.r#try.extend(self.later);
        self.step
    }

    /// A file whose objects must come true.
    pub(super) fn assert_file(&mut self, path: &Path) -> Result<(), LoadError> {
        let mut limit = LIMIT;
        let (mut fragments, mut said) = (Vec::new(), Vec::new());
        for value in of_kuttl(path)? {
            match value {
                Said::Object(fragment) => fragments.push(fragment),
                Said::Assert(assert) => {
                    limit = assert.timeout.unwrap_or(limit);
                    said.push(*assert);
                }
                other @ Said::Step(_) => return Err(other.out_of_place(path)),
            }
        }
        let seconds = format!("{limit}s");
        for fragment in fragments {
            self.later.push(assertion(Assert {
                resource: Some(fragment),
                timeout: Some(seconds.clone()),
                ..Assert::default()
            }));
        }
        for assert in said {
            self.later.extend(expressions(&assert, &seconds));
            for run in assert.commands {
                let mut operation = script(run);
                if let Some(script) = &mut operation.script {
                    // It must come true, as any assertion.
                    script.until_success = true;
                    script.timeout = Some(seconds.clone());
                }
                self.later.push(operation);
            }
            self.step
                .catch
                .extend(assert.collectors.into_iter().map(collector));
        }
        Ok(())
    }

    /// A file as whose objects nothing may be.
    pub(super) fn error_file(&mut self, path: &Path) -> Result<(), LoadError> {
        for value in of_kuttl(path)? {
            let Said::Object(fragment) = value else {
                return Err(value.out_of_place(path));
            };
            self.later.push(Operation {
                error: Some(Assert {
                    resource: Some(fragment),
                    timeout: Some(format!("{LIMIT}s")),
                    ..Assert::default()
                }),
                ..Operation::default()
            });
        }
        Ok(())
    }

    /// A file whose objects are applied; it may be called otherwise by a `TestStep` in it.
    pub(super) fn apply_file(&mut self, path: &Path, name: &str) -> Result<(), LoadError> {
        name.clone_into(&mut self.step.name);
        for value in of_kuttl(path)? {
            match value {
                Said::Object(object) => self.step.r#try.push(apply(Apply {
                    resource: Some(object),
                    template: Some(false),
                    ..Apply::default()
                })),
                Said::Step(said) => self.say(*said),
                other @ Said::Assert(_) => return Err(other.out_of_place(path)),
            }
        }
        Ok(())
    }

    fn say(&mut self, said: TestStep) {
        if !said.metadata.name.is_empty() {
            let number = self.step.name.split('-').next().unwrap_or_default();
            self.step.name = format!("{number}-{}", said.metadata.name);
        }
        // kuttl's order: what is to be deleted, commands, what is to be applied.
        let deletions = said.delete.into_iter().map(|reference| Operation {
            delete: Some(Delete {
                r#ref: Some(reference),
                ..Delete::default()
            }),
            ..Operation::default()
        });
        let commands = said.commands.into_iter().map(script);
        let before: Vec<Operation> = deletions.chain(commands).collect();
        self.step.r#try.splice(0..0, before);
        for file in self.files(&said.apply) {
            self.step.r#try.push(apply(Apply {
                file: Some(file),
                template: Some(false),
                ..Apply::default()
            }));
        }
        let of_file = |file| Assert {
            file: Some(file),
            timeout: Some(format!("{LIMIT}s")),
            ..Assert::default()
        };
        for file in self.files(&said.assert) {
            self.later.push(assertion(of_file(file)));
        }
        for file in self.files(&said.error) {
            self.later.push(Operation {
                error: Some(of_file(file)),
                ..Operation::default()
            });
        }
    }

    /// Names of files, with the environment in them; a folder stands for the files in it.
    fn files(&self, names: &[String]) -> Vec<String> {
        let with_environment = names.iter().map(|name| environment::of_process(name));
        with_environment
            .map(|name| {
                if self.folder.join(&name).is_dir() {
                    format!("{}/*.yaml", name.trim_end_matches('/'))
                } else {
                    name
                }
            })
            .collect()
    }
}

/// A document in a file of kuttl's.
enum Said {
    Step(Box<TestStep>),
    Assert(Box<TestAssert>),
    Object(Value),
}

impl Said {
    fn out_of_place(&self, path: &Path) -> LoadError {
        let kind = match self {
            Self::Step(_) => "a TestStep",
            Self::Assert(_) => "a TestAssert",
            Self::Object(_) => "an object",
        };
        wrong(path, format!("{kind} has no place in this file"))
    }
}

fn of_kuttl(path: &Path) -> Result<Vec<Said>, LoadError> {
    if path.to_string_lossy().contains(".gotmpl.") {
        return Err(wrong(path, "templates of Go are not there".to_owned()));
    }
    let text = read(path)?;
    let mut all = Vec::new();
    for value in documents::<Value>(path, &text)? {
        let version = value["apiVersion"].as_str().unwrap_or_default();
        let kind = value["kind"].as_str().unwrap_or_default();
        all.push(match (version.starts_with("kuttl.dev/"), kind) {
            (true, "TestStep") => Said::Step(strictly(path, &value)?),
            (true, "TestAssert") => Said::Assert(strictly(path, &value)?),
            (true, other) => return Err(wrong(path, format!("kuttl's {other} is not there"))),
            (false, "TestStep" | "TestAssert") => {
                return Err(wrong(
                    path,
                    format!("{kind} is of kuttl.dev/v1beta1, not of {version}"),
                ));
            }
            (false, _) => Said::Object(value),
        });
    }
    Ok(all)
}

/// Expressions in CEL that speak of objects by names.
fn expressions(assert: &TestAssert, seconds: &str) -> Vec<Operation> {
    let all = assert.assert_all.iter().map(|one| one.cel_expr.clone());
    let any: Vec<String> = assert
        .assert_any
        .iter()
        .map(|one| format!("({})", one.cel_expr))
        .collect();
    let any = (!any.is_empty()).then(|| any.join(" || "));
    all.chain(any)
        .map(|expression| {
            let mut fragment = Map::from_iter([(format!("(cel; {expression})"), json!(true))]);
            for of in assert.resource_refs.iter().rev() {
                let namespace = of.namespace.as_ref().map_or_else(
                    || "$namespace".to_owned(),
                    |namespace| format!("'{namespace}'"),
                );
                let ResourceRef {
                    api_version,
                    kind,
                    name,
                    r#ref,
                    ..
                } = of;
                let key = format!(
                    "(x_k8s_get($client, '{api_version}', '{kind}', {namespace}, '{name}'))->{ref}"
                );
                fragment = Map::from_iter([(key, fragment.into())]);
            }
            assertion(Assert {
                resource: Some(fragment.into()),
                timeout: Some(seconds.to_owned()),
                ..Assert::default()
            })
        })
        .collect()
}

fn collector(collector: Collector) -> Operation {
    let look = Look {
        name: collector.pod,
        namespace: collector.namespace,
        selector: collector.selector,
        container: collector.container,
        tail: collector.tail,
        ..Look::default()
    };
    match (collector.r#type.as_deref(), collector.command) {
        (_, Some(command)) => script(Run {
            command: Some(command),
            ..Run::default()
        }),
        (Some("events"), None) => Operation {
            events: Some(look),
            ..Operation::default()
        },
        (_, None) => Operation {
            pod_logs: Some(look),
            ..Operation::default()
        },
    }
}

fn apply(apply: Apply) -> Operation {
    Operation {
        apply: Some(apply),
        ..Operation::default()
    }
}

fn assertion(assert: Assert) -> Operation {
    Operation {
        assert: Some(assert),
        ..Operation::default()
    }
}

fn script(run: Run) -> Operation {
    let mut content = run.script.or(run.command).unwrap_or_default();
    if run.namespaced {
        content = format!("{} --namespace \"$NAMESPACE\"", content.trim_end());
    }
    Operation {
        continue_on_error: run.ignore_failure,
        script: Some(Script {
            content,
            skip_log_output: run.skip_log_output,
            timeout: run.timeout.map(|seconds| format!("{seconds}s")),
            ..Script::default()
        }),
        ..Operation::default()
    }
}

fn wrong(path: &Path, problem: String) -> LoadError {
    LoadError::Wrong {
        path: path.to_owned(),
        line: 1,
        column: 1,
        problem,
    }
}

fn strictly<T: for<'de> Deserialize<'de>>(path: &Path, value: &Value) -> Result<Box<T>, LoadError> {
    serde_json::from_value(value.clone())
        .map(Box::new)
        .map_err(|error| wrong(path, error.to_string()))
}
