//! Kinds that are only stored here: they have columns of their own, and checks at most.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};

use crate::addresses;
use crate::checks::{immutable, non_negative};
use crate::flow_control;
use crate::infrastructure;
use crate::meta::NameRule;
use crate::pod::{defaults, validation, warnings};
use crate::read::{Fill, Read, text_or};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};
use crate::warnings::node_label;

/// A kind that is known by its columns.
pub(crate) struct Stored {
    columns: &'static [Column],
    /// All cells but the name, which comes first, and the age.
    cells: fn(&Value) -> Vec<Value>,
    default: fn(&mut Value),
    status: Option<fn() -> Value>,
    generation: bool,
    /// What is wrong with a new object.
    check: fn(&Value) -> Vec<Error>,
    /// What is wrong with an update, besides what would be wrong with a new object.
    check_update: fn(&Value, &Value) -> Vec<Error>,
    /// What is wrong with an update of the status.
    check_status: fn(&Value) -> Vec<Error>,
    /// Whether updates are counted, from zero.
    counts_updates: bool,
    warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    names: NameRule,
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
        (self.generation || self.counts_updates) && counted(new) != counted(old)
    }

    fn validate_create(&self, object: &Value) -> Vec<Error> {
        (self.check)(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        (self.check_update)(new, old)
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        (self.check_status)(new)
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        (self.warnings)(new, old)
    }

    fn name_rule(&self) -> NameRule {
        self.names
    }

    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Row {
        let mut cells = vec![table::name(object)];
        cells.extend((self.cells)(object));
        if let Some(place) = self.columns.iter().position(|one| *one == AGE) {
            cells.insert(place, table::age(object, now));
        }
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
        check_status: |_| Vec::new(),
        counts_updates: false,
        warnings: |_, _| Vec::new(),
        names: NameRule::Subdomain,
    }
}

pub(crate) static CONTROLLER_REVISION: Stored = Stored {
    check: controller_revision,
    check_update: |new, old| {
        let mut errors = Vec::new();
        non_negative(new, &["revision"], &Path::root(), &mut errors);
        immutable(new, old, &["data"], &Path::root(), &mut errors);
        errors
    },
    ..stored(
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
    )
};

fn pod_template(template: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let inner = template.get("template").unwrap_or(&Value::Null);
    validation::template(inner, &Path::new("template"), &mut errors);
    errors
}

fn controller_revision(revision: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    non_negative(revision, &["revision"], &Path::root(), &mut errors);
    let detail = match revision.at("data") {
        None => "data is mandatory",
        Some(Value::Object(_)) => return errors,
        Some(_) => "data must be a valid JSON object",
    };
    errors.push(Error::required(&Path::new("data"), detail));
    errors
}

pub(crate) static RUNTIME_CLASS: Stored = Stored {
    warnings: |class, _| {
        let labels = class.map("scheduling.nodeSelector");
        let known = labels.filter_map(|(key, _)| node_label(key));
        known
            .map(|why| format!("scheduling.nodeSelector: {why}"))
            .collect()
    },
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
    generation: true,
    check: pod_template,
    check_update: |new, _| pod_template(new),
    warnings: |template, _| {
        let path = Path::new("template");
        let inner = template.at("template");
        inner.map_or_else(Vec::new, |inner| warnings::of_template(inner, &path))
    },
    ..stored(&[], |_| Vec::new())
};

pub(crate) static CSI_STORAGE_CAPACITY: Stored = Stored {
    check: infrastructure::csi_storage_capacity,
    check_update: infrastructure::csi_storage_capacity_update,
    warnings: |capacity, _| infrastructure::csi_storage_capacity_warnings(capacity),
    ..stored(
        &[
            NAME,
            Column::text("StorageClassName"),
            Column::text("Capacity"),
        ],
        |capacity| {
            vec![
                json!(capacity.text("storageClassName")),
                json!(text_or(capacity.text("capacity"), "<unset>")),
            ]
        },
    )
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
    counts_updates: true,
    warnings: infrastructure::csi_driver_warnings,
    check: infrastructure::csi_driver,
    check_update: infrastructure::csi_driver_update,
    ..stored(&[], |_| Vec::new())
};

/// Kinds with a status and nothing else that is known here.
pub(crate) static WITH_STATUS: Stored = Stored {
    columns: &[NAME, AGE],
    cells: |_| Vec::new(),
    default: |_| {},
    status: Some(|| json!({})),
    generation: true,
    ..stored(&[], |_| Vec::new())
};

pub(crate) static VOLUME_ATTACHMENT: Stored = Stored {
    columns: &[
        NAME,
        Column {
            format: "name",
            ..Column::text("Attacher")
        },
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
    check_status: infrastructure::volume_attachment_status,
    check: infrastructure::volume_attachment,
    check_update: infrastructure::volume_attachment_update,
    ..stored(&[], |_| Vec::new())
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
    ..stored(&[], |_| Vec::new())
};

pub(crate) static SERVICE_CIDR: Stored = Stored {
    status: Some(|| json!({})),
    check: addresses::service_cidr,
    check_update: addresses::service_cidr_update,
    ..stored(&[NAME, Column::text("CIDRs"), AGE], |range| {
        vec![json!(range.texts("spec.cidrs").join(","))]
    })
};

pub(crate) static IP_ADDRESS: Stored = Stored {
    check: addresses::ip_address,
    check_update: addresses::ip_address_update,
    names: NameRule::Address,
    ..stored(&[NAME, Column::text("ParentRef"), AGE], |address| {
        let Some(parent) = address.at("spec.parentRef") else {
            return vec![json!("<none>")];
        };
        let (group, resource) = (parent.text("group"), parent.text("resource"));
        let mut text = if group.is_empty() {
            resource.to_lowercase()
        } else {
            format!("{resource}.{group}").to_lowercase()
        };
        for part in ["namespace", "name"] {
            if !parent.lacks(part) {
                text = format!("{text}/{}", parent.text(part));
            }
        }
        vec![json!(text)]
    })
};

pub(crate) static FLOW_SCHEMA: Stored = Stored {
    default: |schema| {
        if schema.integer("spec.matchingPrecedence").unwrap_or(0) == 0 {
            schema.put("spec.matchingPrecedence", 1000);
        }
    },
    check: flow_control::schema,
    check_update: |new, _| flow_control::schema(new),
    check_status: flow_control::status,
    status: Some(|| json!({})),
    generation: true,
    ..stored(
        &[
            NAME,
            Column::text("PriorityLevel"),
            Column::text("MatchingPrecedence"),
            Column::text("DistinguisherMethod"),
            AGE,
            Column::text("MissingPL"),
        ],
        |schema| {
            let conditions = schema.list("status.conditions");
            let dangling = conditions.iter().find(|one| one.text("type") == "Dangling");
            let method = schema.text("spec.distinguisherMethod.type");
            vec![
                json!(schema.text("spec.priorityLevelConfiguration.name")),
                json!(schema.integer("spec.matchingPrecedence").unwrap_or(0)),
                json!(text_or(method, "<none>")),
                json!(dangling.map_or("?", |one| one.text("status"))),
            ]
        },
    )
};

pub(crate) static PRIORITY_LEVEL: Stored = Stored {
    default: |level| {
        let queues = "spec.limited.limitResponse.queuing";
        if level.at("spec.limited").is_some() {
            level.fill("spec.limited.nominalConcurrencyShares", 30);
            level.fill("spec.limited.lendablePercent", 0);
        }
        if level.at("spec.exempt").is_some() {
            level.fill("spec.exempt.nominalConcurrencyShares", 0);
            level.fill("spec.exempt.lendablePercent", 0);
        }
        if level.at(queues).is_some() {
            for (field, count) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                let place = format!("{queues}.{field}");
                if level.integer(&place).unwrap_or(0) == 0 {
                    level.put(&place, count);
                }
            }
        }
    },
    check: flow_control::level,
    check_update: |new, _| flow_control::level(new),
    check_status: flow_control::status,
    status: Some(|| json!({})),
    generation: true,
    ..stored(
        &[
            NAME,
            Column::text("Type"),
            Column::text("NominalConcurrencyShares"),
            Column::text("Queues"),
            Column::text("HandSize"),
            Column::text("QueueLengthLimit"),
            AGE,
        ],
        |level| {
            let limited = level.at("spec.limited").unwrap_or(&Value::Null);
            let cell = |path: &str| limited.at(path).cloned().unwrap_or(json!("<none>"));
            vec![
                json!(level.text("spec.type")),
                cell("nominalConcurrencyShares"),
                cell("limitResponse.queuing.queues"),
                cell("limitResponse.queuing.handSize"),
                cell("limitResponse.queuing.queueLengthLimit"),
            ]
        },
    )
};

pub(crate) static VOLUME_ATTRIBUTES_CLASS: Stored = Stored {
    check: infrastructure::volume_attributes_class,
    check_update: infrastructure::volume_attributes_class_update,
    ..stored(&[NAME, Column::text("DriverName"), AGE], |class| {
        vec![json!(class.text("driverName"))]
    })
};

/// Kinds with nothing but a name and an age.
pub(crate) static NAMED: Stored = stored(&[NAME, AGE], |_| Vec::new());
