//! No password is in a status, event, log, command line or specification of ours.
//!
//! Looked at: every object that is seen, the log of every container when it ends and at the end of the
//! scenario, the operator's own log, and the command lines of operations ([`super::processes`]).
//! Every text is kept until the end, because a secret may become known after it leaked.
//! `spec.password` and the annotation that `kubectl apply` makes of it are where the user put them.

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// Namespace, name, key.
type Place = (String, String, String);

#[derive(Debug, Default)]
struct Seen {
    secrets: BTreeSet<String>,
    texts: BTreeSet<(String, String)>,
    /// Values of people's own Secrets, and which of them resources name as passwords.
    values: BTreeMap<Place, BTreeSet<String>>,
    named: BTreeSet<Place>,
    /// Containers whose last words have been asked for.
    ended: BTreeSet<String>,
}

impl Texts {
    /// Keeps every text of an object.
    pub fn remember<K: Resource<DynamicType = ()> + Serialize>(&self, object: &K) {
        let place = format!(
            "{} {}",
            K::kind(&()),
            object.meta().name.clone().unwrap_or_default()
        );
        let text = serde_json::to_string(object).unwrap_or_default();
        self.remember_text(&place, text);
    }

    /// The same for a resource of ours: its password is a secret, and may stand in its spec.
    pub fn remember_instance(&self, instance: &MySQL) {
        if let Some(password) = &instance.spec.password {
            self.secret(password);
        }
        if let Some(named) = &instance.spec.password_secret_ref {
            let namespace = instance.namespace().unwrap_or_default();
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.named
                .insert((namespace, named.name.clone(), named.key.clone()));
        }
        let place = format!("MySQL {}", instance.name_any());
        let status = serde_json::to_string(&instance.status).unwrap_or_default();
        self.remember_text(&place, status);
        for (key, value) in instance.annotations() {
            // Ours to look at; what clients keep of the spec is theirs.
            if key.starts_with("otus.homework/") {
                self.remember_text(&place, value.clone());
            }
        }
    }

    /// Learns the passwords of an instance.
    pub fn learn(&self, secret: &Secret) {
        let ours = secret
            .labels()
            .get("app.kubernetes.io/managed-by")
            .is_some_and(|by| by == "mysql-operator");
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        for (key, value) in secret.data.iter().flatten() {
            let Ok(text) = std::str::from_utf8(&value.0) else {
                continue;
            };
            if !ours {
                let place = (namespace.clone(), name.clone(), key.clone());
                let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                seen.values
                    .entry(place)
                    .or_default()
                    .insert(text.to_owned());
            } else if key.contains("password") {
                self.secret(text);
            }
        }
    }

    /// Containers of a pod that have ended since it was last seen: their logs may go any time.
    pub fn ended(&self, pod: &Pod) -> Vec<String> {
        let Some(status) = &pod.status else {
            return Vec::new();
        };
        let init = status.init_container_statuses.iter().flatten();
        let all = init.chain(status.container_statuses.iter().flatten());
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.filter(|status| {
            let state = status.state.as_ref();
            state.is_some_and(|state| state.terminated.is_some())
        })
        .filter(|status| {
            let id = format!("{} {}", pod.uid().unwrap_or_default(), status.name);
            seen.ended.insert(id)
        })
        .map(|status| status.name.clone())
        .collect()
    }

    /// Keeps a container's log, if it has one.
    pub async fn remember_log(&self, client: &Client, pod: &Pod, container: &str) {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let parameters = LogParams {
            container: Some(container.to_owned()),
            ..LogParams::default()
        };
        // One that has not started has no log, and the log of one that is gone has gone with it.
        if let Ok(log) = api.logs(&name, &parameters).await {
            self.remember_text(&format!("the log of {name}/{container}"), log);
        }
    }

    /// Keeps the logs of all containers that are still there.
    pub async fn remember_logs(&self, client: &Client) -> Result<(), Failure> {
        let pods = Api::<Pod>::all(client.clone())
            .list(&ListParams::default())
            .await?;
        for pod in pods {
            let spec = pod.spec.clone().unwrap_or_default();
            let init = spec.init_containers.iter().flatten();
            for container in spec.containers.iter().chain(init) {
                self.remember_log(client, &pod, &container.name).await;
            }
        }
        Ok(())
    }

    /// Keeps a text.
    pub fn remember_text(&self, place: &str, text: String) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.texts.insert((place.to_owned(), text));
    }

    /// Where which kind of text has a secret in it; the secret itself is not said.
    pub fn leaks(&self) -> Vec<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_people = seen.named.iter().filter_map(|place| seen.values.get(place));
        let of_people = of_people.flatten().filter(|text| text.len() >= SHORTEST);
        let forms: BTreeSet<String> = seen
            .secrets
            .iter()
            .chain(of_people)
            .flat_map(|text| forms(text))
            .collect();
        seen.texts
            .iter()
            .filter(|(_, text)| forms.iter().any(|form| text.contains(form.as_str())))
            .map(|(place, _)| format!("I6: a password stands in {place}"))
            .collect()
    }

    fn secret(&self, text: &str) {
        if text.len() >= SHORTEST {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.secrets.insert(text.to_owned());
        }
    }
}

/// A secret as it is, and as logs and documents write it, and documents within documents.
fn forms(secret: &str) -> [String; 4] {
    let quoted = |text: &str| {
        let json = Value::String(text.to_owned()).to_string();
        json.trim_matches('"').to_owned()
    };
    [
        secret.to_owned(),
        quoted(secret),
        quoted(&quoted(secret)),
        format!("{secret:?}").trim_matches('"').to_owned(),
    ]
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
        let mut document = Pod::default();
        document.metadata.name = Some("q".to_owned());
        let kept = json!({"args": ["-pit's \"long\""]}).to_string();
        document.metadata.annotations = Some([("kept".to_owned(), kept)].into());
        texts.remember(&document);
        assert_eq!(
            texts.leaks(),
            [
                "I6: a password stands in Pod p",
                "I6: a password stands in Pod q"
            ]
        );
    }

    #[test]
    fn a_password_from_a_secret_of_the_users_is_noticed_in_a_log_however_it_is_written() {
        let texts = Texts::default();
        let instance: MySQL = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "n"},
            "spec": {"image": "m", "database": "d", "storage_size": "1Gi",
                "passwordSecretRef": {"name": "mine", "key": "word"}},
        }))
        .expect("a resource");
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "mine", "namespace": "n"},
            "data": {"word": "dHdvCmxpbmVzIGxvbmc=", "other": "bm90IGEgcGFzc3dvcmQ="},
        }))
        .expect("a Secret");
        texts.learn(&secret);
        texts.remember_instance(&instance);
        texts.remember_text("a log", "not a password".to_owned());
        assert!(texts.leaks().is_empty());
        texts.remember_text("the log", r#"{"password":"two\nlines long"}"#.to_owned());
        assert_eq!(texts.leaks(), ["I6: a password stands in the log"]);
    }

    #[test]
    fn a_containers_last_words_are_asked_for_once() {
        let texts = Texts::default();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u"},
            "status": {"containerStatuses": [
                {"name": "a", "ready": false, "restartCount": 0, "image": "i", "imageID": "i",
                    "state": {"terminated": {"exitCode": 0}}},
                {"name": "b", "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
                    "state": {"running": {}}},
            ]},
        }))
        .expect("a pod");
        assert_eq!(texts.ended(&pod), ["a"]);
        assert!(texts.ended(&pod).is_empty());
    }
}
