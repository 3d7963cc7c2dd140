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
//!
//! Secrets are hidden in all of them, wherever they turn up, logs included: the data of Secrets and every
//! value whose key speaks of a password, of any version that an object had (see `secrets`).

mod secrets;

use std::{
    fmt::{self, Write as _},
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

pub use secrets::Secrets;
pub(crate) use secrets::redact;

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

/// Where the evidence of a test goes: below what `HARNESS_EVIDENCE` names, else below cargo's target directory.
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
    std::env::var_os("HARNESS_EVIDENCE")
        .map_or_else(|| target_directory().join("harness"), PathBuf::from)
        .join(name)
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

/// What a failed run was.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Why it failed.
    pub failure: &'a str,
    /// The line that runs it again.
    pub reproduce: &'a str,
    /// The run of a scenario file, if it was one.
    pub run: Option<&'a Run>,
    /// The log of this process.
    pub log: Option<&'a RunLog>,
}

/// What became of the evidence; as text, where it is or why it is not there.
#[derive(Debug)]
pub struct Kept {
    /// The secrets of the cluster, for other reports of the same run.
    pub secrets: Secrets,
    place: PathBuf,
    problem: Option<io::Error>,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.display();
        match &self.problem {
            None => write!(f, "evidence: {place}"),
            Some(problem) => write!(
                f,
                "the evidence in {place} is not complete: {problem}; HARNESS_EVIDENCE names another place for it"
            ),
        }
    }
}

/// Writes what can be learnt from the cluster; what cannot be had is said in the file itself.
///
/// A disk that is full or read-only is no reason to forget why the run failed, so it is told beside that.
pub async fn collect(cluster: &Cluster, case: Case<'_>, to: &Path) -> Kept {
    let client = &cluster.client();
    let mut secrets = Secrets::default();
    let mut files: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, text: String| files.push((name.to_owned(), text));
    let Case {
        failure, reproduce, ..
    } = case;
    add(
        "failure.txt",
        format!("{failure}\n\nreproduce: {reproduce}\n"),
    );
    add("objects.yaml", objects(client, &mut secrets).await);
    add("events.txt", events(client).await);
    let requests: Vec<String> = cluster
        .journal()
        .entries()
        .iter()
        .map(|entry| format!("{entry}\n"))
        .collect();
    add("requests.txt", requests.concat());
    for (name, text) in cluster.backend().logs().await {
        add(&format!("logs/{name}"), text);
    }
    for (name, text) in logs(client).await {
        add(&format!("logs/{name}"), text);
    }
    let timeline = Timeline::of(cluster).await;
    secrets.add_all(&timeline.versions);
    let history: Vec<String> = timeline
        .versions
        .iter()
        .map(|version| format!("{version}\n"))
        .collect();
    add("history.txt", history.concat());
    if let Some(run) = case.run {
        let json = serde_json::to_string_pretty(run);
        add("run.json", json.unwrap_or_else(|error| error.to_string()));
        let mut run = run.clone();
        run.reproduce = Some(reproduce.to_owned());
        add("page.html", report::html(&[(run, timeline)]));
    }
    if let Some(log) = case.log {
        add("run.log", log.text());
    }
    let problem = write(to, &files, &secrets).err();
    Kept {
        secrets,
        place: to.to_owned(),
        problem,
    }
}

/// In the place of what an earlier run left.
fn write(to: &Path, files: &[(String, String)], secrets: &Secrets) -> io::Result<()> {
    let failed = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(to, error)),
        _ => {}
    }
    let logs = to.join("logs");
    fs::create_dir_all(&logs).map_err(|error| failed(&logs, error))?;
    for (name, text) in files {
        let path = to.join(name);
        fs::write(&path, secrets.hide(text)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

async fn objects(client: &Client, secrets: &mut Secrets) -> String {
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
                        secrets.add(&value);
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

async fn logs(client: &Client) -> Vec<(String, String)> {
    let pods: Api<Pod> = Api::all(client.clone());
    let pods = match pods.list(&ListParams::default()).await {
        Ok(pods) => pods,
        Err(error) => return vec![("failed.txt".to_owned(), error.to_string())],
    };
    let mut found = Vec::new();
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
            found.push((format!("{namespace}_{name}_{}.log", container.name), text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_that_cannot_be_written_is_told_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        let to = file.join("red");
        let files = [("failure.txt".to_owned(), "why".to_owned())];
        let kept = Kept {
            secrets: Secrets::default(),
            place: to.clone(),
            problem: write(&to, &files, &Secrets::default()).err(),
        };
        let told = kept.to_string();
        assert!(told.contains("is not complete"), "{told}");
        assert!(told.contains("HARNESS_EVIDENCE"), "{told}");
    }

    #[test]
    fn evidence_replaces_that_of_an_earlier_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().join("red");
        fs::create_dir(&to).expect("a folder");
        fs::write(to.join("old.txt"), "old").expect("a file");
        let files = [("failure.txt".to_owned(), "why".to_owned())];
        write(&to, &files, &Secrets::default()).expect("it can be written");
        assert!(!to.join("old.txt").exists());
        let told = fs::read_to_string(to.join("failure.txt")).expect("a file");
        assert_eq!(told, "why");
    }
}
