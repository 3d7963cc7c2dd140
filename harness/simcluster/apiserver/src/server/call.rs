//! One request for a resource, with everything that its verb needs.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use hyper::upgrade::OnUpgrade;
use serde_json::Value;
use simcluster_machinery::{field, kind::GroupResource, status::Status};

use super::{
    Failure, Inner, identity::Identity, query::Query, registry::Resource, route::ResourceRoute,
};

/// See the module's documentation.
pub(crate) struct Call {
    pub(crate) server: Arc<Inner>,
    pub(crate) identity: Identity,
    pub(crate) method: Method,
    /// The path and the query as they were written.
    pub(crate) uri: Uri,
    pub(crate) route: ResourceRoute,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) resource: Arc<Resource>,
    /// Present when the client asked for another protocol.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// What the client is told beside the answer.
    pub(crate) warnings: Vec<String>,
}

impl Call {
    /// The resource by the name that errors use.
    pub(crate) fn resource_name(&self) -> &GroupResource {
        &self.resource.name
    }

    /// The header's text, empty if absent.
    pub(crate) fn header(&self, name: http::header::HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// 404 for the object of this call.
    pub(crate) fn not_found(&self) -> Failure {
        Box::new(Status::not_found(self.resource_name(), &self.route.name))
    }

    /// 422 for an object of this call's kind, unless nothing is wrong.
    pub(crate) fn refuse_invalid(
        &self,
        object: &Value,
        errors: &[field::Error],
    ) -> Result<(), Failure> {
        if errors.is_empty() {
            return Ok(());
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut kind = self.resource.kind.clone();
        if kind.group == "events.k8s.io" {
            // Both event APIs are one kind inside the server.
            kind.group.clear();
        }
        Err(Box::new(Status::invalid(
            &kind.group,
            &kind.kind,
            name,
            errors,
        )))
    }

    /// Takes out owner references that are given twice, and warns of them.
    pub(crate) fn dedup_owner_references(&mut self, object: &mut Value, after_admission: bool) {
        let warning = simcluster_kinds::dedup_owner_references(object, after_admission);
        self.warnings.extend(warning);
    }

    /// Who the client says it is when it owns fields: `fieldManager`, else its program's name.
    pub(crate) fn field_manager(&self) -> String {
        let given = self.query.get("fieldManager");
        if !given.is_empty() {
            return given.to_owned();
        }
        let agent = self.header(http::header::USER_AGENT);
        let program = agent.split('/').next().unwrap_or_default();
        let printable: String = program.chars().filter(|c| !c.is_control()).collect();
        printable.chars().take(128).collect()
    }
}
