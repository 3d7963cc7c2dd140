//! apply, create, update, patch, delete; and what the API's answer shall be.

use kube::{
    ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, PropagationPolicy},
};
use serde_json::{Value, json};

use super::Engine;
use crate::{
    Failure, conditions,
    objects::{self, Write},
    proof::chain,
    scenario::{
        assertion::differences,
        model::{Apply, Delete, Expectation},
    },
    wait,
};

impl Engine<'_, '_> {
    pub(super) async fn write(&mut self, apply: &Apply, how: Write) -> Result<(), Failure> {
        let limit = self.limit(apply.timeout.as_ref(), |t| &t.apply, 5)?;
        let template = apply.template.unwrap_or(self.template);
        for resource in self.documents(apply.file.as_ref(), apply.resource.as_ref())? {
            let object = self.object(&resource, template)?;
            let what = objects::describe(&object);
            let writing = self.cluster.write(object.clone(), &self.namespace, how);
            let written = tokio::time::timeout(limit, writing)
                .await
                .map_err(|_| format!("{what}: the API did not answer within {limit:?}"))?;
            let (result, error) = match written {
                Ok(stored) => (serde_json::to_value(&stored)?, None),
                Err(error) => (serde_json::to_value(&object)?, Some(chain(&error))),
            };
            self.judge(&apply.expect, &what, &result, error)?;
            self.keep(&apply.outputs, &result)?;
        }
        Ok(())
    }

    /// Whether an answer is as expected; without a word that fits, success is.
    fn judge(
        &mut self,
        expectations: &[Expectation],
        what: &str,
        result: &Value,
        error: Option<String>,
    ) -> Result<(), Failure> {
        let mut bindings = self.bindings.clone();
        bindings.insert("error".to_owned(), json!(error));
        let mut judged = false;
        for expectation in expectations {
            if let Some(pattern) = &expectation.r#match
                && !differences(pattern, result, &bindings)?.is_empty()
            {
                continue;
            }
            judged = true;
            let found = differences(&expectation.check, result, &bindings)?;
            if !found.is_empty() {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                let answer = error.as_deref().unwrap_or("it was accepted");
                return Err(format!(
                    "{what}: the answer is not as expected:\n  {}\nthe answer: {answer}",
                    found.join("\n  ")
                )
                .into());
            }
        }
        match error {
            Some(error) if !judged => Err(error.into()),
            Some(error) => {
                self.output = Some(format!("refused, as expected: {error}"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) async fn delete(&mut self, delete: &Delete) -> Result<(), Failure> {
        let limit = self.limit(delete.timeout.as_ref(), |t| &t.delete, 15)?;
        let template = delete.template.unwrap_or(self.template);
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
        limit: std::time::Duration,
    ) -> Result<(), Failure> {
        let what = objects::describe(target);
        let client = self.cluster.client();
        let (api, resource) = objects::api_for(&client, target, &self.namespace).await?;
        let propagation_policy = match delete.deletion_propagation_policy.as_deref() {
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
            Err(error) => Some(chain(&error)),
        };
        let refused = error.is_some();
        self.judge(&delete.expect, &what, &serde_json::to_value(target)?, error)?;
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
