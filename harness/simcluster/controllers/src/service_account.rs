//! What each namespace has from the start: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.
//!
//! Both come back when they are deleted, and the ConfigMap when it is changed. It does NOT make tokens: the API server
//! does, asked by nodes and by `service_account_token`.

use std::{future::Future, sync::Arc};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::{
    cache::{Cache, ObjectKey, reflector},
    context::{CONTROLLER_MANAGER, Context},
    objects::{Objects, WriteError},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "serviceaccount-controller";
const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                           endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                           guaranteed across distributions of Kubernetes clusters.";

struct Controller {
    namespaces: Arc<Cache<Namespace>>,
    accounts: Objects<ServiceAccount>,
    config_maps: Objects<ConfigMap>,
    root_ca: Option<String>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<String>> = Arc::default();
    let namespaces = context.cache::<Namespace>();
    let own = queue.clone();
    namespaces.on_change(move |change| own.add(change.object().name_any()));
    // Only the two names are watched: users may have many other ConfigMaps.
    let accounts: Arc<Cache<ServiceAccount>> = Arc::default();
    let config_maps: Arc<Cache<ConfigMap>> = Arc::default();
    come_back(&accounts, &queue);
    come_back(&config_maps, &queue);
    let client = &context.client;
    let reflect_accounts = reflector::reflect(
        accounts.clone(),
        reflector::Selected {
            api: Api::all(client.clone()),
            fields: "metadata.name=default",
        },
    );
    let reflect_config_maps = reflector::reflect(
        config_maps.clone(),
        reflector::Selected {
            api: Api::all(client.clone()),
            fields: "metadata.name=kube-root-ca.crt",
        },
    );
    let (clock, manager) = (context.clock, CONTROLLER_MANAGER);
    let controller = Controller {
        namespaces,
        accounts: Objects::new(client.clone(), accounts, clock, manager),
        config_maps: Objects::new(client.clone(), config_maps, clock, manager),
        root_ca: context.settings.root_ca.clone(),
    };
    let working = async move {
        controller.namespaces.synced().await;
        controller.accounts.cache().synced().await;
        controller.config_maps.cache().synced().await;
        work(NAME, queue, 16, controller).await;
    };
    async move {
        tokio::join!(reflect_accounts, reflect_config_maps, working);
    }
}

fn come_back<K>(cache: &Arc<Cache<K>>, queue: &Arc<WorkQueue<String>>)
where
    K: Resource + Clone + Send + Sync + 'static,
{
    let queue = queue.clone();
    cache.on_change(move |change| {
        if let Some(namespace) = &change.object().meta().namespace {
            queue.add(namespace.clone());
        }
    });
}

impl Reconcile<String> for Controller {
    async fn reconcile(&self, namespace: String) -> Result<Next, WriteError> {
        let Some(known) = self.namespaces.get("", &namespace) else {
            return Ok(Next::OnChange);
        };
        if known.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        if self.accounts.cache().get(&namespace, ACCOUNT).is_none() {
            let account = ServiceAccount {
                metadata: metadata(&namespace, ACCOUNT),
                ..ServiceAccount::default()
            };
            made(self.accounts.create(&account).await)?;
        }
        if let Some(root_ca) = &self.root_ca {
            self.publish(&namespace, root_ca).await?;
        }
        Ok(Next::OnChange)
    }
}

impl Controller {
    async fn publish(&self, namespace: &str, root_ca: &str) -> Result<(), WriteError> {
        let Some(known) = self.config_maps.cache().get(namespace, ROOT_CA) else {
            let mut metadata = metadata(namespace, ROOT_CA);
            metadata.annotations = Some(
                [(
                    "kubernetes.io/description".to_owned(),
                    DESCRIPTION.to_owned(),
                )]
                .into(),
            );
            let config_map = ConfigMap {
                metadata,
                data: Some([("ca.crt".to_owned(), root_ca.to_owned())].into()),
                ..ConfigMap::default()
            };
            return made(self.config_maps.create(&config_map).await);
        };
        let written = known.data.as_ref().and_then(|data| data.get("ca.crt"));
        if written.map(String::as_str) == Some(root_ca) {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"annotations": {"kubernetes.io/description": DESCRIPTION}},
            "data": {"ca.crt": root_ca},
        });
        self.config_maps
            .merge(&ObjectKey::new(namespace, ROOT_CA), patch)
            .await
            .map(drop)
    }
}

fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

/// That somebody else was faster is as good; a namespace that is gone needs nothing.
fn made<K>(made: Result<K, WriteError>) -> Result<(), WriteError> {
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.is_already_exists() || error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}
