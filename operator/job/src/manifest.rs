//! What a generation says about itself, beside its dump.
//!
//! Pure: reading and writing files is [`crate::volume`]'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::server::{Facts, Flavour};

/// The layout that this program writes and reads.
pub const SCHEMA: u32 = 1;

/// Length and hash of a byte sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// How many of each there are in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Views.
    pub views: u64,
    /// Procedures and functions.
    pub routines: u64,
    /// Triggers.
    pub triggers: u64,
    /// Events.
    pub events: u64,
}

impl Contents {
    /// Nothing at all is in the database.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.views == 0 && self.routines == 0 && self.events == 0
    }

    /// Rows of all tables.
    pub fn total_rows(&self) -> u64 {
        self.rows.values().sum()
    }

    /// The first difference, in words; `None` if they are the same.
    pub fn difference(&self, found: &Self) -> Option<String> {
        for (table, rows) in &self.rows {
            match found.rows.get(table) {
                None => return Some(format!("table {table:?} is missing")),
                Some(there) if there != rows => {
                    return Some(format!(
                        "table {table:?} has {there} rows instead of {rows}"
                    ));
                }
                Some(_) => {}
            }
        }
        let counts = [
            ("views", self.views, found.views),
            ("routines", self.routines, found.routines),
            ("triggers", self.triggers, found.triggers),
            ("events", self.events, found.events),
        ];
        counts
            .into_iter()
            .find(|(_, expected, there)| expected != there)
            .map(|(what, expected, there)| format!("{there} {what} instead of {expected}"))
    }
}

/// `manifest.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA`]
    pub schema: u32,
    /// `namespace/name` of the instance.
    pub instance: String,
    /// Its UID.
    pub instance_uid: String,
    /// The operation that wrote it.
    pub operation: String,
    /// The database that was dumped.
    pub database: String,
    /// Its default character set.
    pub charset: String,
    /// Its default collation.
    pub collation: String,
    /// The server it comes from.
    pub server: Facts,
    /// When it was begun, in seconds since 1970.
    pub started_unix: u64,
    /// When it was complete.
    pub finished_unix: u64,
    /// The SQL text.
    pub raw: Digest,
    /// The file on the volume.
    pub stored: Digest,
    /// What is in it.
    pub contents: Contents,
    /// The accounts beside it; backups of earlier operators have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Digest>,
    /// Nobody could write while it was made: the counts are exact and no later write was acknowledged.
    pub fenced: bool,
}

/// Whether a dump of `from` may go into `into`; `Err` says why not.
pub fn compatible(from: &Facts, into: &Facts) -> Result<(), String> {
    if from.flavour != into.flavour {
        return Err(format!(
            "the backup comes from {} and the server is {}",
            from.text(),
            into.text()
        ));
    }
    let ((from_major, from_minor, _), (into_major, into_minor, _)) = (from.number(), into.number());
    // MariaDB and MySQL 8 and later change what a dump may contain with each minor version.
    let older = match from.flavour {
        Flavour::MySql | Flavour::MariaDb => (into_major, into_minor) < (from_major, from_minor),
    };
    if older {
        return Err(format!(
            "the backup comes from {}, which is newer than the server, {}",
            from.text(),
            into.text()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(rows: &[(&str, u64)]) -> Contents {
        Contents {
            rows: rows
                .iter()
                .map(|(table, rows)| ((*table).to_owned(), *rows))
                .collect(),
            ..Contents::default()
        }
    }

    #[test]
    fn rows_lost_on_the_way_are_noticed() {
        let expected = contents(&[("test", 2)]);
        assert_eq!(expected.difference(&expected), None);
        assert!(
            expected
                .difference(&contents(&[("test", 0)]))
                .unwrap()
                .contains("0 rows instead of 2")
        );
        assert!(
            expected
                .difference(&contents(&[]))
                .unwrap()
                .contains("missing")
        );
    }

    #[test]
    fn an_older_server_and_another_flavour_are_not_compatible() {
        let facts = Facts::from_version;
        assert!(compatible(&facts("8.0.31"), &facts("9.7.4")).is_ok());
        assert!(compatible(&facts("9.7.4"), &facts("9.7.2")).is_ok());
        assert!(compatible(&facts("9.7.4"), &facts("8.4.0")).is_err());
        assert!(compatible(&facts("8.0.31"), &facts("10.11.2-MariaDB")).is_err());
    }
}
