//! Doing what a scenario says: its operations in order, `catch` when one fails, `finally` in any case, the
//! clean-up while the operator still runs.
//!
//! | module | its operations |
//! |---|---|
//! | `write` | apply, create, update, patch, delete |
//! | `see` | assert, error, wait, and the watching they need |
//! | `program` | command, script |
//! | `sql` | sql |
//! | `lab` | hold, operator, fault, faultsFired |
//! | `look` | events, podLogs, get, describe |

mod lab;
mod look;
mod program;
mod see;
mod sql;
mod write;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DynamicObject, PostParams};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{
    action::Action,
    duration,
    expression::{Bindings, evaluate, in_parentheses},
    model::{Binding, Operation, Output, Step, Timeouts},
    parse::{self, Loaded},
    record::{Observer, OperationRecord, Run, StepRecord, Verdict},
    subject::Subject,
};
use crate::{Cluster, Failure, conditions, proof::chain, wait};

/// How a run differs from an ordinary one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stop before this step and leave everything as it is.
    pub stop_before: Option<String>,
    /// Which variant of several, counted from 0.
    pub variant: usize,
    /// Leave everything as it is at the end, however it ends: somebody wants to look around.
    pub keep: bool,
}

/// Runs a scenario on a cluster; the operator under test is started first.
pub async fn run(
    loaded: &Loaded,
    cluster: &Cluster,
    subject: &mut dyn Subject,
    observer: &mut dyn Observer,
) -> Run {
    run_with(loaded, cluster, subject, observer, &Options::default()).await
}

/// As [`run`], with options.
pub async fn run_with(
    loaded: &Loaded,
    cluster: &Cluster,
    subject: &mut dyn Subject,
    observer: &mut dyn Observer,
    options: &Options,
) -> Run {
    let spec = &loaded.document.spec;
    let mut run = Run {
        name: loaded.name(options.variant),
        cluster: cluster.backend().name(),
        started: Timestamp::now(),
        took: Duration::ZERO,
        steps: Vec::new(),
        verdict: Verdict::Passed,
        left_behind: Vec::new(),
        reproduce: None,
    };
    if let Some(why) = loaded.why_not_on(cluster.backend().name()) {
        run.verdict = Verdict::Skipped(why);
        return run;
    }
    let start = Instant::now();
    let subject = Mutex::new(subject);
    let happenings = cluster.faults().listen();
    let mut engine = Engine {
        cluster,
        subject: &subject,
        observer,
        start,
        folder: loaded.folder.clone(),
        namespace: spec
            .namespace
            .clone()
            .unwrap_or_else(|| cluster.namespace().to_owned()),
        bindings: Bindings::new(),
        timeouts: Timeouts::default(),
        template: true,
        ledgers: BTreeMap::new(),
        kubeconfig: None,
        output: None,
    };
    let namespace = engine.namespace.clone();
    tokio::select! {
        biased;
        never = lab::disturb(cluster, &subject, &namespace, happenings) => match never {},
        () = engine.whole(loaded, options, &mut run) => {}
    }
    run.took = start.elapsed();
    run
}

impl Loaded {
    /// How many times the steps are to be run, each with bindings of its own.
    pub fn variants(&self) -> usize {
        self.document.spec.scenarios.len().max(1)
    }

    /// The names of the steps, as reports and [`Options::stop_before`] know them.
    pub fn step_names(&self) -> Vec<String> {
        let steps = self.document.spec.steps.iter().enumerate();
        steps.map(|(index, step)| step_name(step, index)).collect()
    }

    /// The name of one of them.
    pub fn name(&self, variant: usize) -> String {
        let name = &self.document.metadata.name;
        if self.variants() > 1 {
            format!("{name}#{}", variant + 1)
        } else {
            name.clone()
        }
    }

    /// Why it is not run on this cluster, if it is not.
    pub fn why_not_on(&self, cluster: &str) -> Option<String> {
        let spec = &self.document.spec;
        if spec.skip {
            return Some("the scenario says `skip`".to_owned());
        }
        let canonical = |name: &str| match name {
            "embedded" => "simulated".to_owned(),
            "kubeconfig" => "existing".to_owned(),
            other => other.to_owned(),
        };
        let listed = spec.backends.iter().any(|name| canonical(name) == cluster);
        (!spec.backends.is_empty() && !listed)
            .then(|| format!("it runs only on {}", spec.backends.join(", ")))
    }
}

/// A scenario that is being run.
struct Engine<'a, 's> {
    cluster: &'a Cluster,
    subject: &'a Mutex<&'s mut (dyn Subject + 's)>,
    observer: &'a mut dyn Observer,
    start: Instant,
    folder: PathBuf,
    namespace: String,
    bindings: Bindings,
    /// Those of the step, else those of the scenario.
    timeouts: Timeouts,
    template: bool,
    /// Acknowledged rows, by the ledger's name.
    ledgers: BTreeMap<String, Vec<sql::LedgerRow>>,
    kubeconfig: Option<program::KubeconfigFile>,
    /// What the present operation has to show.
    output: Option<String>,
}

impl Engine<'_, '_> {
    /// The steps, the verdict, the clean-up.
    async fn whole(&mut self, loaded: &Loaded, options: &Options, run: &mut Run) {
        run.verdict = self.scenario(loaded, options, run).await;
        if matches!(run.verdict, Verdict::Stopped(_)) {
            return;
        }
        let waiting = self.cluster.faults().disarm();
        if run.verdict == Verdict::Passed && !waiting.is_empty() {
            // Else nobody knows whether the scenario is about what it says.
            run.verdict = Verdict::Failed(format!("a fault did not fire: {}", waiting.join("; ")));
        }
        if options.keep {
            return;
        }
        self.cleanup(loaded, run).await;
        if !loaded.document.spec.skip_delete {
            run.left_behind = self.cluster.clean_up().await.0;
        }
    }

    async fn scenario(&mut self, loaded: &Loaded, options: &Options, run: &mut Run) -> Verdict {
        let spec = &loaded.document.spec;
        if let Err(failure) = self.prepare(loaded, options).await {
            return Verdict::Failed(chain(&*failure));
        }
        let mut verdict = Verdict::Passed;
        for (index, step) in spec.steps.iter().enumerate() {
            let name = step_name(step, index);
            if options.stop_before.as_deref() == Some(name.as_str()) {
                return Verdict::Stopped(name);
            }
            run.steps.push(StepRecord {
                name: name.clone(),
                operations: Vec::new(),
            });
            let outcome = Box::pin(self.step(step, &name, run)).await;
            if let Err(failure) = outcome {
                verdict = Verdict::Failed(format!("step {name:?}: {failure}"));
                break;
            }
        }
        if matches!(verdict, Verdict::Failed(_)) {
            for operation in &spec.catch {
                drop(self.operation("catch", operation, run).await);
            }
        }
        verdict
    }

    async fn prepare(&mut self, loaded: &Loaded, options: &Options) -> Result<(), Failure> {
        let spec = &loaded.document.spec;
        self.timeouts = spec.timeouts.clone();
        self.template = spec.template.unwrap_or(true);
        self.bindings
            .insert("namespace".to_owned(), self.namespace.clone().into());
        self.bindings
            .insert("cluster".to_owned(), self.cluster.backend().name().into());
        let variant = spec.scenarios.get(options.variant);
        let of_variant = variant.map_or(&[][..], |variant| &variant.bindings);
        self.bind(of_variant)?;
        self.bind(&spec.bindings)?;
        if self.namespace != self.cluster.namespace() {
            self.make_namespace().await?;
        }
        if spec.requires.operator.unwrap_or(true) {
            self.subject.lock().await.start(self.cluster).await?;
        }
        Ok(())
    }

    async fn make_namespace(&self) -> Result<(), Failure> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(self.namespace.clone());
        let api = self.cluster.all::<Namespace>();
        match api.create(&PostParams::default(), &namespace).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let accounts: kube::Api<ServiceAccount> =
            kube::Api::namespaced(self.cluster.client(), &self.namespace);
        wait::until(&accounts, "default", conditions::exists(), wait::LIMIT).await?;
        Ok(())
    }

    async fn step(&mut self, step: &Step, name: &str, run: &mut Run) -> Result<(), String> {
        let outer = (self.bindings.clone(), self.timeouts.clone(), self.template);
        let template = match self.template_of(step) {
            Ok(template) => template,
            Err(failure) => return Err(chain(&*failure)),
        };
        self.timeouts = over(&step.timeouts, &self.timeouts);
        self.template = step.template.unwrap_or(self.template);
        let with = step.r#use.as_ref().map(|template| &template.with.bindings);
        let bound = self
            .bind(with.map_or(&[][..], Vec::as_slice))
            .and_then(|()| self.bind(template.as_ref().map_or(&[][..], |t| &t.bindings)))
            .and_then(|()| self.bind(&step.bindings));
        if let Err(failure) = bound {
            return Err(chain(&*failure));
        }
        let parts: Vec<&Step> = template.iter().chain([step]).collect();
        let mut outcome = Ok(());
        'steps: for part in &parts {
            for operation in &part.r#try {
                if let Err(failure) = self.operation("try", operation, run).await {
                    outcome = Err(failure);
                    break 'steps;
                }
            }
        }
        if outcome.is_err() {
            for operation in parts.iter().flat_map(|part| &part.catch) {
                drop(self.operation("catch", operation, run).await);
            }
        }
        for operation in parts.iter().flat_map(|part| &part.finally) {
            let finally = self.operation("finally", operation, run).await;
            outcome = outcome.and(finally);
        }
        // Outputs of a step are seen by the next ones, its bindings and limits are not.
        let local: Vec<&str> = parts
            .iter()
            .flat_map(|part| &part.bindings)
            .chain(with.into_iter().flatten())
            .map(|binding| binding.name.as_str())
            .collect();
        for name in local {
            match outer.0.get(name) {
                Some(value) => self.bindings.insert(name.to_owned(), value.clone()),
                None => self.bindings.remove(name),
            };
        }
        (self.timeouts, self.template) = (outer.1, outer.2);
        let _ = name;
        outcome
    }

    /// The operations that clean up, of the last step first.
    async fn cleanup(&mut self, loaded: &Loaded, run: &mut Run) {
        let steps = &loaded.document.spec.steps;
        let reached = run.steps.len();
        for step in steps.iter().take(reached).rev() {
            for operation in &step.cleanup {
                drop(self.operation("cleanup", operation, run).await);
            }
        }
    }

    fn template_of(&self, step: &Step) -> Result<Option<Step>, Failure> {
        let Some(template) = &step.r#use else {
            return Ok(None);
        };
        let path = self.folder.join(&template.template);
        Ok(Some(parse::load_template(&path)?.spec))
    }

    /// Does one operation and records it.
    async fn operation(
        &mut self,
        phase: &'static str,
        operation: &Operation,
        run: &mut Run,
    ) -> Result<(), String> {
        let actions = Action::all(operation);
        let [action] = actions.as_slice() else {
            return Err(format!(
                "an operation has one action, not {}",
                actions.len()
            ));
        };
        let subject = action.subject();
        let step = run
            .steps
            .last()
            .map_or_else(String::new, |step| step.name.clone());
        self.observer.begins(&step, action.name(), &subject);
        let began = self.start.elapsed();
        self.output = None;
        let outcome = Box::pin(self.act(*action)).await;
        let failure = outcome.err().map(|failure| chain(&*failure));
        let record = OperationRecord {
            phase,
            action: action.name(),
            subject: subject.clone(),
            began,
            took: self.start.elapsed().saturating_sub(began),
            failure: failure.clone(),
            output: self.output.take(),
        };
        self.observer.ended(&step, &record);
        if let Some(step) = run.steps.last_mut() {
            step.operations.push(record);
        }
        match failure {
            Some(failure) if !operation.continue_on_error => {
                Err(format!("{} {subject}: {failure}", action.name()))
            }
            _ => Ok(()),
        }
    }

    async fn act(&mut self, action: Action<'_>) -> Result<(), Failure> {
        use crate::objects::Write;
        match action {
            Action::Apply(apply) if apply.dry_run => self.write(apply, Write::DryRun).await,
            Action::Apply(apply) => self.write(apply, Write::Apply).await,
            Action::Create(apply) => self.write(apply, Write::Create).await,
            Action::Update(apply) => self.write(apply, Write::Replace).await,
            Action::Patch(apply) => self.write(apply, Write::Merge).await,
            Action::Delete(delete) => self.delete(delete).await,
            Action::Assert(assert) => self.assert(assert).await,
            Action::Error(assert) => self.error(assert).await,
            Action::Wait(wait) => self.wait(wait).await,
            Action::Command(command) => self.command(command).await,
            Action::Script(script) => self.script(script).await,
            Action::Sleep(sleep) => {
                tokio::time::sleep(duration::parse(&sleep.duration)?).await;
                Ok(())
            }
            Action::Events(look) => self.events(look).await,
            Action::PodLogs(look) => self.pod_logs(look).await,
            Action::Get(look) => self.get(look).await,
            Action::Describe(look) => self.describe(look).await,
            Action::Sql(sql) => self.sql(sql).await,
            Action::Hold(hold) => self.hold(hold).await,
            Action::Operator(action) => self.operator(action).await,
            Action::Fault(fault) => self.fault(fault).await,
            Action::FaultsFired(_) => self.faults_fired().await,
        }
    }

    /// The limit of an operation: its own, else the step's, else chainsaw's.
    fn limit(
        &self,
        own: Option<&String>,
        of: fn(&Timeouts) -> &Option<String>,
        default: u64,
    ) -> Result<Duration, Failure> {
        match own.or(of(&self.timeouts).as_ref()) {
            Some(text) => Ok(duration::parse(text)?),
            None => Ok(Duration::from_secs(default)),
        }
    }

    fn bind(&mut self, bindings: &[Binding]) -> Result<(), Failure> {
        for binding in bindings {
            let value = self.evaluated(&binding.value)?;
            self.bindings.insert(binding.name.clone(), value);
        }
        Ok(())
    }

    /// Keeps the outputs of a result.
    fn keep(&mut self, outputs: &[Output], result: &Value) -> Result<(), Failure> {
        for output in outputs {
            if let Some(pattern) = &output.r#match
                && !super::assertion::differences(pattern, result, &self.bindings)?.is_empty()
            {
                continue;
            }
            let value = evaluated(&output.value, result, &self.bindings)?;
            self.bindings.insert(output.name.clone(), value);
        }
        Ok(())
    }

    /// A value with its `(expressions)` replaced by their values.
    fn evaluated(&self, value: &Value) -> Result<Value, Failure> {
        evaluated(value, &nothing(), &self.bindings)
    }

    fn text(&self, text: &str) -> Result<String, Failure> {
        Ok(match self.evaluated(&Value::from(text))? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// The documents of a file or of a resource.
    fn documents(
        &self,
        file: Option<&String>,
        resource: Option<&Value>,
    ) -> Result<Vec<Value>, Failure> {
        if let Some(resource) = resource {
            return Ok(vec![resource.clone()]);
        }
        let file = file.ok_or("neither `file` nor `resource` is given")?;
        let path: &Path = &self.folder.join(self.text(file)?);
        Ok(parse::documents(path, &parse::read(path)?)?)
    }

    /// A resource as an object of the API.
    fn object(&self, resource: &Value, template: bool) -> Result<DynamicObject, Failure> {
        let resource = if template {
            self.evaluated(resource)?
        } else {
            resource.clone()
        };
        let kind = resource["kind"].as_str().unwrap_or_default().to_owned();
        Ok(serde_json::from_value(resource)
            .map_err(|error| format!("the resource of kind {kind:?} is no object: {error}"))?)
    }
}

/// The input of expressions that are about bindings only. Not null: on null, JMESPath makes no lists.
fn nothing() -> Value {
    Value::Object(serde_json::Map::new())
}

fn evaluated(value: &Value, input: &Value, bindings: &Bindings) -> Result<Value, Failure> {
    Ok(match value {
        Value::String(text) => match in_parentheses(text) {
            Some(expression) => evaluate(expression, input, bindings)?,
            None => value.clone(),
        },
        Value::Array(items) => items
            .iter()
            .map(|item| evaluated(item, input, bindings))
            .collect::<Result<_, _>>()?,
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), evaluated(value, input, bindings)?)))
            .collect::<Result<_, Failure>>()?,
        other => other.clone(),
    })
}

/// The name of a step in reports and for `stop_before`.
fn step_name(step: &Step, index: usize) -> String {
    if step.name.is_empty() {
        format!("step-{}", index + 1)
    } else {
        step.name.clone()
    }
}

/// Limits of a step over those of its scenario.
fn over(inner: &Timeouts, outer: &Timeouts) -> Timeouts {
    let first = |inner: &Option<String>, outer: &Option<String>| inner.clone().or(outer.clone());
    Timeouts {
        apply: first(&inner.apply, &outer.apply),
        assert: first(&inner.assert, &outer.assert),
        cleanup: first(&inner.cleanup, &outer.cleanup),
        delete: first(&inner.delete, &outer.delete),
        error: first(&inner.error, &outer.error),
        exec: first(&inner.exec, &outer.exec),
    }
}
