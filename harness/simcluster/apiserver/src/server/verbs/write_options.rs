//! The options that all writes share: dryRun, fieldManager, fieldValidation.

use simcluster_machinery::{
    field::{Error, Path},
    status::Status,
};

use crate::server::{Failure, call::Call};

/// Options of a write, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    /// Do everything but keep the result.
    pub(crate) dry_run: bool,
}

/// What of the options a kind of write knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionsKind {
    /// `CreateOptions`
    Create,
    /// `UpdateOptions`
    Update,
    /// `PatchOptions`, of server-side apply or of another patch.
    Patch {
        /// Whether it is server-side apply.
        apply: bool,
    },
}

impl WriteOptions {
    /// Reads and checks the options in the query.
    pub(crate) fn of(call: &Call, kind: OptionsKind) -> Result<Self, Failure> {
        let query = &call.query;
        let mut errors: Vec<Error> = Vec::new();
        if let OptionsKind::Patch { apply } = kind {
            if apply && query.get("fieldManager").is_empty() {
                errors.push(Error::required(
                    &Path::new("fieldManager"),
                    "is required for apply patch",
                ));
            }
            if !apply && query.find("force").is_some() {
                errors.push(Error::forbidden(
                    &Path::new("force"),
                    "may not be specified for non-apply patch",
                ));
            }
        }
        errors.extend(manager_errors(query.get("fieldManager")));
        let dry_run: Vec<&str> = query.all("dryRun").collect();
        errors.extend(dry_run_errors(&dry_run));
        let validation = query.get("fieldValidation");
        if !matches!(validation, "" | "Ignore" | "Warn" | "Strict") {
            errors.push(Error::not_supported(
                &Path::new("fieldValidation"),
                validation,
                &["", "Ignore", "Strict", "Warn"],
            ));
        }
        if errors.is_empty() {
            return Ok(Self {
                dry_run: !dry_run.is_empty(),
            });
        }
        let kind = match kind {
            OptionsKind::Create => "CreateOptions",
            OptionsKind::Update => "UpdateOptions",
            OptionsKind::Patch { .. } => "PatchOptions",
        };
        Err(Box::new(Status::invalid("meta.k8s.io", kind, "", &errors)))
    }
}

/// What is wrong with `dryRun`.
pub(crate) fn dry_run_errors(values: &[&str]) -> Vec<Error> {
    if values.iter().all(|&value| value == "All") {
        return Vec::new();
    }
    vec![Error::not_supported(
        &Path::new("dryRun"),
        serde_json::json!(values),
        &["All"],
    )]
}

/// What is wrong with `fieldManager`.
fn manager_errors(manager: &str) -> Vec<Error> {
    let path = Path::new("fieldManager");
    let mut errors = Vec::new();
    if manager.len() > 128 {
        errors.push(Error::too_long(&path, 128));
    }
    let strange = manager.char_indices().filter(|(_, char)| char.is_control());
    errors.extend(strange.map(|(at, char)| {
        let why = format!(
            "invalid character U+{:04X} (at position {at})",
            u32::from(char)
        );
        Error::invalid(&path, manager, why)
    }));
    errors
}
