//! What expressions ask the cluster: objects, kinds, its version.

use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::{ObjectMeta, TypeMeta},
};
use serde_json::{Value, json};

use super::Engine;
use crate::{
    Failure,
    objects::{self, ObjectError},
    proof::chain,
    scenario::{
        expression::{Bindings, ExpressionError},
        jmespath::{Question, Which},
    },
};

impl Engine<'_, '_> {
    /// Asks the cluster what an expression wants to know; any other error stays one.
    pub(super) async fn learn(
        &self,
        error: ExpressionError,
        seen: &mut Bindings,
    ) -> Result<(), Failure> {
        let Some(question) = error.asks else {
            return Err(error.into());
        };
        let answer = self
            .answer(&question)
            .await
            .map_err(|failure| chain(&*failure));
        seen.learn(*question, answer);
        Ok(())
    }

    async fn answer(&self, question: &Question) -> Result<Value, Failure> {
        match question {
            Question::Get(which) => {
                let api = self.api_of(which).await?;
                let object = api.get(&which.name).await?;
                Ok(serde_json::to_value(typed(object, which))?)
            }
            Question::Exists(which) => {
                let api = self.api_of(which).await?;
                Ok(api.get_opt(&which.name).await?.is_some().into())
            }
            Question::KindExists(which) => match self.api_of(which).await {
                Ok(_) => Ok(true.into()),
                Err(ObjectError::NoMatch { .. }) => Ok(false.into()),
                Err(error) => Err(error.into()),
            },
            Question::List(which) => {
                let api = self.api_of(which).await?;
                let list = api.list(&ListParams::default()).await?;
                let items: Vec<_> = list
                    .items
                    .into_iter()
                    .map(|item| typed(item, which))
                    .collect();
                Ok(json!({
                    "apiVersion": which.api_version,
                    "kind": format!("{}List", which.kind),
                    "metadata": {"resourceVersion": list.metadata.resource_version},
                    "items": items,
                }))
            }
            Question::ServerVersion => {
                let version = self.cluster.client().apiserver_version().await?;
                Ok(serde_json::to_value(version)?)
            }
        }
    }

    /// Of one namespace, or of all if none is named.
    async fn api_of(&self, which: &Which) -> Result<Api<DynamicObject>, ObjectError> {
        let pattern = DynamicObject {
            types: Some(TypeMeta {
                api_version: which.api_version.clone(),
                kind: which.kind.clone(),
            }),
            metadata: ObjectMeta::default(),
            data: Value::Null,
        };
        let client = self.cluster.client();
        let (api, resource) = objects::api_for(&client, &pattern, &which.namespace).await?;
        Ok(if which.namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            api
        })
    }
}

/// A list does not repeat the kind in each of its items.
fn typed(mut object: DynamicObject, which: &Which) -> DynamicObject {
    object.types = Some(TypeMeta {
        api_version: which.api_version.clone(),
        kind: which.kind.clone(),
    });
    object.managed_fields_mut().clear();
    object
}
