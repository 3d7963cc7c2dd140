//! events, podLogs, get, describe: what somebody would look at after a failure, put into the report.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, LogParams},
    core::{ObjectMeta, TypeMeta},
};

use super::Engine;
use crate::{Failure, evidence, objects, scenario::model::Look};

/// chainsaw's own number of lines.
const TAIL: i64 = 10;

impl Engine<'_, '_> {
    pub(super) async fn events(&mut self, look: &Look) -> Result<(), Failure> {
        let namespace = self.namespace_of(look)?;
        let api: Api<Event> = Api::namespaced(self.cluster.client(), &namespace);
        let name = look
            .name
            .as_deref()
            .map(|name| self.text(name))
            .transpose()?;
        let list = api.list(&ListParams::default()).await?;
        let lines: Vec<String> = list
            .iter()
            .filter(|event| name.is_none() || event.involved_object.name == name)
            .map(evidence::event_line)
            .collect();
        self.output = Some(lines.concat());
        Ok(())
    }

    pub(super) async fn pod_logs(&mut self, look: &Look) -> Result<(), Failure> {
        let namespace = self.namespace_of(look)?;
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), &namespace);
        let mut text = String::new();
        for pod in api.list(&self.list_parameters(look)?).await? {
            for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
                if look
                    .container
                    .as_ref()
                    .is_some_and(|name| *name != container.name)
                {
                    continue;
                }
                let tail = look.tail.unwrap_or(TAIL);
                let parameters = LogParams {
                    container: Some(container.name.clone()),
                    tail_lines: (tail >= 0).then_some(tail),
                    ..LogParams::default()
                };
                let log = api.logs(&pod.name_any(), &parameters).await;
                let log = log.unwrap_or_else(|error| format!("(no log: {error})\n"));
                text.extend(["[", &pod.name_any(), " ", &container.name, "]\n", &log]);
            }
        }
        self.output = Some(text);
        Ok(())
    }

    pub(super) async fn get(&mut self, look: &Look) -> Result<(), Failure> {
        let mut text = String::new();
        let pattern = DynamicObject {
            types: Some(TypeMeta {
                api_version: look.api_version.clone().unwrap_or_else(|| "v1".to_owned()),
                kind: look.kind.clone().ok_or("`kind` says what to show")?,
            }),
            metadata: ObjectMeta {
                namespace: Some(self.namespace_of(look)?),
                ..ObjectMeta::default()
            },
            data: serde_json::Value::Null,
        };
        let client = self.cluster.client();
        let (api, _) = objects::api_for(&client, &pattern, &self.namespace).await?;
        for object in api.list(&self.list_parameters(look)?).await? {
            let mut value = serde_json::to_value(&object)?;
            evidence::redact(&mut value);
            text.push_str("---\n");
            text.push_str(&serde_yaml::to_string(&value)?);
        }
        self.output = Some(text);
        Ok(())
    }

    pub(super) async fn describe(&mut self, look: &Look) -> Result<(), Failure> {
        self.get(look).await?;
        let objects = self.output.take().unwrap_or_default();
        self.events(look).await?;
        let events = self.output.take().unwrap_or_default();
        self.output = Some(format!("{objects}---\nevents:\n{events}"));
        Ok(())
    }

    fn namespace_of(&self, look: &Look) -> Result<String, Failure> {
        match &look.namespace {
            Some(namespace) => self.text(namespace),
            None => Ok(self.namespace.clone()),
        }
    }

    fn list_parameters(&self, look: &Look) -> Result<ListParams, Failure> {
        let mut parameters = ListParams::default();
        if let Some(selector) = &look.selector {
            parameters = parameters.labels(&self.text(selector)?);
        }
        if let Some(name) = &look.name {
            parameters = parameters.fields(&format!("metadata.name={}", self.text(name)?));
        }
        Ok(parameters)
    }
}
