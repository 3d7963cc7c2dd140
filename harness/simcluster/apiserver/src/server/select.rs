//! Which objects of a collection a list or a watch is about.

use serde_json::Value;
use simcluster_machinery::{
    selector::{FieldSelector, LabelSelector},
    status::Status,
};

use super::{Failure, call::Call, registry::Resource};
use crate::store::Object;

/// Label and field selectors of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// From a request's query; a name in the path selects too.
    pub(crate) fn of(call: &Call) -> Result<Self, Failure> {
        let bad = |why: String| Box::new(Status::bad_request(why));
        let labels = LabelSelector::parse(call.query.get("labelSelector"))
            .map_err(|error| bad(error.to_string()))?;
        let mut fields = FieldSelector::parse(call.query.get("fieldSelector"))
            .map_err(|error| bad(error.to_string()))?;
        for term in &mut fields.terms {
            term.field = known(&call.resource, &term.field).map_err(bad)?;
        }
        Ok(Self { labels, fields })
    }

    /// Whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Refuses a selection of other objects than the one that the path names, if it names one.
    pub(crate) fn agrees_with(&self, name: &str) -> Result<(), Failure> {
        if name.is_empty() || self.fields.is_empty() || self.name() == Some(name) {
            return Ok(());
        }
        let why = "fieldSelector metadata.name doesn't match requested name";
        Err(Box::new(Status::bad_request(why)))
    }

    /// The one name that is selected, if there is only one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// Whether the object (in the version of `resource`) is selected.
    pub(crate) fn matches(&self, resource: &Resource, object: &Object) -> bool {
        self.labels.matches_object(object.value())
            && (self.fields.is_empty()
                || self.fields.matches(|field| value(resource, object, field)))
    }
}

/// The canonical name of a field that may be selected by, or the refusal.
fn known(resource: &Resource, field: &str) -> Result<String, String> {
    if matches!(field, "metadata.name") || (field == "metadata.namespace" && resource.namespaced) {
        return Ok(field.to_owned());
    }
    if let Some(version) = &resource.custom {
        return if version.selects_by(field) {
            Ok(field.to_owned())
        } else {
            Err(format!("field label not supported: {field}"))
        };
    }
    let rules = resource.rules();
    let canonical = rules.selectable_alias(field);
    let offered = rules.selectable_fields(&Value::Null);
    if offered.iter().any(|(own, _)| *own == canonical) {
        Ok(canonical.to_owned())
    } else {
        Err(rules.unknown_field_message(field))
    }
}

fn value(resource: &Resource, object: &Object, field: &str) -> Option<String> {
    let metadata = &object.value()["metadata"];
    match field {
        "metadata.name" => metadata["name"].as_str().map(str::to_owned),
        "metadata.namespace" => metadata["namespace"].as_str().map(str::to_owned),
        _ => match &resource.custom {
            Some(version) => version.field(object.value(), field),
            None => object
                .selectable(|value| resource.rules().selectable_fields(value))
                .iter()
                .find(|(own, _)| *own == field)
                .map(|(_, value)| value.clone()),
        },
    }
}
