//! An operation as the one action it is; the [`Operation`] of the model may set none or several.
//!
//! One table says which actions there are: the fields of [`Operation`], the variants of [`Action`] and their
//! names in files are made of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    expression::Compiler,
    model::{
        Apply, Assert, Binding, Command, Delete, Fault, FaultsFired, Hold, Look, OperatorAction,
        Proxy, Script, Sleep, Sql, Wait,
    },
};

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $field:ident $name:literal $variant:ident($type:ty),)+) => {
        /// One thing to do: exactly one of the actions is set.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "camelCase", default)]
        pub struct Operation {
            /// For people.
            pub description: Option<String>,
            /// Go on when it fails.
            pub continue_on_error: bool,
            /// In which language its expressions are, unless they say it.
            pub compiler: Option<Compiler>,
            $(
                $(#[doc = $doc])+
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )+
        }

        /// What to do.
        #[derive(Clone, Copy, Debug)]
        pub enum Action<'a> {
            $($(#[doc = $doc])+ $variant(&'a $type),)+
        }

        impl<'a> Action<'a> {
            /// All actions that an operation sets; a valid one sets one.
            pub fn all(operation: &'a Operation) -> Vec<Self> {
                let set = [$(operation.$field.as_ref().map(Self::$variant)),+];
                set.into_iter().flatten().collect()
            }

            /// Its name in a file.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }
        }
    };
}

actions! {
    /// Apply objects.
    apply "apply" Apply(Apply),
    /// Create objects; fails if they are there.
    create "create" Create(Apply),
    /// Replace objects.
    update "update" Update(Apply),
    /// Merge into objects that are there.
    patch "patch" Patch(Apply),
    /// Delete objects and wait until they are gone.
    delete "delete" Delete(Delete),
    /// Wait until an object is as the fragment says.
    assert "assert" Assert(Assert),
    /// Wait until no object is as the fragment says.
    error "error" Error(Assert),
    /// Wait for a condition, as `kubectl wait`.
    wait "wait" Wait(Wait),
    /// Run a program.
    command "command" Command(Command),
    /// Run a shell script.
    script "script" Script(Script),
    /// Wait for no reason. Refused in a `Scenario`.
    sleep "sleep" Sleep(Sleep),
    /// Ask a pod or a service over HTTP, through the API server.
    proxy "proxy" Proxy(Proxy),
    /// Show events.
    events "events" Events(Look),
    /// Show logs of pods.
    pod_logs "podLogs" PodLogs(Look),
    /// Show objects.
    get "get" Get(Look),
    /// Show objects with their events.
    describe "describe" Describe(Look),
    /// Scenario only: speak to a database.
    sql "sql" Sql(Sql),
    /// Scenario only: something holds, and goes on holding.
    hold "hold" Hold(Hold),
    /// Scenario only: start, stop, kill or restart the operator under test.
    operator "operator" Operator(OperatorAction),
    /// Scenario only: make something go wrong.
    fault "fault" Fault(Fault),
    /// Scenario only: wait until armed faults have fired, and show the proofs.
    faults_fired "faultsFired" FaultsFired(FaultsFired),
}

impl<'a> Action<'a> {
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

    /// Values of its own.
    pub fn bindings(self) -> &'a [Binding] {
        match self {
            Self::Apply(a) | Self::Create(a) | Self::Update(a) | Self::Patch(a) => &a.bindings,
            Self::Assert(a) | Self::Error(a) => &a.bindings,
            Self::Delete(delete) => &delete.bindings,
            Self::Command(command) => &command.bindings,
            Self::Script(script) => &script.bindings,
            _ => &[],
        }
    }

    /// The cluster that it wants, if it says one.
    pub fn cluster(self) -> Option<&'a String> {
        match self {
            Self::Apply(a) | Self::Create(a) | Self::Update(a) | Self::Patch(a) => {
                a.cluster.as_ref()
            }
            Self::Assert(a) | Self::Error(a) => a.cluster.as_ref(),
            Self::Delete(delete) => delete.cluster.as_ref(),
            Self::Wait(wait) => wait.cluster.as_ref(),
            Self::Command(command) => command.cluster.as_ref(),
            Self::Script(script) => script.cluster.as_ref(),
            Self::Proxy(proxy) => proxy.cluster.as_ref(),
            Self::Events(look) | Self::PodLogs(look) | Self::Get(look) | Self::Describe(look) => {
                look.cluster.as_ref()
            }
            Self::Sleep(_)
            | Self::Sql(_)
            | Self::Hold(_)
            | Self::Operator(_)
            | Self::Fault(_)
            | Self::FaultsFired(_) => None,
        }
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
            Self::Command(command) if command.skip_command_output => hidden(),
            Self::Command(command) => command.entrypoint.clone(),
            Self::Script(script) if script.skip_command_output => hidden(),
            Self::Script(script) => first_line(&script.content),
            Self::Proxy(proxy) => format!("{} {}", proxy.kind, proxy.name),
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

fn hidden() -> String {
    "(not shown)".to_owned()
}

fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().take(60).collect()
}
