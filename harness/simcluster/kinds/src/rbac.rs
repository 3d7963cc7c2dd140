//! Role, ClusterRole and their bindings.

mod binding;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::selector::LabelSelector;

pub(crate) use binding::Binding;

use crate::checks::label_selector;
use crate::meta::NameRule;
use crate::read::Read;
use crate::rules::KindRules;
use crate::table::{self, Column, NAME, Row};

/// Role or ClusterRole.
pub(crate) struct Role {
    pub(crate) namespaced: bool,
}

impl KindRules for Role {
    fn validate_create(&self, role: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        for (index, rule) in role.list("rules").iter().enumerate() {
            self.validate_rule(rule, &Path::new("rules").index(index), &mut errors);
        }
        if let Some(aggregation) = role.at("aggregationRule") {
            let path = Path::new("aggregationRule").child("clusterRoleSelectors");
            let selectors = aggregation.list("clusterRoleSelectors");
            if selectors.is_empty() {
                let detail =
                    "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.push(Error::required(&path, detail));
            }
            for (index, selector) in selectors.iter().enumerate() {
                label_selector(Some(selector), &path.index(index), &mut errors);
                if LabelSelector::from_object(Some(selector)).is_err() {
                    let detail = "invalid label selector.";
                    errors.push(Error::invalid(&path.index(index), Value::Null, detail));
                }
            }
        }
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn columns(&self) -> &'static [Column] {
        table::NAME_AND_AGE
    }

    fn row(&self, role: &Value, _now: Timestamp) -> Row {
        Row::new(vec![
            table::name(role),
            json!(role.text("metadata.creationTimestamp")),
        ])
    }
}

impl Role {
    fn validate_rule(&self, rule: &Value, path: &Path, errors: &mut Vec<Error>) {
        if rule.lacks("verbs") {
            let detail = "verbs must contain at least one value";
            errors.push(Error::required(&path.child("verbs"), detail));
        }
        if !rule.lacks("nonResourceURLs") {
            let (place, urls) = (path.child("nonResourceURLs"), &rule["nonResourceURLs"]);
            if self.namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(Error::invalid(&place, urls.clone(), detail));
            }
            if ["apiGroups", "resources", "resourceNames"]
                .iter()
                .any(|field| !rule.lacks(field))
            {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(Error::invalid(&place, urls.clone(), detail));
            }
            return;
        }
        if rule.lacks("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            errors.push(Error::required(&path.child("apiGroups"), detail));
        }
        if rule.lacks("resources") {
            let detail = "resource rules must supply at least one resource";
            errors.push(Error::required(&path.child("resources"), detail));
        }
    }
}

/// The columns of bindings.
pub(crate) const BINDING_COLUMNS: &[Column] = &[
    NAME,
    Column::text("Role"),
    table::AGE,
    Column::wide("Users"),
    Column::wide("Groups"),
    Column::wide("ServiceAccounts"),
];
