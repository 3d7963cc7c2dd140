//! Kinds that are only stored here: they have columns of their own, and checks at most.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::Error;

use crate::infrastructure;
use crate::pod::defaults;
use crate::read::{Fill, Read, text_or};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

/// A kind that is known by its columns.
pub(crate) struct Stored {
    columns: &'static [Column],
    /// The cells between the name and the age, which is where columns end.
    cells: fn(&Value) -> Vec<Value>,
    default: fn(&mut Value),
    status: Option<fn() -> Value>,
    generation: bool,
    /// What is wrong with a new object.
    check: fn(&Value) -> Vec<Error>,
    /// What is wrong with an update, besides what would be wrong with a new object.
    check_update: fn(&Value, &Value) -> Vec<Error>,
}

impl KindRules for Stored {
    fn default(&self, object: &mut Value) {
        (self.default)(object);
    }

    fn has_status(&self) -> bool {
        self.status.is_some()
    }

    fn initial_status(&self) -> Value {
        self.status.map_or_else(|| json!({}), |status| status())
    }

    fn has_generation(&self) -> bool {
        self.generation
    }

    /// All that is not metadata or status counts.
    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        let counted = |object: &Value| -> Vec<(String, Value)> {
            let fields = object.as_object().into_iter().flatten();
            fields
                .filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        self.generation && counted(new) != counted(old)
    }

    fn validate_create(&self, object: &Value) -> Vec<Error> {
        (self.check)(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        (self.check_update)(new, old)
    }

    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Row {
        let mut cells = vec![table::name(object)];
        cells.extend((self.cells)(object));
        cells.push(table::age(object, now));
        Row::new(cells)
    }
}

const fn stored(columns: &'static [Column], cells: fn(&Value) -> Vec<Value>) -> Stored {
    Stored {
        columns,
        cells,
        default: |_| {},
        status: None,
        generation: false,
        check: |_| Vec::new(),
        check_update: |_, _| Vec::new(),
    }
}

pub(crate) static CONTROLLER_REVISION: Stored = stored(
    &[
        NAME,
        Column::text("Controller"),
        Column::text("Revision"),
        AGE,
    ],
    |revision| {
        let owners = revision.list("metadata.ownerReferences");
        let owner = owners.iter().find(|owner| owner.flag("controller"));
        let owner = owner.map(|owner| {
            let (group, _) = owner
                .text("apiVersion")
                .rsplit_once('/')
                .unwrap_or_default();
            let dot = if group.is_empty() { "" } else { "." };
            format!(
                "{}{dot}{group}/{}",
                owner.text("kind").to_lowercase(),
                owner.text("name")
            )
        });
        let count = revision.integer("revision").unwrap_or(0);
        vec![json!(owner.as_deref().unwrap_or("<none>")), json!(count)]
    },
);

pub(crate) static RUNTIME_CLASS: Stored = Stored {
    check: infrastructure::runtime_class,
    check_update: infrastructure::runtime_class_update,
    ..stored(&[NAME, Column::text("Handler"), AGE], |class| {
        vec![json!(class.text("handler"))]
    })
};

pub(crate) static CSI_NODE: Stored = Stored {
    check: infrastructure::csi_node,
    check_update: infrastructure::csi_node_update,
    ..stored(&[NAME, Column::integer("Drivers"), AGE], |node| {
        vec![json!(node.list("spec.drivers").len())]
    })
};

pub(crate) static POD_TEMPLATE: Stored = Stored {
    columns: &[
        NAME,
        Column::text("Containers"),
        Column::text("Images"),
        Column::text("Pod Labels"),
        AGE,
    ],
    cells: |template| {
        let [names, images] = table::containers(&template["template"]["spec"]);
        vec![
            names,
            images,
            table::labels(template, "template.metadata.labels"),
        ]
    },
    default: |template| defaults::template(&mut template["template"]),
    status: None,
    generation: true,
    check: |_| Vec::new(),
    check_update: |_, _| Vec::new(),
};

pub(crate) static CSI_DRIVER: Stored = Stored {
    columns: &[
        NAME,
        Column::text("AttachRequired").of("boolean"),
        Column::text("PodInfoOnMount").of("boolean"),
        Column::text("StorageCapacity").of("boolean"),
        Column::text("TokenRequests"),
        Column::text("RequiresRepublish").of("boolean"),
        Column::text("Modes"),
        AGE,
    ],
    cells: |driver| {
        let flag = |field: &str| json!(driver.flag(&format!("spec.{field}")));
        let audiences: Vec<&str> = driver
            .list("spec.tokenRequests")
            .iter()
            .map(|one| one.text("audience"))
            .collect();
        vec![
            flag("attachRequired"),
            flag("podInfoOnMount"),
            flag("storageCapacity"),
            json!(text_or(&audiences.join(","), "<unset>")),
            flag("requiresRepublish"),
            json!(driver.texts("spec.volumeLifecycleModes").join(",")),
        ]
    },
    default: |driver| {
        driver.fill("spec.attachRequired", true);
        for field in [
            "podInfoOnMount",
            "storageCapacity",
            "requiresRepublish",
            "seLinuxMount",
        ] {
            driver.fill(&format!("spec.{field}"), false);
        }
        driver.fill("spec.fsGroupPolicy", "ReadWriteOnceWithFSType");
        if driver.lacks("spec.volumeLifecycleModes") {
            driver.put("spec.volumeLifecycleModes", vec!["Persistent"]);
        }
    },
    status: None,
    generation: false,
    check: infrastructure::csi_driver,
    check_update: infrastructure::csi_driver_update,
};

/// Kinds with a status and nothing else that is known here.
pub(crate) static WITH_STATUS: Stored = Stored {
    columns: &[NAME, AGE],
    cells: |_| Vec::new(),
    default: |_| {},
    status: Some(|| json!({})),
    generation: true,
    check: |_| Vec::new(),
    check_update: |_, _| Vec::new(),
};

pub(crate) static VOLUME_ATTACHMENT: Stored = Stored {
    columns: &[
        NAME,
        Column::text("Attacher"),
        Column::text("PV"),
        Column::text("Node"),
        Column::text("Attached").of("boolean"),
        AGE,
    ],
    cells: |attachment| {
        vec![
            json!(attachment.text("spec.attacher")),
            json!(attachment.text("spec.source.persistentVolumeName")),
            json!(attachment.text("spec.nodeName")),
            json!(attachment.flag("status.attached")),
        ]
    },
    default: |_| {},
    status: Some(|| json!({"attached": false})),
    generation: false,
    check: infrastructure::volume_attachment,
    check_update: infrastructure::volume_attachment_update,
};

pub(crate) static API_SERVICE: Stored = Stored {
    columns: &[
        NAME,
        Column::text("Service"),
        Column::text("Available"),
        AGE,
    ],
    cells: |service| {
        let target = match service.at("spec.service") {
            Some(target) => format!("{}/{}", target.text("namespace"), target.text("name")),
            None => "Local".to_owned(),
        };
        let conditions = service.list("status.conditions");
        let available = conditions
            .iter()
            .find(|one| one.text("type") == "Available");
        let available = match available.map(|one| (one.text("status"), one.text("reason"))) {
            Some(("True", _)) => "True".to_owned(),
            Some((status, reason)) => format!("{status} ({reason})"),
            None => "Unknown".to_owned(),
        };
        vec![json!(target), json!(available)]
    },
    default: |_| {},
    status: Some(|| json!({})),
    generation: false,
    check: |_| Vec::new(),
    check_update: |_, _| Vec::new(),
};
