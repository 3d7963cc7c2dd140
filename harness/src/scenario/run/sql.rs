//! sql: statements and queries, and the ledger: rows that the server acknowledged and must never lose.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{Engine, values::nothing};
use crate::{
    Failure,
    scenario::{
        expression::evaluated,
        model::{Insert, OneOrMore, Sql, Target},
        subject::Database,
    },
    sql::{Login, Session, SqlError},
};

/// How long after a connection failed the next one is tried.
const CONNECT_AGAIN: Duration = Duration::from_millis(200);

/// A row that the server acknowledged.
#[derive(Clone, Debug)]
pub(super) struct LedgerRow {
    table: String,
    columns: Vec<String>,
    values: Vec<String>,
}

impl Engine<'_, '_> {
    pub(super) async fn sql(&mut self, sql: &Sql) -> Result<(), Failure> {
        let limit = self.limit(sql.timeout.as_ref(), |t| &t.exec, 5)?;
        let deadline = Instant::now() + limit;
        let database = self.database(&sql.target).await?;
        if sql.refused {
            return self.refused(&database, deadline).await;
        }
        let mut session = self.session(&database, deadline).await?;
        let work = Box::pin(self.converse(sql, &mut session));
        let outcome = tokio::time::timeout(limit, work)
            .await
            .map_err(|_| format!("the server did not answer within {limit:?}"))?;
        outcome?;
        Ok(session.close().await?)
    }

    async fn converse(&mut self, sql: &Sql, session: &mut Session) -> Result<(), Failure> {
        match &sql.exec {
            Some(OneOrMore::One(statement)) => session.execute(&self.text(statement)?).await?,
            Some(OneOrMore::More(statements)) => {
                for statement in statements {
                    session.execute(&self.text(statement)?).await?;
                }
            }
            None => {}
        }
        if let Some(insert) = &sql.insert {
            let rows = self.insert(insert, session).await?;
            if let Some(ledger) = &sql.ledger {
                self.ledgers.entry(ledger.clone()).or_default().extend(rows);
            }
        }
        if let Some(ledger) = &sql.verify_ledger {
            self.verify(ledger, session).await?;
        }
        if let Some(query) = &sql.query {
            let rows = session.rows(&self.text(query)?).await?;
            let shown: Vec<String> = rows.iter().map(|row| row.join(" | ")).collect();
            self.output = Some(shown.join("\n"));
            if let Some(expected) = &sql.rows
                && *expected != rows
            {
                return Err(
                    format!("expected the rows {expected:?}, but they are {rows:?}").into(),
                );
            }
            self.bindings.insert("rows", json!(rows));
            self.keep(&sql.outputs, &json!(rows)).await?;
        }
        Ok(())
    }

    async fn insert(
        &mut self,
        insert: &Insert,
        session: &mut Session,
    ) -> Result<Vec<LedgerRow>, Failure> {
        let mut acknowledged = Vec::new();
        let columns: Vec<String> = insert.columns.iter().map(|name| identifier(name)).collect();
        for row in &insert.rows {
            let values: Vec<String> = row
                .iter()
                .map(|value| Ok(literal(&evaluated(value, &nothing(), &self.bindings)?)))
                .collect::<Result<_, Failure>>()?;
            let table = identifier(&insert.into);
            session
                .execute(&format!(
                    "INSERT INTO {table} ({}) VALUES ({})",
                    columns.join(", "),
                    values.join(", ")
                ))
                .await?;
            acknowledged.push(LedgerRow {
                table,
                columns: columns.clone(),
                values,
            });
        }
        Ok(acknowledged)
    }

    /// Every acknowledged row is there, and as often as it was inserted.
    async fn verify(&mut self, ledger: &str, session: &mut Session) -> Result<(), Failure> {
        let rows = self
            .ledgers
            .get(ledger)
            .ok_or_else(|| format!("no row was written to the ledger {ledger:?}"))?;
        let mut lost = Vec::new();
        for row in rows {
            let same = |other: &&LedgerRow| {
                (&other.table, &other.columns, &other.values)
                    == (&row.table, &row.columns, &row.values)
            };
            let wanted = rows.iter().filter(same).count();
            let conditions: Vec<String> = row
                .columns
                .iter()
                .zip(&row.values)
                .map(|(column, value)| format!("{column} <=> {value}"))
                .collect();
            let query = format!(
                "SELECT count(*) FROM {} WHERE {}",
                row.table,
                conditions.join(" AND ")
            );
            let found = session.rows(&query).await?;
            let count: usize = found
                .first()
                .and_then(|row| row.first())
                .and_then(|count| count.parse().ok())
                .unwrap_or(0);
            if count < wanted {
                lost.push(format!("{} ({})", row.table, row.values.join(", ")));
            }
        }
        if lost.is_empty() {
            self.output = Some(format!("{} rows, all there", rows.len()));
            return Ok(());
        }
        Err(format!(
            "of {} acknowledged rows {} are lost: {}",
            rows.len(),
            lost.len(),
            lost.join("; ")
        )
        .into())
    }

    async fn refused(&mut self, database: &Database, deadline: Instant) -> Result<(), Failure> {
        match self.session(database, deadline).await {
            Ok(_) => {
                Err(format!("the server let {} in, but should not", database.login.user).into())
            }
            Err(error) => match error.downcast_ref::<SqlError>() {
                Some(sql) if sql.is_access_denied() => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// The database that is meant: as the operator's user finds it, with what the file says over it.
    async fn database(&mut self, target: &Target) -> Result<Database, Failure> {
        let text = |text: &Option<String>| self.optional_text(text.as_ref());
        let target = Target {
            kind: target.kind.clone(),
            name: text(&target.name)?,
            selector: text(&target.selector)?,
            user: text(&target.user)?,
            password: text(&target.password)?,
            database: text(&target.database)?,
        };
        let known = match (&target.kind, &target.selector) {
            (Some(_), _) => {
                let subject = self.subject.lock().await;
                subject
                    .database(self.cluster, &self.namespace, &target)
                    .await?
            }
            (None, Some(selector)) => Database {
                selector: selector.clone(),
                login: Login {
                    user: "root".to_owned(),
                    password: String::new(),
                    database: None,
                },
            },
            (None, None) => return Err("`target` names neither an object nor a pod".into()),
        };
        Ok(Database {
            selector: target.selector.unwrap_or(known.selector),
            login: Login {
                user: target.user.unwrap_or(known.login.user),
                password: target.password.unwrap_or(known.login.password),
                database: target.database.or(known.login.database),
            },
        })
    }

    /// Connects; a server that is not there yet is tried again, one that refuses is not.
    async fn session(&self, database: &Database, deadline: Instant) -> Result<Session, Failure> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), &self.namespace);
        loop {
            let outcome = match self.one_pod(&pods, &database.selector).await {
                Ok(pod) => Session::open(pods.clone(), &pod, &database.login)
                    .await
                    .map_err(Failure::from),
                Err(failure) => Err(failure),
            };
            let failure = match outcome {
                Ok(session) => return Ok(session),
                Err(failure) => failure,
            };
            let is_final = failure
                .downcast_ref::<SqlError>()
                .is_some_and(SqlError::is_access_denied);
            if is_final || Instant::now() + CONNECT_AGAIN > deadline {
                return Err(failure);
            }
            tokio::time::sleep(CONNECT_AGAIN).await;
        }
    }

    async fn one_pod(&self, pods: &Api<Pod>, selector: &str) -> Result<String, Failure> {
        let list = pods.list(&ListParams::default().labels(selector)).await?;
        let mut living: Vec<String> = list
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(kube::ResourceExt::name_any)
            .collect();
        match (living.pop(), living.len()) {
            (Some(pod), 0) => Ok(pod),
            (None, _) => Err(format!("no pod has the labels {selector}").into()),
            (Some(_), more) => Err(format!("{} pods have the labels {selector}", more + 1).into()),
        }
    }
}

fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A value as MySQL reads it back.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(bool) => u8::from(*bool).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_leaves_its_quotes() {
        assert_eq!(literal(&json!("it's \\ a")), r"'it''s \\ a'");
        assert_eq!(literal(&Value::Null), "NULL");
        assert_eq!(identifier("a`b"), "`a``b`");
    }
}
