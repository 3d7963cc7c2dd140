//! apply, create, update, patch, delete; and what the API's answer shall be.

mod grace;

use std::time::{Duration, Instant};

use kube::{
    ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, PropagationPolicy},
};
use serde_json::{Value, json};

use super::Engine;
use crate::{
    Failure, conditions,
    objects::{self, ObjectError, Write, Writing},
    proof::chain,
    scenario::model::{Apply, Delete, Expectation},
    wait,
};

/// How long after trouble with the API the write is tried again.
const AGAIN: Duration = Duration::from_millis(100);

impl Engine<'_, '_> {
    pub(super) async fn write(&mut self, apply: &Apply, how: Write) -> Result<(), Failure> {
        let limit = self.limit(apply.timeout.as_ref(), |t| &t.apply, 5)?;
        let template = apply.template.unwrap_or(self.limits.template);
        let writing = Writing {
            how,
            dry_run: apply.dry_run,
            subresource: self.optional_text(apply.subresource.as_ref())?,
        };
        let resources = self.documents(apply.file.as_ref(), apply.resource.as_ref())?;
        for (index, resource) in resources.iter().enumerate() {
            let numbers = json!({"id": self.bindings.get("operation").map(|now| &now["id"]),
                "resourceId": index + 1});
            self.bindings.insert("operation", numbers);
            let mut object = self.object(resource, template)?;
            if let Some(grace) = self.limits.grace {
                grace::force(&mut object, grace);
            }
            let what = objects::describe(&object);
            let deadline = Instant::now() + limit;
            let (result, error) = loop {
                let writing = self
                    .cluster
                    .write(object.clone(), &self.namespace, writing.clone());
                let written = tokio::time::timeout_at(deadline.into(), writing)
                    .await
                    .map_err(|_| format!("{what}: the API did not answer within {limit:?}"))?;
                match written {
                    Ok(stored) => break (serde_json::to_value(&stored)?, None),
                    Err(error) if passes(&error) && Instant::now() + AGAIN < deadline => {
                        tokio::time::sleep(AGAIN).await;
                    }
                    Err(error) => break (serde_json::to_value(&object)?, Some(error)),
                }
            };
            let error = error.map(|error| Answer::new(&error));
            self.judge(&apply.expect, &what, &result, error).await?;
            self.keep(&apply.outputs, &result).await?;
        }
        Ok(())
    }

    /// Whether an answer is as expected; without a word that fits, success is.
    async fn judge(
        &mut self,
        expectations: &[Expectation],
        what: &str,
        result: &Value,
        error: Option<Answer>,
    ) -> Result<(), Failure> {
        let mut bindings = self.bindings.clone();
        let message = error.as_ref().map(|error| &*error.message);
        bindings.insert("error", json!(message));
        let mut judged = false;
        for expectation in expectations {
            if let Some(pattern) = &expectation.r#match
                && !self.compared(pattern, result, &bindings).await?.is_empty()
            {
                continue;
            }
            judged = true;
            let found = self.compared(&expectation.check, result, &bindings).await?;
            if !found.is_empty() {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                let answer = message.unwrap_or("it was accepted");
                return Err(format!(
                    "{what}: the answer is not as expected:\n  {}\nthe answer: {answer}",
                    found.join("\n  ")
                )
                .into());
            }
        }
        match error {
            Some(error) if !judged => Err(error.chain.into()),
            Some(error) => {
                self.output = Some(format!("refused, as expected: {}", error.message));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) async fn delete(&mut self, delete: &Delete) -> Result<(), Failure> {
        let limit = self.limit(delete.timeout.as_ref(), |t| &t.delete, 15)?;
        let template = delete.template.unwrap_or(self.limits.template);
        let mut targets = Vec::new();
        if let Some(reference) = &delete.r#ref {
            let mut metadata = json!({});
            if let Some(name) = &reference.name {
                metadata["name"] = self.text(name)?.into();
            }
            if let Some(namespace) = &reference.namespace {
                metadata["namespace"] = self.text(namespace)?.into();
            }
            let pattern = self.object(
                &json!({"apiVersion": reference.api_version, "kind": reference.kind, "metadata": metadata}),
                template,
            )?;
            if reference.name.is_some() {
                targets.push(pattern);
            } else {
                let labels: Vec<String> = reference
                    .labels
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                targets.extend(self.labelled(&pattern, &labels.join(",")).await?);
            }
        } else {
            for resource in self.documents(delete.file.as_ref(), None)? {
                targets.push(self.object(&resource, template)?);
            }
        }
        for target in &targets {
            self.delete_one(target, delete, limit).await?;
        }
        Ok(())
    }

    async fn labelled(
        &self,
        pattern: &DynamicObject,
        labels: &str,
    ) -> Result<Vec<DynamicObject>, Failure> {
        let (api, _) = objects::api_for(&self.cluster.client(), pattern, &self.namespace).await?;
        let list = api.list(&ListParams::default().labels(labels)).await?;
        Ok(list
            .into_iter()
            .map(|mut object| {
                object.types.clone_from(&pattern.types);
                object
            })
            .collect())
    }

    async fn delete_one(
        &mut self,
        target: &DynamicObject,
        delete: &Delete,
        limit: Duration,
    ) -> Result<(), Failure> {
        let what = objects::describe(target);
        let client = self.cluster.client();
        let (api, resource) = objects::api_for(&client, target, &self.namespace).await?;
        let policy = delete.deletion_propagation_policy.as_ref();
        let policy = policy.or(self.limits.propagation.as_ref());
        let propagation_policy = match policy.map(String::as_str) {
            None => None,
            Some("Background") => Some(PropagationPolicy::Background),
            Some("Foreground") => Some(PropagationPolicy::Foreground),
            Some("Orphan") => Some(PropagationPolicy::Orphan),
            Some(other) => return Err(format!("there is no deletion policy {other:?}").into()),
        };
        let parameters = DeleteParams {
            propagation_policy,
            ..DeleteParams::default()
        };
        let name = target.name_any();
        let error = match api.delete(&name, &parameters).await {
            Ok(_) => None,
            Err(kube::Error::Api(status)) if status.code == 404 && delete.expect.is_empty() => None,
            Err(error) => Some(Answer::of_api(&error)),
        };
        let refused = error.is_some();
        let target_value = serde_json::to_value(target)?;
        self.judge(&delete.expect, &what, &target_value, error)
            .await?;
        if refused || delete.wait == Some(false) {
            return Ok(());
        }
        let gone = wait::until_dynamic(&api, &resource, &name, conditions::absent(), limit);
        if gone.await.is_ok() {
            return Ok(());
        }
        let now = objects::get(&client, target, &self.namespace).await?;
        let finalizers = now
            .and_then(|now| now.metadata.finalizers)
            .unwrap_or_default();
        Err(format!(
            "{what} is still there {limit:?} after it was deleted; it waits for [{}]",
            finalizers.join(", ")
        )
        .into())
    }
}

/// Why a write had no success.
struct Answer {
    /// What the API said, alone: this is `$error`.
    message: String,
    /// The same with what was tried.
    chain: String,
}

impl Answer {
    fn new(error: &ObjectError) -> Self {
        let of_api = match error {
            ObjectError::Refused { source, .. } => Self::of_api(source).message,
            other => chain(other),
        };
        Self {
            message: of_api,
            chain: chain(error),
        }
    }

    fn of_api(error: &kube::Error) -> Self {
        let chain = chain(error);
        let message = match error {
            kube::Error::Api(status) => status.message.clone(),
            _ => chain.clone(),
        };
        Self { message, chain }
    }
}

/// Trouble that may pass by itself: a kind whose CRD was applied just now, a server that is busy.
fn passes(error: &ObjectError) -> bool {
    match error {
        ObjectError::NoMatch { .. } => true,
        ObjectError::Refused { source, .. } => match &**source {
            kube::Error::Api(status) => status.code == 429 || status.code >= 500,
            kube::Error::HyperError(_) | kube::Error::Service(_) => true,
            _ => false,
        },
        ObjectError::Parse { .. } | ObjectError::NoKind { .. } => false,
    }
}
