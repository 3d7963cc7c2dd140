//! No password is in a status, event, log, command line or specification of ours.
//!
//! Every text of every object that is seen is kept until the end, because a secret may become known after it
//! leaked. `spec.password` and the annotation that `kubectl apply` makes of it are where the user put them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use harness::Failure;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, LogParams},
};
use mysql_operator::crd::MySQL;
use serde::Serialize;
use serde_json::Value;

/// Shorter ones are words that stand anywhere.
const SHORTEST: usize = 8;

/// Texts that were seen, and secrets that must not be in them.
#[derive(Clone, Debug, Default)]
pub struct Texts(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    secrets: BTreeSet<String>,
    texts: BTreeSet<(String, String)>,
}

impl Texts {
    /// Keeps every text of an object.
    pub fn remember<K: Resource<DynamicType = ()> + Serialize>(&self, object: &K) {
        let place = format!(
            "{} {}",
            K::kind(&()),
            object.meta().name.clone().unwrap_or_default()
        );
        let value = serde_json::to_value(object).unwrap_or_default();
        self.keep(&place, &value);
    }

    /// The same for a resource of ours: its password is a secret, and may stand in its spec.
    pub fn remember_instance(&self, instance: &MySQL) {
        if let Some(password) = &instance.spec.password {
            self.secret(password);
        }
        let place = format!("MySQL {}", instance.name_any());
        let status = serde_json::to_value(&instance.status).unwrap_or_default();
        self.keep(&place, &status);
        for (key, value) in instance.annotations() {
            // Ours to look at; what clients keep of the spec is theirs.
            if key.starts_with("otus.homework/") {
                self.keep(&place, &Value::String(value.clone()));
            }
        }
    }

    /// Learns the passwords of an instance.
    pub fn learn(&self, secret: &Secret) {
        let ours = secret
            .labels()
            .get("app.kubernetes.io/managed-by")
            .is_some_and(|by| by == "mysql-operator");
        for (key, value) in secret.data.iter().flatten() {
            if ours
                && key.contains("password")
                && let Ok(text) = std::str::from_utf8(&value.0)
            {
                self.secret(text);
            }
        }
    }

    /// Keeps the logs of all containers that are still there.
    pub async fn remember_logs(&self, client: &Client) -> Result<(), Failure> {
        let pods = Api::<Pod>::all(client.clone())
            .list(&ListParams::default())
            .await?;
        for pod in pods {
            let api: Api<Pod> =
                Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
            let name = pod.name_any();
            let spec = pod.spec.unwrap_or_default();
            for container in spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten())
            {
                let parameters = LogParams {
                    container: Some(container.name.clone()),
                    ..LogParams::default()
                };
                // One that has not started has no log.
                if let Ok(log) = api.logs(&name, &parameters).await {
                    let place = format!("the log of {name}/{}", container.name);
                    self.keep(&place, &Value::String(log));
                }
            }
        }
        Ok(())
    }

    /// Where which kind of text has a secret in it; the secret itself is not said.
    pub fn leaks(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.texts
            .iter()
            .filter(|(_, text)| {
                seen.secrets
                    .iter()
                    .any(|secret| text.contains(secret.as_str()))
            })
            .map(|(place, _)| format!("I6: a password stands in {place}"))
            .collect()
    }

    fn secret(&self, text: &str) {
        if text.len() >= SHORTEST {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.secrets.insert(text.to_owned());
        }
    }

    fn keep(&self, place: &str, value: &Value) {
        match value {
            Value::String(text) => {
                let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                seen.texts.insert((place.to_owned(), text.clone()));
            }
            Value::Array(items) => items.iter().for_each(|item| self.keep(place, item)),
            Value::Object(fields) => fields.values().for_each(|field| self.keep(place, field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_password_in_an_argument_is_noticed_and_one_in_the_spec_of_the_resource_is_not() {
        let texts = Texts::default();
        let instance: MySQL = serde_json::from_value(json!({
            "metadata": {"name": "db"},
            "spec": {"image": "m", "database": "d", "password": "it's \"long\"", "storage_size": "1Gi"},
        }))
        .expect("a resource");
        texts.remember_instance(&instance);
        assert!(texts.leaks().is_empty());
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "args": ["-pit's \"long\""]}]},
        }))
        .expect("a pod");
        texts.remember(&pod);
        assert_eq!(texts.leaks(), ["I6: a password stands in Pod p"]);
    }
}
