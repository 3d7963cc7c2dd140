//! Secrets of the type `kubernetes.io/service-account-token`: filled with a token of the account that they name, and
//! removed with it.
//!
//! The token is asked of the API server, bound to the Secret, for the longest time there is: tokens without an end are
//! not made any more. It does NOT make Secrets, and leaves tokens of pods to the node.

use std::{future::Future, sync::Arc};

use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Secret, ServiceAccount},
    },
};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;

use crate::{
    cache::{Cache, ObjectKey, reflector},
    context::{CONTROLLER_MANAGER, Context},
    objects::{Objects, WriteError},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "tokens-controller";
const OF_THE_TYPE: &str = "type=kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Seconds: as long as the API server lets a token live.
const LONGEST: i64 = 1 << 32;

struct Controller {
    client: kube::Client,
    accounts: Objects<ServiceAccount>,
    secrets: Objects<Secret>,
    root_ca: Option<String>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    // Secrets of other types are nobody's business here.
    let secrets: Arc<Cache<Secret>> = Arc::default();
    let own = queue.clone();
    secrets.on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let accounts = context.objects::<ServiceAccount>();
    let (touched, known) = (queue.clone(), secrets.clone());
    accounts.cache().on_change(move |change| {
        let account = change.object();
        for secret in known.in_namespace(&account.namespace().unwrap_or_default()) {
            if account_of(&secret) == account.metadata.name.as_deref() {
                touched.add(ObjectKey::of(&secret.metadata));
            }
        }
    });
    let client = context.client.clone();
    let reflect = reflector::reflect(
        secrets.clone(),
        reflector::Selected {
            api: Api::all(client.clone()),
            fields: OF_THE_TYPE,
        },
    );
    let controller = Controller {
        secrets: Objects::new(client.clone(), secrets, context.clock, CONTROLLER_MANAGER),
        client,
        accounts,
        root_ca: context.settings.root_ca.clone(),
    };
    let working = async move {
        controller.accounts.cache().synced().await;
        controller.secrets.cache().synced().await;
        work(NAME, queue, 4, controller).await;
    };
    async move {
        tokio::join!(reflect, working);
    }
}

fn account_of(secret: &Secret) -> Option<&str> {
    secret.annotations().get(ACCOUNT_NAME).map(String::as_str)
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(secret) = self.secrets.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let Some(name) = account_of(&secret).filter(|name| !name.is_empty()) else {
            return Ok(Next::OnChange);
        };
        if secret.metadata.deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        // The server is asked: the cache may be late, and a Secret must not go for that.
        let account = self
            .accounts
            .read(&ObjectKey::new(&*key.namespace, name))
            .await?;
        let uid = account.and_then(|account| account.metadata.uid);
        let meant = secret.annotations().get(ACCOUNT_UID);
        match uid {
            Some(uid) if meant.is_none_or(|meant| meant.is_empty() || *meant == uid) => {
                self.fill(&key, &secret, name, &uid).await?;
            }
            // Its account is gone, or another has its name.
            _ => self.secrets.delete(&*secret, None).await?,
        }
        Ok(Next::OnChange)
    }
}

impl Controller {
    async fn fill(
        &self,
        key: &ObjectKey,
        secret: &Secret,
        account: &str,
        uid: &str,
    ) -> Result<(), WriteError> {
        let known = |name: &str| secret.data.as_ref().and_then(|data| data.get(name));
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        let mut data = serde_json::Map::new();
        let mut put = |name: &str, value: ByteString| {
            if known(name) != Some(&value) {
                data.insert(name.to_owned(), json!(value));
            }
        };
        if let Some(root_ca) = &self.root_ca {
            put("ca.crt", text(root_ca));
        }
        put("namespace", text(&key.namespace));
        if known("token").is_none_or(|token| token.0.is_empty()) {
            put("token", text(&self.token(key, secret, account).await?));
        }
        let told = secret.annotations().get(ACCOUNT_UID).map(String::as_str) == Some(uid);
        if data.is_empty() && told {
            return Ok(());
        }
        let patch = json!({
            "metadata": {"uid": secret.metadata.uid, "annotations": {ACCOUNT_UID: uid}},
            "data": data,
        });
        match self.secrets.merge(key, patch).await {
            // It went, or another came under its name.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn token(
        &self,
        key: &ObjectKey,
        secret: &Secret,
        account: &str,
    ) -> Result<String, WriteError> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: None,
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Secret".to_owned()),
                    name: secret.metadata.name.clone(),
                    uid: secret.metadata.uid.clone(),
                }),
                expiration_seconds: Some(LONGEST),
            }),
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &key.namespace);
        let answer = api
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .map_err(|error| {
                let account = ObjectKey::new(&*key.namespace, account);
                WriteError::new(
                    "asking for a token of",
                    "ServiceAccount".into(),
                    account,
                    error,
                )
            })?;
        Ok(answer
            .status
            .and_then(|status| status.token)
            .unwrap_or_default())
    }
}
