//! Through a scenario: its namespace, its steps in order, `catch`, `finally`, the clean-up.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use serde_json::json;

use super::{Engine, Limits, Options, step_name};
use crate::{
    Cluster, Failure,
    backend::Capability,
    conditions,
    objects::Write,
    proof::chain,
    scenario::{
        action::Action,
        duration,
        expression::Bindings,
        model::{Operation, Spec, Step, Timeouts},
        parse::{self, Loaded},
        record::{OperationRecord, Run, StepRecord, Verdict},
    },
    wait,
};

/// The namespace to work in; one that a template makes has a name of its own unless it says one.
pub(super) fn namespace_of(spec: &Spec, options: &Options, cluster: &Cluster) -> String {
    let configured = &options.configuration.spec.namespace;
    let template = spec
        .namespace_template
        .as_ref()
        .or(configured.template.as_ref());
    let said = template.and_then(|template| template["metadata"]["name"].as_str());
    let name = spec
        .namespace
        .as_deref()
        .or(said)
        .or(configured.name.as_deref());
    match name {
        Some(name) => name.to_owned(),
        None if template.is_some() && cluster.can(Capability::OwnCluster) => {
            // `default` is there already, so it is not what the template says.
            "harness-scenario".to_owned()
        }
        None => cluster.namespace().to_owned(),
    }
}

impl Engine<'_, '_> {
    /// The steps, the verdict, the clean-up.
    pub(super) async fn whole(&mut self, loaded: &Loaded, options: &Options, run: &mut Run) {
        run.verdict = tokio::select! {
            biased;
            () = options.interrupt.cancelled() => Verdict::Interrupted,
            verdict = self.scenario(loaded, options, run) => verdict,
        };
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
        self.cleanup(loaded, options, run).await;
        if !loaded.document.spec.skip_delete && !options.configuration.spec.cleanup.skip_delete {
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
            self.bindings.insert("step", json!({"id": index + 1}));
            self.observer.step_begins(&name);
            let began = self.start.elapsed();
            let outcome = Box::pin(self.step(step, run)).await;
            let took = self.start.elapsed().saturating_sub(began);
            let failure = outcome.as_ref().err().map(String::as_str);
            self.observer.step_ended(&name, took, failure);
            if let Err(failure) = outcome {
                verdict = Verdict::Failed(format!("step {name:?}: {failure}"));
                break;
            }
        }
        if matches!(verdict, Verdict::Failed(_)) {
            let configured = &options.configuration.spec.error.catch;
            for (index, operation) in spec.catch.iter().chain(configured).enumerate() {
                drop(self.operation("catch", index, operation, run).await);
            }
        }
        verdict
    }

    async fn prepare(&mut self, loaded: &Loaded, options: &Options) -> Result<(), Failure> {
        let spec = &loaded.document.spec;
        let configured = &options.configuration.spec;
        let grace = spec.force_termination_grace_period.as_ref();
        let grace = grace.or(configured.execution.force_termination_grace_period.as_ref());
        let propagation = spec.deletion_propagation_policy.clone();
        self.limits = Limits {
            timeouts: over(&spec.timeouts, &configured.timeouts),
            template: spec
                .template
                .or(configured.templating.enabled)
                .unwrap_or(true),
            propagation: propagation.or(configured.deletion.propagation.clone()),
            grace: grace.map(|text| duration::parse(text)).transpose()?,
        };
        let compiler = spec.compiler.or(configured.templating.compiler);
        self.bindings.compiler = compiler.unwrap_or_default();
        let metadata = serde_json::to_value(&loaded.document.metadata)?;
        let scenario = if spec.scenarios.is_empty() {
            0
        } else {
            options.variant + 1
        };
        let said = [
            ("namespace", self.namespace.clone().into()),
            ("cluster", self.cluster.backend().name().into()),
            ("values", options.values.clone()),
            (
                "test",
                json!({"id": 1, "scenarioId": scenario, "metadata": metadata}),
            ),
            // Functions take these as the word for the scenario's cluster.
            ("client", "client".into()),
            ("config", "config".into()),
        ];
        for (name, value) in said {
            self.bindings.insert(name, value);
        }
        self.make_namespace(spec, options).await?;
        let variant = spec.scenarios.get(options.variant);
        let of_variant = variant.map_or(&[][..], |variant| &variant.bindings);
        self.bind(of_variant).await?;
        self.bind(&spec.bindings).await?;
        self.only_our_cluster(spec.cluster.as_ref())?;
        if spec.requires.operator.unwrap_or(true) {
            self.subject.lock().await.start(self.cluster).await?;
        }
        Ok(())
    }

    /// Makes the namespace, unless it is there, and waits until pods can be made in it.
    async fn make_namespace(&self, spec: &Spec, options: &Options) -> Result<(), Failure> {
        let configured = &options.configuration.spec.namespace;
        let (template, compiler) = match (&spec.namespace_template, &configured.template) {
            (Some(template), _) => (Some(template), spec.namespace_template_compiler),
            (None, template) => (template.as_ref(), configured.compiler),
        };
        if template.is_none() && self.namespace == self.cluster.namespace() {
            return Ok(());
        }
        let namespaces = self.cluster.all::<Namespace>();
        if namespaces.get_opt(&self.namespace).await?.is_some() {
            return Ok(());
        }
        let bindings = self.bindings.with_compiler(compiler);
        let mut namespace = match template {
            Some(template) => {
                self.asked(&bindings, template, &super::values::nothing())
                    .await?
            }
            None => json!({}),
        };
        namespace["apiVersion"] = "v1".into();
        namespace["kind"] = "Namespace".into();
        namespace["metadata"]["name"] = self.namespace.clone().into();
        let namespace = serde_json::from_value(namespace)?;
        self.cluster
            .write(namespace, &self.namespace, Write::Create)
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.cluster.client(), &self.namespace);
        wait::until(&accounts, "default", conditions::exists(), wait::LIMIT).await?;
        Ok(())
    }

    async fn step(&mut self, step: &Step, run: &mut Run) -> Result<(), String> {
        let limits = self.limits.clone();
        let compiler = self.bindings.compiler;
        let outcome = Box::pin(self.step_within(step, run)).await;
        self.limits = limits;
        self.bindings.compiler = compiler;
        outcome
    }

    async fn step_within(&mut self, step: &Step, run: &mut Run) -> Result<(), String> {
        let outer = self.bindings.clone();
        let template = self.template_of(step).map_err(|failure| chain(&*failure))?;
        self.limits = Limits {
            timeouts: over(&step.timeouts, &self.limits.timeouts),
            template: step.template.unwrap_or(self.limits.template),
            propagation: step
                .deletion_propagation_policy
                .clone()
                .or(self.limits.propagation.take()),
            grace: self.limits.grace,
        };
        self.bindings.compiler = step.compiler.unwrap_or(self.bindings.compiler);
        // What a template is given is more than what it says itself.
        let mut bindings = template
            .as_ref()
            .map_or_else(Vec::new, |of| of.bindings.clone());
        bindings.extend(
            step.r#use
                .iter()
                .flat_map(|given| given.with.bindings.clone()),
        );
        bindings.extend(step.bindings.clone());
        let bound = self.bind(&bindings).await;
        bound
            .and_then(|()| self.only_our_cluster(step.cluster.as_ref()))
            .map_err(|failure| chain(&*failure))?;
        let parts: Vec<&Step> = template.iter().chain([step]).collect();
        let mut outcome = Ok(());
        for (index, operation) in parts.iter().flat_map(|part| &part.r#try).enumerate() {
            outcome = self.operation("try", index, operation, run).await;
            if outcome.is_err() {
                break;
            }
        }
        if outcome.is_err() {
            for (index, operation) in parts.iter().flat_map(|part| &part.catch).enumerate() {
                drop(self.operation("catch", index, operation, run).await);
            }
        }
        for (index, operation) in parts.iter().flat_map(|part| &part.finally).enumerate() {
            let finally = self.operation("finally", index, operation, run).await;
            outcome = outcome.and(finally);
        }
        // Outputs of a step are seen by the next ones, its bindings are not.
        self.forget(bindings.iter().map(|binding| &*binding.name), &outer);
        outcome
    }

    /// The operations that clean up, of the last step first.
    async fn cleanup(&mut self, loaded: &Loaded, options: &Options, run: &mut Run) {
        let delay = loaded.document.spec.delay_before_cleanup.as_ref();
        let delay = delay.or(options
            .configuration
            .spec
            .cleanup
            .delay_before_cleanup
            .as_ref());
        if let Some(Ok(delay)) = delay.map(|text| duration::parse(text)) {
            tokio::time::sleep(delay).await;
        }
        let steps = &loaded.document.spec.steps;
        let reached = run.steps.len();
        for step in steps.iter().take(reached).rev() {
            // A template that could not be read has failed its step already.
            let template = self.template_of(step).ok().flatten();
            let parts = template.iter().chain([step]);
            for (index, operation) in parts.flat_map(|part| &part.cleanup).enumerate() {
                drop(self.operation("cleanup", index, operation, run).await);
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
        index: usize,
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
        self.bindings
            .insert("operation", json!({"id": index + 1, "resourceId": 1}));
        let outcome = Box::pin(self.act_within(operation, *action)).await;
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

    /// An action with the bindings and the language of its operation.
    async fn act_within(
        &mut self,
        operation: &Operation,
        action: Action<'_>,
    ) -> Result<(), Failure> {
        let outer = self.bindings.clone();
        self.bindings.compiler = operation.compiler.unwrap_or(outer.compiler);
        let own = action.bindings();
        let outcome = match self.bind(own).await {
            Ok(()) => match self.only_our_cluster(action.cluster()) {
                Ok(()) => self.act(action).await,
                refused => refused,
            },
            unbound => unbound,
        };
        self.bindings.compiler = outer.compiler;
        self.forget(own.iter().map(|binding| &*binding.name), &outer);
        outcome
    }

    /// Names get the values that they had before.
    pub(super) fn forget<'n>(&mut self, names: impl Iterator<Item = &'n str>, outer: &Bindings) {
        for name in names {
            match outer.get(name) {
                Some(value) => self.bindings.insert(name, value.clone()),
                None => self.bindings.remove(name),
            }
        }
    }

    async fn act(&mut self, action: Action<'_>) -> Result<(), Failure> {
        match action {
            Action::Apply(apply) if self.creates => self.write(apply, Write::CreateOrMerge).await,
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
            Action::Proxy(proxy) => self.proxy(proxy).await,
            Action::Events(look) => self.look(look, Self::events).await,
            Action::PodLogs(look) => self.look(look, Self::pod_logs).await,
            Action::Get(look) => self.look(look, Self::get).await,
            Action::Describe(look) => self.look(look, Self::describe).await,
            Action::Sql(sql) => self.sql(sql).await,
            Action::Hold(hold) => self.hold(hold).await,
            Action::Operator(action) => self.operator(*action).await,
            Action::Fault(fault) => self.fault(fault).await,
            Action::FaultsFired(_) => self.faults_fired().await,
        }
    }

    /// The limit of an operation: its own, else the step's, else chainsaw's.
    pub(super) fn limit(
        &self,
        own: Option<&String>,
        of: fn(&Timeouts) -> &Option<String>,
        default: u64,
    ) -> Result<Duration, Failure> {
        match own.or(of(&self.limits.timeouts).as_ref()) {
            Some(text) => Ok(duration::parse(text)?),
            None => Ok(Duration::from_secs(default)),
        }
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
