//! Makes and deletes the pods of a workload, and says so in Events on it.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::{
    events::Recorder,
    objects::{Kind, Objects, WriteError},
};

/// So many requests of one workload are under way at a time.
const PARALLEL: usize = 32;

/// Writes pods in the name of one controller.
#[derive(Clone)]
pub(crate) struct PodControl {
    pub(crate) pods: Objects<Pod>,
    pub(crate) recorder: Recorder,
}

impl PodControl {
    /// Makes one pod.
    pub(crate) async fn create<O: Kind>(&self, owner: &O, pod: &Pod) -> Result<Pod, WriteError> {
        match self.pods.create(pod).await {
            Ok(made) => {
                let text = format!("Created pod: {}", made.name_any());
                self.recorder.normal(owner, "SuccessfulCreate", text);
                Ok(made)
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let text = format!("Error creating: {}", error.message());
                    self.recorder.warning(owner, "FailedCreate", text);
                }
                Err(error)
            }
        }
    }

    /// Makes these pods in batches of 1, 2, 4, …: a refusal that would meet all of them is met by few.
    pub(crate) async fn create_all<O: Kind>(
        &self,
        owner: &O,
        pods: Vec<Pod>,
    ) -> (i32, Option<WriteError>) {
        let (mut made, mut batch, mut left) = (0, 1, pods);
        while !left.is_empty() {
            let rest = left.split_off(batch.min(left.len()));
            let answers = join_all(left.iter().map(|pod| self.create(owner, pod))).await;
            for answer in answers {
                match answer {
                    Ok(_) => made += 1,
                    Err(error) => return (made, Some(error)),
                }
            }
            (left, batch) = (rest, (batch * 2).min(PARALLEL));
        }
        (made, None)
    }

    /// Deletes one pod.
    pub(crate) async fn delete<O: Kind>(&self, owner: &O, pod: &Pod) -> Result<(), WriteError> {
        let name = pod.name_any();
        match self.pods.delete(pod, None).await {
            Ok(()) => {
                self.recorder
                    .normal(owner, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(error) => {
                let text = format!("Error deleting: {}", error.message());
                self.recorder.warning(owner, "FailedDelete", text);
                Err(error)
            }
        }
    }

    /// Deletes these pods; the first failure is returned after all were tried.
    pub(crate) async fn delete_all<O: Kind>(
        &self,
        owner: &O,
        pods: &[Arc<Pod>],
    ) -> Result<(), WriteError> {
        let mut first = Ok(());
        for some in pods.chunks(PARALLEL) {
            for answer in join_all(some.iter().map(|pod| self.delete(owner, pod))).await {
                first = first.and(answer);
            }
        }
        first
    }
}
