//! What is in a database: its objects and their rows, counted by the server.

use std::collections::BTreeMap;

use crate::client::{ClientError, Session};
use crate::manifest::Contents;
use crate::sql;

/// A database's default character set and collation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `utf8mb4`
    pub charset: String,
    /// `utf8mb4_0900_ai_ci`
    pub collation: String,
}

/// The defaults of a database; `None` if there is no such database.
pub fn defaults(session: &mut Session, database: &str) -> Result<Option<Defaults>, ClientError> {
    let rows = session.query(&format!(
        "SELECT default_character_set_name, default_collation_name \
         FROM information_schema.schemata WHERE BINARY schema_name = {}",
        quoted(database)?
    ))?;
    Ok(rows
        .into_iter()
        .find_map(|row| match <[String; 2]>::try_from(row) {
            Ok([charset, collation]) => Some(Defaults { charset, collation }),
            Err(_) => None,
        }))
}

/// Counts everything. The row counts are exact at the moment of each count.
pub fn contents(session: &mut Session, database: &str) -> Result<Contents, ClientError> {
    let name = quoted(database)?;
    let mut contents = Contents {
        rows: tables(session, database)?,
        ..Contents::default()
    };
    let counts = session.query(&format!(
        "SELECT (SELECT COUNT(*) FROM information_schema.views WHERE table_schema = {name}), \
         (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = {name}), \
         (SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = {name}), \
         (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = {name})"
    ))?;
    if let Some([views, routines, triggers, events]) = counts.first().map(Vec::as_slice) {
        let number = |text: &String| text.parse().unwrap_or(0);
        contents.views = number(views);
        contents.routines = number(routines);
        contents.triggers = number(triggers);
        contents.events = number(events);
    }
    Ok(contents)
}

fn tables(session: &mut Session, database: &str) -> Result<BTreeMap<String, u64>, ClientError> {
    let names = session.query(&format!(
        "SELECT table_name FROM information_schema.tables \
         WHERE table_schema = {} AND table_type = 'BASE TABLE'",
        quoted(database)?
    ))?;
    let schema = named(database)?;
    let mut rows = BTreeMap::new();
    for name in names.into_iter().flatten() {
        let count = session.value(&format!("SELECT COUNT(*) FROM {schema}.{}", named(&name)?))?;
        rows.insert(
            name,
            count.and_then(|count| count.parse().ok()).unwrap_or(0),
        );
    }
    Ok(rows)
}

/// A literal, with a name that cannot be quoted reported like an error of the server: it is one there too.
pub(crate) fn quoted(text: &str) -> Result<String, ClientError> {
    sql::literal(text).map_err(|error| ClientError::Ended(error.to_string()))
}

/// An identifier, likewise.
pub(crate) fn named(name: &str) -> Result<String, ClientError> {
    sql::identifier(name).map_err(|error| ClientError::Ended(error.to_string()))
}
