//! Nobody is locked out: at any moment a credential of the instance's own Secret opens its server.
//!
//! It is asked whenever that Secret changes and whenever a server becomes ready, as a client from outside
//! would. A server that is not there, or not ready, cannot be asked; then nothing is said.

use std::{collections::BTreeSet, time::Duration};

use harness::sql::{Login, Session};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

const INSTANCE: &str = "otus.homework/instance";
/// Who does not answer within this time is not there.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It opens the server.
    Opens,
    /// The server says that it does not.
    Denied,
    /// The server did not say.
    Unknown,
}

/// Pods of servers that have been seen ready.
#[derive(Clone, Debug, Default)]
pub struct Ready(BTreeSet<String>);

impl Ready {
    /// The pod is ready, and was not when it was last seen.
    pub fn is_new(&mut self, pod: &Pod) -> bool {
        let uid = pod.uid().unwrap_or_default();
        if is_ready(pod) {
            self.0.insert(uid)
        } else {
            self.0.remove(&uid);
            false
        }
    }
}

/// Asks the server of an instance. What was read before may be old news, so a denial counts only if
/// neither the Secret nor the server has changed meanwhile.
pub async fn locked_out(client: &Client, namespace: &str, instance: &str) -> Option<String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let secret = secrets
        .get_opt(&format!("{instance}-auth"))
        .await
        .ok()
        .flatten()?;
    let pod = server(&pods, instance).await?;
    let mut answers = Vec::new();
    for (user, password) in credentials(&secret) {
        let answer = ask(&pods, &pod.name_any(), user, password).await;
        answers.push(answer);
        if answer == Answer::Opens {
            break;
        }
    }
    if !all_denied(&answers) {
        return None;
    }
    let now = secrets.get_opt(&secret.name_any()).await.ok().flatten()?;
    let still = server(&pods, instance).await?;
    (now.resource_version() == secret.resource_version() && still.uid() == pod.uid()).then(|| {
        format!(
            "I5: none of the {} credentials in {namespace}/{} opens the server",
            answers.len(),
            secret.name_any()
        )
    })
}

/// Pure: the server answered, and let nobody in.
fn all_denied(answers: &[Answer]) -> bool {
    !answers.is_empty() && answers.iter().all(|answer| *answer == Answer::Denied)
}

/// Pure: the operator's account, then root with every password that is known.
fn credentials(secret: &Secret) -> Vec<(String, String)> {
    let text = |key: &str| {
        let value = secret.data.as_ref()?.get(key)?;
        String::from_utf8(value.0.clone()).ok()
    };
    let mut all: Vec<_> = text("operator-user")
        .zip(text("operator-password"))
        .into_iter()
        .collect();
    let keys = secret.data.iter().flatten().map(|(key, _)| key);
    let of_root =
        keys.filter(|key| key.starts_with("root-password-") || *key == "bootstrap-password");
    all.extend(of_root.filter_map(|key| Some(("root".to_owned(), text(key)?))));
    all
}

async fn ask(pods: &Api<Pod>, pod: &str, user: String, password: String) -> Answer {
    let login = Login {
        user,
        password,
        database: None,
    };
    let opened = tokio::time::timeout(PATIENCE, Session::open(pods.clone(), pod, &login));
    match opened.await {
        Ok(Ok(session)) => {
            // How it ends does not matter: it was let in.
            drop(session.close().await);
            Answer::Opens
        }
        Ok(Err(error)) if error.is_access_denied() => Answer::Denied,
        Ok(Err(_)) | Err(_) => Answer::Unknown,
    }
}

async fn server(pods: &Api<Pod>, instance: &str) -> Option<Pod> {
    let selector = format!("app={instance},{INSTANCE}={instance}");
    let list = pods.list(&ListParams::default().labels(&selector)).await;
    list.ok()?.into_iter().find(is_ready)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && pod.labels().get("app") == pod.labels().get(INSTANCE)
        && pod.labels().contains_key("app")
        && conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_server_that_denies_everything_has_locked_us_out() {
        use Answer::{Denied, Opens, Unknown};
        assert!(all_denied(&[Denied, Denied]));
        for answers in [
            &[Denied, Opens][..],
            &[Denied, Unknown][..],
            &[Unknown][..],
            &[][..],
        ] {
            assert!(!all_denied(answers), "{answers:?}");
        }
    }

    #[test]
    fn every_credential_of_the_secret_is_tried_the_operators_own_first() {
        let secret: Secret = serde_json::from_value(json!({"data": {
            "bootstrap-password": "Yg==", "operator-password": "bw==", "operator-user": "dQ==",
            "record": "e30=", "root-password-1": "MQ==", "root-password-2": "Mg==",
        }}))
        .expect("a Secret");
        let all = credentials(&secret);
        let all: Vec<_> = all.iter().map(|(u, p)| (u.as_str(), p.as_str())).collect();
        assert_eq!(
            all,
            [("u", "o"), ("root", "b"), ("root", "1"), ("root", "2")]
        );
    }
}
