//! events, podLogs, get, describe: what somebody would look at after a failure, put into the report; proxy:
//! what a pod or a service answers.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, LogParams},
    core::{ObjectMeta, TypeMeta},
};

use super::{Engine, values::nothing};
use crate::{
    Failure, evidence, objects,
    scenario::model::{Look, Proxy},
};

/// chainsaw's own number of lines.
const TAIL: i64 = 10;

/// Objects as text, without what is secret.
pub(super) fn shown(objects: &[DynamicObject], format: Option<&String>) -> Result<String, Failure> {
    let mut text = String::new();
    for object in objects {
        let mut value = serde_json::to_value(object)?;
        evidence::redact(&mut value);
        match format.map(String::as_str) {
            Some("json") => text.extend([&*serde_json::to_string_pretty(&value)?, "\n"]),
            None | Some("yaml") => text.extend(["---\n", &serde_yaml::to_string(&value)?]),
            Some(other) => {
                return Err(format!("there is no format {other:?}; write json or yaml").into());
            }
        }
    }
    Ok(text)
}

impl Engine<'_, '_> {
    /// Looks, for so long as it may.
    pub(super) async fn look(
        &mut self,
        look: &Look,
        at: impl AsyncFnOnce(&mut Self, &Look) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let limit = self.limit(look.timeout.as_ref(), |t| &t.exec, 5)?;
        tokio::time::timeout(limit, at(self, look))
            .await
            .map_err(|_| format!("the API did not answer within {limit:?}"))?
    }

    pub(super) async fn events(&mut self, look: &Look) -> Result<(), Failure> {
        let namespace = self.namespace_of(look)?;
        let api: Api<Event> = Api::namespaced(self.cluster.client(), &namespace);
        let name = self.optional_text(look.name.as_ref())?;
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
        let list = api.list(&self.list_parameters(look)?).await?;
        self.output = Some(shown(&list.items, look.format.as_ref())?);
        Ok(())
    }

    pub(super) async fn describe(&mut self, look: &Look) -> Result<(), Failure> {
        self.get(look).await?;
        if look.show_events == Some(false) {
            return Ok(());
        }
        let objects = self.output.take().unwrap_or_default();
        self.events(look).await?;
        let events = self.output.take().unwrap_or_default();
        self.output = Some(format!("{objects}---\nevents:\n{events}"));
        Ok(())
    }

    /// Asks a pod or a service through the API server; `$stdout` is the answer.
    pub(super) async fn proxy(&mut self, proxy: &Proxy) -> Result<(), Failure> {
        let limit = self.limit(proxy.timeout.as_ref(), |t| &t.exec, 5)?;
        let plural = match self.text(&proxy.kind)?.as_str() {
            "Pod" => "pods",
            "Service" => "services",
            other => {
                return Err(format!("a {other} cannot be asked; a Pod or a Service can").into());
            }
        };
        let text = |text: &Option<String>| self.optional_text(text.as_ref());
        let namespace = text(&proxy.namespace)?.unwrap_or_else(|| self.namespace.clone());
        let mut name = self.text(&proxy.name)?;
        if let Some(port) = text(&proxy.port)? {
            name.extend([":", &port]);
        }
        let path = text(&proxy.path)?.unwrap_or_default();
        let path = path.trim_start_matches('/');
        let uri = format!("/api/v1/namespaces/{namespace}/{plural}/{name}/proxy/{path}");
        let request = http::Request::get(uri).body(Vec::new())?;
        let client = self.cluster.client();
        let answer = tokio::time::timeout(limit, client.request_text(request))
            .await
            .map_err(|_| format!("there was no answer within {limit:?}"))??;
        let before = self.bindings.clone();
        self.bindings.insert("stdout", answer.clone().into());
        self.output = Some(answer);
        let kept = self.keep(&proxy.outputs, &nothing()).await;
        self.forget(["stdout"].into_iter(), &before);
        kept
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
