//! RoleBinding and ClusterRoleBinding.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use super::BINDING_COLUMNS;
use crate::meta::{NameRule, complain};
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, Column, Row};

const GROUP: &str = "rbac.authorization.k8s.io";

/// RoleBinding or ClusterRoleBinding.
pub(crate) struct Binding {
    pub(crate) namespaced: bool,
}

impl KindRules for Binding {
    fn default(&self, binding: &mut Value) {
        binding.fill("roleRef.apiGroup", GROUP);
        for subject in binding.items("subjects") {
            if matches!(subject.text("kind"), "User" | "Group") {
                subject.fill("apiGroup", GROUP);
            }
        }
    }

    fn validate_create(&self, binding: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("roleRef");
        let group = binding.text("roleRef.apiGroup");
        if group != GROUP {
            errors.push(Error::not_supported(
                &path.child("apiGroup"),
                group,
                &[GROUP],
            ));
        }
        let kinds: &[&str] = if self.namespaced {
            &["Role", "ClusterRole"]
        } else {
            &["ClusterRole"]
        };
        let kind = binding.text("roleRef.kind");
        if !kinds.contains(&kind) {
            errors.push(Error::not_supported(&path.child("kind"), kind, kinds));
        }
        let role = binding.text("roleRef.name");
        if role.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else {
            complain(
                &mut errors,
                &path.child("name"),
                role,
                name::path_segment(role),
            );
        }
        for (index, subject) in binding.list("subjects").iter().enumerate() {
            let path = Path::new("subjects").index(index);
            self.validate_subject(subject, &path, &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        if new.at("roleRef") != old.at("roleRef") {
            let shown = json!({
                "APIGroup": new.text("roleRef.apiGroup"),
                "Kind": new.text("roleRef.kind"),
                "Name": new.text("roleRef.name"),
            });
            errors.push(Error::invalid(
                &Path::new("roleRef"),
                shown,
                "cannot change roleRef",
            ));
        }
        errors
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn columns(&self) -> &'static [Column] {
        BINDING_COLUMNS
    }

    fn row(&self, binding: &Value, now: Timestamp) -> Row {
        let of_kind = |kind: &str| {
            let subjects = binding.list("subjects").iter();
            let names = subjects.filter(|one| one.text("kind") == kind).map(|one| {
                if kind == "ServiceAccount" {
                    format!("{}/{}", one.text("namespace"), one.text("name"))
                } else {
                    one.text("name").to_owned()
                }
            });
            json!(names.collect::<Vec<_>>().join(", "))
        };
        let role = format!(
            "{}/{}",
            binding.text("roleRef.kind"),
            binding.text("roleRef.name")
        );
        Row::new(vec![
            table::name(binding),
            json!(role),
            table::age(binding, now),
            of_kind("User"),
            of_kind("Group"),
            of_kind("ServiceAccount"),
        ])
    }
}

impl Binding {
    fn validate_subject(&self, subject: &Value, path: &Path, errors: &mut Vec<Error>) {
        let own_name = subject.text("name");
        if own_name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        let group = subject.text("apiGroup");
        let expect_group = |expected: &str, errors: &mut Vec<Error>| {
            if group != expected {
                let place = path.child("apiGroup");
                errors.push(Error::not_supported(&place, group, &[expected]));
            }
        };
        match subject.text("kind") {
            "ServiceAccount" => {
                if !own_name.is_empty() {
                    let complaints = name::dns1123_subdomain(own_name);
                    complain(errors, &path.child("name"), own_name, complaints);
                }
                expect_group("", errors);
                // In a namespace, an account without one is of the binding's.
                if !self.namespaced && subject.lacks("namespace") {
                    errors.push(Error::required(&path.child("namespace"), ""));
                }
            }
            "User" | "Group" => expect_group(GROUP, errors),
            other => errors.push(Error::not_supported(
                &path.child("kind"),
                other,
                &["ServiceAccount", "User", "Group"],
            )),
        }
    }
}
