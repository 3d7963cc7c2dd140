//! What the operations take that only a laboratory has: `sql`, `hold`, `operator`, `fault`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Assert, Empty};
use crate::scenario::model::Output;

/// A conversation with a database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sql {
    /// Whose database.
    pub target: Target,
    /// Statements to run, one after another.
    pub exec: Option<OneOrMore>,
    /// Rows to insert.
    pub insert: Option<Insert>,
    /// Remember the inserted rows, once acknowledged, under this name.
    pub ledger: Option<String>,
    /// Every row of that ledger is there.
    pub verify_ledger: Option<String>,
    /// A query.
    pub query: Option<String>,
    /// Its rows, each cell as text.
    pub rows: Option<Vec<Vec<String>>>,
    /// The server lets nobody in with this user and password.
    pub refused: bool,
    /// What to keep: `$rows`.
    pub outputs: Vec<Output>,
    /// Limit of its own.
    pub timeout: Option<String>,
}

/// Whose database: an object that the operator under test knows, or a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Target {
    /// Kind of the object.
    pub kind: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// Labels of the pod.
    pub selector: Option<String>,
    /// User; `root` unless told.
    pub user: Option<String>,
    /// Password; the object's unless told.
    pub password: Option<String>,
    /// Database; the object's unless told.
    pub database: Option<String>,
}

/// One statement or a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// A list.
    More(Vec<String>),
}

/// Rows to insert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Insert {
    /// The table.
    pub into: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// Numbers, texts and nulls.
    pub rows: Vec<Vec<Value>>,
}

/// What holds for some time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Hold {
    /// How long.
    pub r#for: String,
    /// This client writes nothing: `operator`.
    pub no_writes_by: Option<String>,
    /// An object is as the fragment says, all the time.
    pub assert: Option<Assert>,
}

/// What happens to the operator under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OperatorAction {
    /// It starts.
    Start,
    /// It is told to end, and ends.
    Stop,
    /// It ends where it stands, as in a crash.
    Kill,
    /// It is killed and started again.
    Restart,
}

/// What goes wrong: exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Fault {
    /// The operator crashes and is started again; at a request of its own with `on`, else now.
    pub crash_operator: Option<Empty>,
    /// Pods vanish without any grace; at a request with `on`, else now.
    pub kill_pod: Option<PodSelector>,
    /// The API server forgets the past: watches that resume get 410 Gone. Simulated clusters only.
    pub forget_history: Option<Empty>,
    /// A request of the operator is answered with this code. Needs `on`.
    pub error: Option<u16>,
    /// A write of the operator is done, and its answer is lost. Needs `on`.
    pub lose_response: Option<Empty>,
    /// A request of the operator is answered with a conflict. Needs `on`.
    pub conflict: Option<Empty>,
    /// A watch of the operator begins with 410 Gone. Needs `on`.
    pub gone410: Option<Empty>,
    /// Events of a watch are kept from the operator; then the watch ends with 410. Needs `on`.
    pub drop_events: Option<DropEvents>,
    /// From an event on, a watch tells everything later. Needs `on`.
    pub lag_watch: Option<LagWatch>,
    /// Somebody else takes a Lease; at a request with `on`, else now.
    pub expire_lease: Option<LeaseName>,
    /// Not there: the clock of pods and of the operator is the machine's.
    pub advance_time: Option<Value>,
    /// At which request of the operator, or at which event of its watches.
    pub on: Option<FaultTrigger>,
}

/// Which events are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DropEvents {
    /// How many, one after another; 1 unless told.
    pub count: Option<usize>,
}

/// How late a watch becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LagWatch {
    /// By how much: `2s`.
    pub by: String,
}

/// A Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LeaseName {
    /// Its name.
    pub name: String,
    /// Its namespace; the scenario's unless told.
    pub namespace: Option<String>,
}

/// At which request of the operator a fault strikes, or at which event of its watches. What is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct FaultTrigger {
    /// `create`, `update`, `patch`, `delete`, `deletecollection`, `get`, `list`, `watch`.
    pub verb: Option<String>,
    /// The resource with its group, and with a subresource if it is one: `jobs.batch`, `pods`, `mysqls.otus.homework/status`.
    pub resource: Option<String>,
    /// The name, of the object that an event is about too; after `~`, a regular expression.
    pub name: Option<String>,
    /// Before the cluster sees the request, or after it did what was asked.
    pub when: FaultTime,
    /// The first such request or event, unless told.
    pub occurrence: Option<usize>,
}

/// On which side of the write a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultTime {
    /// The cluster never sees the request.
    #[default]
    Before,
    /// The cluster has done it.
    AfterCommit,
}

/// Which faults shall have fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultsFired {
    /// All that were armed.
    All,
}

/// Pods by labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodSelector {
    /// As kubectl's `-l`.
    pub selector: String,
}

impl Fault {
    /// What goes wrong; a valid one has one.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names = self.not_there();
        let there = [
            (self.crash_operator.is_some(), "crashOperator"),
            (self.kill_pod.is_some(), "killPod"),
            (self.forget_history.is_some(), "forgetHistory"),
            (self.error.is_some(), "error"),
            (self.lose_response.is_some(), "loseResponse"),
            (self.conflict.is_some(), "conflict"),
            (self.gone410.is_some(), "gone410"),
            (self.drop_events.is_some(), "dropEvents"),
            (self.lag_watch.is_some(), "lagWatch"),
            (self.expire_lease.is_some(), "expireLease"),
        ];
        names.extend(
            there
                .into_iter()
                .filter(|(is, _)| *is)
                .map(|(_, name)| name),
        );
        names
    }

    /// What no cluster here can do.
    pub fn not_there(&self) -> Vec<&'static str> {
        self.advance_time.iter().map(|_| "advanceTime").collect()
    }

    /// Whether it strikes at events of a watch.
    pub fn is_in_streams(&self) -> bool {
        self.drop_events.is_some() || self.lag_watch.is_some()
    }
}
