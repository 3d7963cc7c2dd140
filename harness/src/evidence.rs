//! What a failed run leaves behind, without being asked, in `target/harness/<test>/`:
//!
//! | file | what |
//! |---|---|
//! | `failure.txt` | what was expected, what was last seen, and the line that runs it again |
//! | `objects.yaml` | all objects at that moment |
//! | `history.txt` | every version of them: when, by whom, what changed |
//! | `events.txt`, `requests.txt` | Events; the requests of the operator under test |
//! | `logs/` | pods, and the cluster itself where it is a container |
//! | `run.log` | the log of this process, the operator's as a task included |
//! | `page.html`, `run.json` | of scenario files: the run over time, as a picture and as data |
//! Secrets are redacted: the data of Secrets
//! and every value whose key speaks of a password.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, Discovery, ResourceExt,
    api::{DynamicObject, ListParams, LogParams},
    discovery::{Scope, verbs},
};
use serde_json::Value;

use crate::{
    Cluster,
    report::{self, Timeline},
    scenario::Run,
};

/// The log of one run, kept in memory until somebody needs it.
#[derive(Clone, Debug, Default)]
pub struct RunLog(Arc<Mutex<Vec<u8>>>);

/// What is kept of a run's log; the oldest half goes when it is full.
const RUN_LOG_LIMIT: usize = 8 << 20;

impl RunLog {
    /// What was logged so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for RunLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() + bytes.len() > RUN_LOG_LIMIT {
            log.drain(..RUN_LOG_LIMIT / 2);
        }
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the evidence of a test goes: below cargo's target directory.
pub fn directory(test: &str) -> PathBuf {
    let name: String = test
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    target_directory().join("harness").join(name)
}

/// The target directory of the running test binary (`target/<profile>/deps/<binary>`).
pub(crate) fn target_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("CARGO_TARGET_DIR") {
        return directory.into();
    }
    let executable = std::env::current_exe().unwrap_or_default();
    executable
        .ancestors()
        .find(|ancestor| ancestor.join("CACHEDIR.TAG").exists())
        .map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}

/// Writes what can be learnt from the cluster; what cannot be had is said in the file itself.
pub async fn collect(
    cluster: &Cluster,
    log: &RunLog,
    failure: &str,
    reproduce: &str,
    to: &Path,
) -> io::Result<()> {
    of_run(cluster, failure, reproduce, None, to).await?;
    fs::write(to.join("run.log"), log.text())
}

/// As [`collect`], for the run of a scenario file: with its page and its record.
pub async fn of_run(
    cluster: &Cluster,
    failure: &str,
    reproduce: &str,
    run: Option<&Run>,
    to: &Path,
) -> io::Result<()> {
    let client = &cluster.client();
    drop(fs::remove_dir_all(to));
    fs::create_dir_all(to.join("logs"))?;
    let failure_text = format!("{failure}\n\nreproduce: {reproduce}\n");
    fs::write(to.join("failure.txt"), failure_text)?;
    fs::write(to.join("objects.yaml"), objects(client).await)?;
    fs::write(to.join("events.txt"), events(client).await)?;
    let requests: Vec<String> = cluster
        .journal()
        .entries()
        .iter()
        .map(|entry| format!("{entry}\n"))
        .collect();
    fs::write(to.join("requests.txt"), requests.concat())?;
    for (name, text) in cluster.backend().logs().await {
        fs::write(to.join("logs").join(name), text)?;
    }
    let timeline = Timeline::of(cluster).await;
    let history: Vec<String> = timeline
        .versions
        .iter()
        .map(|version| format!("{version}\n"))
        .collect();
    fs::write(to.join("history.txt"), history.concat())?;
    if let Some(run) = run {
        let text = serde_json::to_string_pretty(run).map_err(io::Error::other)?;
        fs::write(to.join("run.json"), text)?;
        let page = report::html(&[(run.clone(), timeline)]);
        fs::write(to.join("page.html"), page)?;
    }
    logs(client, &to.join("logs")).await
}

async fn objects(client: &Client) -> String {
    let discovery = match Discovery::new(client.clone()).run().await {
        Ok(discovery) => discovery,
        Err(error) => return format!("# discovery failed: {error}\n"),
    };
    let mut text = String::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST) || resource.kind == "Event" {
                continue;
            }
            debug_assert!(matches!(
                capabilities.scope,
                Scope::Cluster | Scope::Namespaced
            ));
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            match api.list(&ListParams::default()).await {
                Ok(list) => {
                    for object in list {
                        let mut value = serde_json::to_value(&object).unwrap_or_default();
                        value["apiVersion"] = Value::from(resource.api_version.clone());
                        value["kind"] = Value::from(resource.kind.clone());
                        redact(&mut value);
                        text.push_str("---\n");
                        text.push_str(&serde_yaml::to_string(&value).unwrap_or_default());
                    }
                }
                Err(error) => {
                    let _ = writeln!(text, "# could not list {}: {error}", resource.plural);
                }
            }
        }
    }
    text
}

/// Replaces what nobody should read in a report.
pub(crate) fn redact(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            // Holds the whole object again, secrets included.
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    let is_secret = object["kind"] == "Secret";
    for part in ["data", "stringData"] {
        if let (true, Some(data)) = (
            is_secret,
            object.get_mut(part).and_then(Value::as_object_mut),
        ) {
            data.values_mut()
                .for_each(|value| *value = Value::from("<redacted>"));
        }
    }
    redact_passwords(object);
}

fn redact_passwords(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if value.is_string() && key.to_lowercase().contains("password") {
                    *value = Value::from("<redacted>");
                } else {
                    redact_passwords(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_passwords),
        _ => {}
    }
}

async fn events(client: &Client) -> String {
    let events: Api<Event> = Api::all(client.clone());
    match events.list(&ListParams::default()).await {
        Ok(list) => list.iter().map(event_line).collect(),
        Err(error) => format!("could not list events: {error}\n"),
    }
}

/// An Event on one line.
pub(crate) fn event_line(event: &Event) -> String {
    let about = &event.involved_object;
    let time = event.metadata.creation_timestamp.as_ref();
    format!(
        "{} {} {}/{} {}: {}\n",
        time.map(|t| t.0.to_string()).unwrap_or_default(),
        event.type_.as_deref().unwrap_or_default(),
        about.kind.as_deref().unwrap_or_default(),
        about.name.as_deref().unwrap_or_default(),
        event.reason.as_deref().unwrap_or_default(),
        event.message.as_deref().unwrap_or_default(),
    )
}

async fn logs(client: &Client, to: &Path) -> io::Result<()> {
    let pods: Api<Pod> = Api::all(client.clone());
    let pods = match pods.list(&ListParams::default()).await {
        Ok(pods) => pods,
        Err(error) => return fs::write(to.join("failed.txt"), error.to_string()),
    };
    for pod in pods {
        let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let spec = pod.spec.unwrap_or_default();
        let containers = spec
            .init_containers
            .into_iter()
            .flatten()
            .chain(spec.containers);
        for container in containers {
            let parameters = LogParams {
                container: Some(container.name.clone()),
                ..LogParams::default()
            };
            let text = match api.logs(&name, &parameters).await {
                Ok(text) => text,
                Err(error) => format!("(no log: {error})\n"),
            };
            fs::write(
                to.join(format!("{namespace}_{name}_{}.log", container.name)),
                text,
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_passwords_are_redacted() {
        let mut object = serde_json::json!({
            "kind": "Secret", "data": {"k": "c2VjcmV0"},
            "spec": {"password": "secret", "list": [{"rootPassword": "secret"}]},
            "metadata": {"annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "secret"}},
        });
        redact(&mut object);
        assert!(!object.to_string().contains("secret"), "{object}");
        assert!(!object.to_string().contains("c2VjcmV0"), "{object}");
    }
}
