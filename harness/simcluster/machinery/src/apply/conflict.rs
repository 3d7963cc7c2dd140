//! Fields that another manager owns.

use super::managers::{Entry, Operation};
use super::path::{self, PathElement};
use crate::go;
use crate::status::Cause;

/// A field that an apply would change although another manager owns it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    manager: String,
    pub(super) path: Vec<PathElement>,
}

impl Conflict {
    pub(super) fn new(entry: &Entry, path: &[PathElement]) -> Self {
        let mut manager = go::quote(&entry.manager);
        if !entry.subresource.is_empty() {
            manager = format!(
                "{manager} with subresource {}",
                go::quote(&entry.subresource)
            );
        }
        if entry.operation == Operation::Update {
            manager = format!("{manager} using {}", entry.api_version);
        }
        Self {
            manager,
            path: path.to_vec(),
        }
    }

    /// The cause in the answer's details.
    pub fn cause(&self) -> Cause {
        Cause {
            reason: "FieldManagerConflict".to_owned(),
            message: format!("conflict with {}", self.manager),
            field: path::display(&self.path),
        }
    }
}

/// All conflicts in one message, by manager.
pub(super) fn message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        let (manager, path) = (&conflict.manager, path::display(&conflict.path));
        return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
    }
    let mut managers: Vec<&str> = conflicts.iter().map(|one| one.manager.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines = Vec::new();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        let own = conflicts
            .iter()
            .filter(|conflict| conflict.manager == manager);
        lines.extend(own.map(|conflict| format!("- {}", path::display(&conflict.path))));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}
