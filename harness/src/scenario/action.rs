//! An operation as the one action it is; the [`Operation`] of the model may set none or several.

use super::model::{
    Apply, Assert, Command, Delete, Fault, FaultsFired, Hold, Look, Operation, OperatorAction,
    Script, Sleep, Sql, Wait,
};

/// What to do.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Server-side apply.
    Apply(&'a Apply),
    /// Create.
    Create(&'a Apply),
    /// Replace.
    Update(&'a Apply),
    /// Merge.
    Patch(&'a Apply),
    /// Delete.
    Delete(&'a Delete),
    /// Wait until something is so.
    Assert(&'a Assert),
    /// Wait until nothing is so.
    Error(&'a Assert),
    /// As `kubectl wait`.
    Wait(&'a Wait),
    /// A program.
    Command(&'a Command),
    /// A shell script.
    Script(&'a Script),
    /// Nothing, for a while.
    Sleep(&'a Sleep),
    /// Show events.
    Events(&'a Look),
    /// Show logs.
    PodLogs(&'a Look),
    /// Show objects.
    Get(&'a Look),
    /// Show objects with events.
    Describe(&'a Look),
    /// A database.
    Sql(&'a Sql),
    /// Something goes on holding.
    Hold(&'a Hold),
    /// The operator under test.
    Operator(OperatorAction),
    /// Something goes wrong.
    Fault(&'a Fault),
    /// It did.
    FaultsFired(FaultsFired),
}

impl<'a> Action<'a> {
    /// All actions that an operation sets; a valid one sets one.
    pub fn all(operation: &'a Operation) -> Vec<Self> {
        let o = operation;
        [
            o.apply.as_ref().map(Self::Apply),
            o.create.as_ref().map(Self::Create),
            o.update.as_ref().map(Self::Update),
            o.patch.as_ref().map(Self::Patch),
            o.delete.as_ref().map(Self::Delete),
            o.assert.as_ref().map(Self::Assert),
            o.error.as_ref().map(Self::Error),
            o.wait.as_ref().map(Self::Wait),
            o.command.as_ref().map(Self::Command),
            o.script.as_ref().map(Self::Script),
            o.sleep.as_ref().map(Self::Sleep),
            o.events.as_ref().map(Self::Events),
            o.pod_logs.as_ref().map(Self::PodLogs),
            o.get.as_ref().map(Self::Get),
            o.describe.as_ref().map(Self::Describe),
            o.sql.as_ref().map(Self::Sql),
            o.hold.as_ref().map(Self::Hold),
            o.operator.map(Self::Operator),
            o.fault.as_ref().map(Self::Fault),
            o.faults_fired.map(Self::FaultsFired),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apply(_) => "apply",
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Patch(_) => "patch",
            Self::Delete(_) => "delete",
            Self::Assert(_) => "assert",
            Self::Error(_) => "error",
            Self::Wait(_) => "wait",
            Self::Command(_) => "command",
            Self::Script(_) => "script",
            Self::Sleep(_) => "sleep",
            Self::Events(_) => "events",
            Self::PodLogs(_) => "podLogs",
            Self::Get(_) => "get",
            Self::Describe(_) => "describe",
            Self::Sql(_) => "sql",
            Self::Hold(_) => "hold",
            Self::Operator(_) => "operator",
            Self::Fault(_) => "fault",
            Self::FaultsFired(_) => "faultsFired",
        }
    }

    /// Whether chainsaw does not have it.
    pub fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Sql(_)
                | Self::Hold(_)
                | Self::Operator(_)
                | Self::Fault(_)
                | Self::FaultsFired(_)
        )
    }

    /// What it is about, for reports: `v1/Pod web`.
    pub fn subject(self) -> String {
        let resource = |file: &Option<String>, resource: &Option<serde_json::Value>| {
            file.clone().unwrap_or_else(|| {
                let Some(resource) = resource else {
                    return String::new();
                };
                let text =
                    |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let (kind, name) = (text(&resource["kind"]), text(&resource["metadata"]["name"]));
                format!("{kind} {name}").trim().to_owned()
            })
        };
        match self {
            Self::Apply(a) | Self::Create(a) | Self::Update(a) | Self::Patch(a) => {
                resource(&a.file, &a.resource)
            }
            Self::Assert(a) | Self::Error(a) => resource(&a.file, &a.resource),
            Self::Delete(delete) => match &delete.r#ref {
                Some(reference) => {
                    let name = reference.name.as_deref().unwrap_or_default();
                    format!("{} {name}", reference.kind).trim().to_owned()
                }
                None => delete.file.clone().unwrap_or_default(),
            },
            Self::Wait(wait) => {
                format!("{} {}", wait.kind, wait.name.as_deref().unwrap_or_default())
            }
            Self::Command(command) => command.entrypoint.clone(),
            Self::Script(script) => first_line(&script.content),
            Self::Sleep(sleep) => sleep.duration.clone(),
            Self::Events(look) | Self::PodLogs(look) | Self::Get(look) | Self::Describe(look) => {
                look.name
                    .clone()
                    .or_else(|| look.selector.clone())
                    .unwrap_or_default()
            }
            Self::Sql(sql) => sql_subject(sql),
            Self::Hold(hold) => hold.r#for.clone(),
            Self::Operator(action) => format!("{action:?}").to_lowercase(),
            Self::Fault(fault) => fault.names().join(" and "),
            Self::FaultsFired(FaultsFired::All) => "all".to_owned(),
        }
    }
}

impl Fault {
    /// What goes wrong; a valid one has one.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = self.not_yet();
        let there = [
            (self.crash_operator.is_some(), "crashOperator"),
            (self.kill_pod.is_some(), "killPod"),
            (self.forget_history.is_some(), "forgetHistory"),
            (self.error.is_some(), "error"),
            (self.lose_response.is_some(), "loseResponse"),
            (self.conflict.is_some(), "conflict"),
            (self.gone410.is_some(), "gone410"),
        ];
        names.extend(
            there
                .into_iter()
                .filter(|(is, _)| *is)
                .map(|(_, name)| name),
        );
        names
    }

    /// What no cluster here can do yet.
    pub fn not_yet(&self) -> Vec<&'static str> {
        [
            (self.drop_events.is_some(), "dropEvents"),
            (self.lag_watch.is_some(), "lagWatch"),
            (self.expire_lease.is_some(), "expireLease"),
            (self.advance_time.is_some(), "advanceTime"),
        ]
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| name)
        .collect()
    }
}

fn sql_subject(sql: &Sql) -> String {
    if let Some(query) = &sql.query {
        return first_line(query);
    }
    if let Some(insert) = &sql.insert {
        return format!("INSERT INTO {}", insert.into);
    }
    if let Some(ledger) = &sql.verify_ledger {
        return format!("every row of {ledger}");
    }
    if sql.refused {
        return "access is refused".to_owned();
    }
    match &sql.exec {
        Some(super::model::OneOrMore::One(statement)) => first_line(statement),
        Some(super::model::OneOrMore::More(statements)) => statements
            .first()
            .map(|text| first_line(text))
            .unwrap_or_default(),
        None => String::new(),
    }
}

fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(60).collect()
}
