//! Manifests: parse YAML documents, apply them, delete them, as kubectl does.
//!
//! Kinds are resolved through the cluster's discovery at each call, so a CRD applied in one document
//! serves the next. No waiting except for deletion, which [`crate::Cluster`] does.

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective},
    core::{GroupVersionKind, Request},
    discovery::{self, ApiResource, Scope},
};
use serde::Deserialize;

/// The field manager of everything that tests apply.
pub const FIELD_MANAGER: &str = "harness";

/// A manifest that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Not YAML, or not an object.
    #[error("document {document} of the manifest is not a Kubernetes object")]
    Parse {
        /// Counted from 1.
        document: usize,
        /// Where and why.
        #[source]
        source: serde_yaml::Error,
    },
    /// Lacks `apiVersion` or `kind`.
    #[error("document {document} of the manifest has no apiVersion and kind")]
    NoKind {
        /// Counted from 1.
        document: usize,
    },
    /// The cluster does not know the kind.
    #[error("no matches for kind {kind:?} in version {version:?}: is its CRD applied?")]
    NoMatch {
        /// Kind.
        kind: String,
        /// `apiVersion`
        version: String,
        /// What discovery said.
        #[source]
        source: kube::Error,
    },
    /// The API refused.
    #[error("could not {action} {kind} {name}")]
    Refused {
        /// `apply`, `delete`
        action: &'static str,
        /// Kind.
        kind: String,
        /// Name.
        name: String,
        /// The API's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Splits a manifest into its objects; empty documents are skipped.
pub fn parse(manifest: &str) -> Result<Vec<DynamicObject>, ObjectError> {
    let mut objects = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(manifest).enumerate() {
        let document_number = index + 1;
        let parse = |source| ObjectError::Parse {
            document: document_number,
            source,
        };
        let value = serde_yaml::Value::deserialize(document).map_err(parse)?;
        if value.is_null() {
            continue;
        }
        let object: DynamicObject = serde_yaml::from_value(value).map_err(parse)?;
        if object.types.is_none() {
            return Err(ObjectError::NoKind {
                document: document_number,
            });
        }
        objects.push(object);
    }
    Ok(objects)
}

/// The API for an object's kind, in its namespace or else in `namespace`.
pub async fn api_for(
    client: &Client,
    object: &DynamicObject,
    namespace: &str,
) -> Result<(Api<DynamicObject>, ApiResource), ObjectError> {
    let types = object.types.clone().unwrap_or_default();
    let no_match = |source| ObjectError::NoMatch {
        kind: types.kind.clone(),
        version: types.api_version.clone(),
        source,
    };
    let gvk = GroupVersionKind::try_from(&types).map_err(|error| {
        no_match(kube::Error::Discovery(
            kube::error::DiscoveryError::MissingResource(error.to_string()),
        ))
    })?;
    let (resource, capabilities) = discovery::pinned_kind(client, &gvk)
        .await
        .map_err(no_match)?;
    let api = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.namespace().unwrap_or_else(|| namespace.to_owned());
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    Ok((api, resource))
}

/// How an object is written, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writing {
    /// How.
    pub how: Write,
    /// Nothing is stored.
    pub dry_run: bool,
    /// For [`Write::Merge`]: the part that it is about.
    pub subresource: Option<String>,
}

impl From<Write> for Writing {
    fn from(how: Write) -> Self {
        Self {
            how,
            dry_run: false,
            subresource: None,
        }
    }
}

/// How an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// By server-side apply.
    Apply,
    /// Anew.
    Create,
    /// In place of the version that is there.
    Replace,
    /// Merged into what is there.
    Merge,
    /// Anew, or merged into what is there, as chainsaw and kuttl apply.
    CreateOrMerge,
}

impl Write {
    fn verb(self) -> &'static str {
        match self {
            Self::Apply | Self::CreateOrMerge => "apply",
            Self::Create => "create",
            Self::Replace => "update",
            Self::Merge => "patch",
        }
    }
}

/// Writes one object; gives what the cluster stored.
pub async fn write(
    client: &Client,
    object: &DynamicObject,
    namespace: &str,
    writing: impl Into<Writing>,
) -> Result<DynamicObject, ObjectError> {
    let writing = writing.into();
    let (api, resource) = api_for(client, object, namespace).await?;
    let name = object.name_any();
    let written = match writing.how {
        Write::Apply => {
            let mut parameters = patch_parameters(&writing);
            parameters.field_manager = Some(FIELD_MANAGER.to_owned());
            parameters.force = true;
            api.patch(&name, &parameters, &Patch::Apply(object)).await
        }
        Write::Create => create(client, &api, object, &writing).await,
        Write::Merge => merge(&api, &name, object, &writing).await,
        Write::CreateOrMerge => match api.get_opt(&name).await {
            Ok(Some(_)) => merge(&api, &name, object, &writing).await,
            Ok(None) => create(client, &api, object, &writing).await,
            Err(error) => Err(error),
        },
        Write::Replace => replace(client, &api, &name, object, &writing).await,
    };
    written.map_err(|source| ObjectError::Refused {
        action: writing.how.verb(),
        kind: resource.kind.clone(),
        name,
        source: Box::new(source),
    })
}

/// As kubectl does: a field that the schema does not know is an error, not silently dropped.
fn patch_parameters(writing: &Writing) -> PatchParams {
    PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        dry_run: writing.dry_run,
        ..PatchParams::default()
    }
}

fn post_parameters(writing: &Writing) -> PostParams {
    PostParams {
        dry_run: writing.dry_run,
        ..PostParams::default()
    }
}

async fn create(
    client: &Client,
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    writing: &Writing,
) -> kube::Result<DynamicObject> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(api.resource_url()).create(&post_parameters(writing), body);
    strictly(client, request).await
}

/// Sends a request that is strict about fields, which the parameters of creations cannot ask for.
async fn strictly(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> kube::Result<DynamicObject> {
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    let uri = request.uri();
    let sign = if uri.query().is_some_and(|query| !query.is_empty()) {
        "&"
    } else {
        "?"
    };
    let uri = format!(
        "{}{sign}fieldValidation=Strict",
        uri.to_string().trim_end_matches('?')
    );
    *request.uri_mut() = uri
        .parse()
        .map_err(|error: http::uri::InvalidUri| kube::Error::HttpError(error.into()))?;
    client.request(request).await
}

async fn merge(
    api: &Api<DynamicObject>,
    name: &str,
    object: &DynamicObject,
    writing: &Writing,
) -> kube::Result<DynamicObject> {
    let (parameters, patch) = (patch_parameters(writing), Patch::Merge(object));
    match &writing.subresource {
        Some(part) => api.patch_subresource(part, name, &parameters, &patch).await,
        None => api.patch(name, &parameters, &patch).await,
    }
}

async fn replace(
    client: &Client,
    api: &Api<DynamicObject>,
    name: &str,
    object: &DynamicObject,
    writing: &Writing,
) -> kube::Result<DynamicObject> {
    let mut object = object.clone();
    if object.metadata.resource_version.is_none() {
        object.metadata.resource_version = api.get(name).await?.metadata.resource_version;
    }
    let body = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(api.resource_url()).replace(name, &post_parameters(writing), body);
    strictly(client, request).await
}

/// Applies one object by server-side apply; gives what the cluster stored.
pub async fn apply(
    client: &Client,
    object: &DynamicObject,
    namespace: &str,
) -> Result<DynamicObject, ObjectError> {
    write(client, object, namespace, Write::Apply).await
}

/// `Kind name`, for messages.
pub fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| &types.kind);
    format!("{kind} {}", object.name_any())
}

/// The object as the cluster has it; `None` if it, or its kind, is not there.
pub async fn get(
    client: &Client,
    object: &DynamicObject,
    namespace: &str,
) -> Result<Option<DynamicObject>, ObjectError> {
    let (api, resource) = match api_for(client, object, namespace).await {
        Ok(found) => found,
        Err(ObjectError::NoMatch { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = object.name_any();
    api.get_opt(&name)
        .await
        .map_err(|source| ObjectError::Refused {
            action: "get",
            kind: resource.kind,
            name,
            source: Box::new(source),
        })
}

/// Asks for one object's deletion; an object that is not there is no error. Does not wait.
pub async fn delete(
    client: &Client,
    object: &DynamicObject,
    namespace: &str,
) -> Result<(), ObjectError> {
    let (api, resource) = api_for(client, object, namespace).await?;
    let name = object.name_any();
    match api.delete(&name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(ObjectError::Refused {
            action: "delete",
            kind: resource.kind,
            name,
            source: Box::new(source),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_documents_are_skipped() {
        let objects = parse("---\n---\n{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n");
        assert_eq!(objects.expect("one object").len(), 1);
    }

    #[test]
    fn a_document_without_a_kind_is_named_by_its_number() {
        let error = parse("{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\na: b\n");
        assert!(
            matches!(error, Err(ObjectError::NoKind { document: 2 })),
            "{error:?}"
        );
    }
}
