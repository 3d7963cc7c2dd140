//! A second operator, small and nothing like the first, with its test: a `Greeting` becomes a ConfigMap.
//!
//! `cargo run -p harness --example second_operator` runs the test that `docs/guide` speaks of, on a
//! simulated cluster, and then from a scenario in YAML.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use harness::{
    Failure, conditions,
    operator::Task,
    prove,
    scenario::{self, NoOperator, Silent},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, CustomResource, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{Controller, controller::Action, watcher},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: greetings.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Greeting, plural: greetings, singular: greeting}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [name], properties: {name: {type: string}}}
";

const GREETING: &str =
    "{apiVersion: example.org/v1, kind: Greeting, metadata: {name: hello}, spec: {name: world}}";

const SCENARIO: &str = "
apiVersion: chainsaw.kyverno.io/v1alpha1
kind: Test
metadata: {name: greeting}
spec:
  steps:
  - name: greet
    try:
    - apply:
        resource: {apiVersion: example.org/v1, kind: Greeting, metadata: {name: yaml}, spec: {name: YAML}}
    - assert:
        resource:
          apiVersion: v1
          kind: ConfigMap
          metadata:
            name: yaml
            (ownerReferences[?kind == 'Greeting'].name): [yaml]
          data:
            (starts_with(text, 'hello')): true
  - name: collect
    try:
    - delete:
        ref: {apiVersion: example.org/v1, kind: Greeting, name: yaml}
    - error:
        resource: {apiVersion: v1, kind: ConfigMap, metadata: {name: yaml}}
";

/// What the user writes.
#[derive(CustomResource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[kube(group = "example.org", version = "v1", kind = "Greeting", namespaced)]
struct GreetingSpec {
    /// Who is greeted.
    name: String,
}

/// The operator: a function of a client, and a token that ends it.
async fn run(client: Client, stop: CancellationToken) -> Result<(), Failure> {
    let greetings = Api::<Greeting>::all(client.clone());
    let maps = Api::<ConfigMap>::all(client.clone());
    let reconciled = Controller::new(greetings, watcher::Config::default())
        .owns(maps, watcher::Config::default())
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_secs(1)),
            Arc::new(client),
        );
    reconciled.for_each(|_| std::future::ready(())).await;
    Ok(())
}

async fn reconcile(greeting: Arc<Greeting>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let namespace = greeting.namespace().unwrap_or_default();
    let map = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": greeting.name_any(), "ownerReferences": [greeting.controller_owner_ref(&())]},
        "data": {"text": format!("hello, {}", greeting.spec.name)},
    });
    Api::<ConfigMap>::namespaced((*client).clone(), &namespace)
        .patch(
            &greeting.name_any(),
            &PatchParams::apply("greeter").force(),
            &Patch::Apply(&map),
        )
        .await?;
    Ok(Action::await_change())
}

fn main() {
    prove(async |cluster| {
        cluster.apply(CRD).await?;
        let client = cluster.client_of("operator");
        let operator = Task::start(async move |stop| run(client, stop).await);
        cluster.apply(GREETING).await?;
        let maps = cluster.namespaced::<ConfigMap>();
        cluster.wait(&maps, "hello", conditions::exists()).await?;

        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("scenario.yaml"), SCENARIO)?;
        for loaded in scenario::load(folder.path())? {
            let run = scenario::run(&loaded, cluster, &mut NoOperator, &mut Silent).await;
            run.into_result()?;
        }
        operator.stop().await
    });
}
