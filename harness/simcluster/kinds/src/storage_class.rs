//! StorageClass.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{immutable, one_of, required, required_one_of};
use crate::infrastructure::{allowed_topologies, parameters};
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::node_label;

const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

pub(crate) struct StorageClass;

impl KindRules for StorageClass {
    fn default(&self, class: &mut Value) {
        class.fill("reclaimPolicy", "Delete");
        class.fill("volumeBindingMode", "Immediate");
    }

    fn validate_create(&self, class: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::root();
        required(class, "provisioner", &path, &mut errors);
        let provisioner = class.text("provisioner");
        if !provisioner.is_empty() {
            let complaints = name::qualified_name(&provisioner.to_lowercase());
            complain(
                &mut errors,
                &Path::new("provisioner"),
                provisioner,
                complaints,
            );
        }
        parameters(class, &mut errors);
        one_of(
            class,
            "reclaimPolicy",
            &["Delete", "Retain"],
            &path,
            &mut errors,
        );
        let modes = ["Immediate", "WaitForFirstConsumer"];
        required_one_of(class, "volumeBindingMode", &modes, &path, &mut errors);
        allowed_topologies(class, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let fields = [
            "parameters",
            "provisioner",
            "reclaimPolicy",
            "volumeBindingMode",
        ];
        immutable(new, old, &fields, &Path::root(), &mut errors);
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, term) in new.list("allowedTopologies").iter().enumerate() {
            let path = Path::new("allowedTopologies").index(index);
            for (at, one) in term.list("matchLabelExpressions").iter().enumerate() {
                let key = one.text("key");
                if let Some(why) = node_label(key) {
                    let place = path.child("matchLabelExpressions").index(at).child("key");
                    warnings.push(format!("{place}: {key} is {why}"));
                }
            }
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Provisioner"),
                Column::text("ReclaimPolicy"),
                Column::text("VolumeBindingMode"),
                Column::text("AllowVolumeExpansion"),
                AGE,
            ]
        }
    }

    fn row(&self, class: &Value, now: Timestamp) -> Row {
        let mark = if is_default(class) { " (default)" } else { "" };
        Row::new(vec![
            json!(format!("{}{mark}", class.text("metadata.name"))),
            json!(class.text("provisioner")),
            json!(class.text("reclaimPolicy")),
            json!(class.text("volumeBindingMode")),
            json!(class.flag("allowVolumeExpansion")),
            table::age(class, now),
        ])
    }
}

/// Whether claims without a class get this one.
pub(crate) fn is_default(class: &Value) -> bool {
    let annotations = class.at("metadata.annotations");
    DEFAULT.iter().any(|key| {
        annotations
            .and_then(|all| all.get(*key))
            .is_some_and(|one| one == "true")
    })
}
