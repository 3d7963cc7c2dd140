//! What the types of a scenario file cannot say, looked at before anything runs.
//!
//! Pure but for the question whether named files exist.

use serde_json::Value;

use super::{
    action::Action,
    assertion::expressions,
    duration,
    expression::{self, Compiler},
    model::{Apply, Assert, Binding, Fault, FaultTime, Operation, Requirements, Step},
    parse::{Loaded, load_template},
};

/// The clusters that `backends` may name.
const BACKENDS: [&str; 5] = ["simulated", "existing", "k3s", "embedded", "kubeconfig"];

/// Everything that is wrong, each with its place: `steps[1].try[0].assert: …`.
pub fn lint(loaded: &Loaded) -> Vec<String> {
    let document = &loaded.document;
    let spec = &document.spec;
    let mut linter = Linter {
        loaded,
        ours: document.kind == "Scenario",
        compiler: spec.compiler.unwrap_or_default(),
        found: Vec::new(),
    };
    if document.metadata.name.is_empty() {
        linter.say("metadata", "a scenario needs a name");
    }
    if spec.steps.is_empty() {
        linter.say("spec", "there are no steps, so nothing is proved");
    }
    for name in &spec.backends {
        if !BACKENDS.contains(&name.as_str()) {
            let known = BACKENDS[..3].join(", ");
            linter.say(
                "backends",
                &format!("there is no cluster {name:?}; there are {known}"),
            );
        }
    }
    if let Some(mysqld) = &spec.requires.mysqld
        && mysqld != "real"
    {
        linter.say(
            "requires",
            &format!("mysqld {mysqld:?} is not there; only real"),
        );
    }
    if !linter.ours && (!spec.backends.is_empty() || spec.requires != Requirements::default()) {
        linter.say("spec", "`backends` and `requires` are for kind Scenario");
    }
    linter.cluster("spec", spec.cluster.as_ref());
    linter.bindings("spec", &spec.bindings);
    let mut names = Vec::new();
    for (index, step) in spec.steps.iter().enumerate() {
        if !step.name.is_empty() && names.contains(&&step.name) {
            linter.say(
                &format!("steps[{index}]"),
                &format!("another step is called {:?} too", step.name),
            );
        }
        names.push(&step.name);
        linter.step(&format!("steps[{index}]"), step);
    }
    linter.operations("catch", &spec.catch);
    linter.found
}

struct Linter<'a> {
    loaded: &'a Loaded,
    ours: bool,
    /// The language of expressions in the operation that is looked at.
    compiler: Compiler,
    found: Vec<String>,
}

impl Linter<'_> {
    fn say(&mut self, place: &str, problem: &str) {
        self.found.push(format!("{place}: {problem}"));
    }

    fn step(&mut self, place: &str, step: &Step) {
        let all = [
            ("try", &step.r#try),
            ("catch", &step.catch),
            ("finally", &step.finally),
            ("cleanup", &step.cleanup),
        ];
        if all.iter().all(|(_, operations)| operations.is_empty()) && step.r#use.is_none() {
            self.say(place, "the step does nothing");
        }
        let outer = self.compiler;
        self.compiler = step.compiler.unwrap_or(outer);
        self.bindings(place, &step.bindings);
        self.cluster(place, step.cluster.as_ref());
        if let Some(template) = &step.r#use {
            match load_template(&self.loaded.folder.join(&template.template)) {
                Ok(template) => self.step(&format!("{place}.use"), &template.spec),
                Err(error) => self.say(&format!("{place}.use"), &error.to_string()),
            }
        }
        for (name, operations) in all {
            self.operations(&format!("{place}.{name}"), operations);
        }
        self.compiler = outer;
    }

    fn operations(&mut self, place: &str, operations: &[Operation]) {
        for (index, operation) in operations.iter().enumerate() {
            let place = format!("{place}[{index}]");
            let outer = self.compiler;
            self.compiler = operation.compiler.unwrap_or(outer);
            match Action::all(operation).as_slice() {
                [action] => self.action(&format!("{place}.{}", action.name()), *action),
                [] => self.say(&place, "the operation has no action"),
                several => {
                    let names: Vec<_> = several.iter().map(|action| action.name()).collect();
                    let names = names.join(" and ");
                    self.say(&place, &format!("one action each, but here are {names}"));
                }
            }
            self.compiler = outer;
        }
    }

    fn action(&mut self, place: &str, action: Action<'_>) {
        if action.is_ours() && !self.ours {
            self.say(place, "chainsaw does not have it; write kind: Scenario");
        }
        self.bindings(place, action.bindings());
        self.cluster(place, action.cluster());
        match action {
            Action::Apply(a) | Action::Create(a) | Action::Update(a) | Action::Patch(a) => {
                self.apply(place, a);
            }
            Action::Assert(a) | Action::Error(a) => self.assert(place, a),
            Action::Delete(delete) => {
                if delete.file.is_some() == delete.r#ref.is_some() {
                    self.say(place, "give either `file` or `ref`");
                }
                self.file(place, delete.file.as_ref());
                self.time(place, delete.timeout.as_ref());
            }
            Action::Wait(wait) => {
                let wanted = [
                    wait.r#for.creation.is_some(),
                    wait.r#for.deletion.is_some(),
                    wait.r#for.condition.is_some(),
                    wait.r#for.json_path.is_some(),
                ];
                if wanted.iter().filter(|is| **is).count() != 1 {
                    self.say(
                        place,
                        "`for` has one of creation, deletion, condition, jsonPath",
                    );
                }
                self.time(place, wait.timeout.as_ref());
            }
            Action::Sleep(sleep) => {
                if self.ours {
                    self.say(place, "do not sleep: assert what you wait for, or `hold`");
                }
                self.time(place, Some(&sleep.duration));
            }
            Action::Hold(hold) => {
                self.time(place, Some(&hold.r#for));
                if hold.assert.is_none() && hold.no_writes_by.is_none() {
                    self.say(place, "nothing holds: give `assert` or `noWritesBy`");
                }
                if let Some(assert) = &hold.assert {
                    self.assert(place, assert);
                }
            }
            Action::Sql(sql) => {
                if sql.ledger.is_some() && sql.insert.is_none() {
                    self.say(place, "`ledger` remembers the rows of `insert`");
                }
                if sql.rows.is_some() && sql.query.is_none() {
                    self.say(place, "`rows` are those of `query`");
                }
                self.time(place, sql.timeout.as_ref());
            }
            Action::Fault(fault) => self.fault(place, fault),
            Action::Command(command) => {
                self.checked(place, command.check.as_ref());
                self.time(place, command.timeout.as_ref());
            }
            Action::Script(script) => {
                self.checked(place, script.check.as_ref());
                self.time(place, script.timeout.as_ref());
            }
            Action::Proxy(proxy) => {
                if !["Pod", "Service"].contains(&proxy.kind.as_str()) {
                    self.say(place, "a Pod or a Service can be asked, nothing else");
                }
                self.time(place, proxy.timeout.as_ref());
            }
            Action::Events(look)
            | Action::PodLogs(look)
            | Action::Get(look)
            | Action::Describe(look) => {
                if look
                    .format
                    .as_deref()
                    .is_some_and(|format| !["json", "yaml"].contains(&format))
                {
                    self.say(place, "`format` is json or yaml");
                }
                self.time(place, look.timeout.as_ref());
            }
            Action::Operator(_) | Action::FaultsFired(_) => {}
        }
    }

    /// A scenario has one cluster; only the empty name means it.
    fn cluster(&mut self, place: &str, cluster: Option<&String>) {
        let others = |name: &String| !name.is_empty() && expression::in_parentheses(name).is_none();
        if cluster.is_some_and(others) {
            self.say(
                place,
                "a scenario has one cluster: `cluster` and `clusters` are not there yet",
            );
        }
    }

    fn bindings(&mut self, place: &str, bindings: &[Binding]) {
        let outer = self.compiler;
        for binding in bindings {
            self.compiler = binding.compiler.unwrap_or(outer);
            self.checked(&format!("{place}.bindings"), Some(&binding.value));
        }
        self.compiler = outer;
    }

    fn fault(&mut self, place: &str, fault: &Fault) {
        const VERBS: [&str; 8] = [
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
            "get",
            "list",
            "watch",
        ];
        for name in fault.not_there() {
            let why = "the clock of pods and of the operator is the machine's, and cannot be moved";
            self.say(place, &format!("`{name}` is not there: {why}"));
        }
        self.time(place, fault.lag_watch.as_ref().map(|lag| &lag.by));
        if fault
            .drop_events
            .as_ref()
            .is_some_and(|drop| drop.count == Some(0))
        {
            self.say(place, "events that are dropped are counted from 1");
        }
        if fault
            .expire_lease
            .as_ref()
            .is_some_and(|lease| lease.name.is_empty())
        {
            self.say(place, "say which Lease: `name`");
        }
        if fault.names().len() != 1 {
            self.say(place, "one fault at a time");
        }
        let at_a_request = fault.error.is_some()
            || fault.lose_response.is_some()
            || fault.conflict.is_some()
            || fault.gone410.is_some()
            || fault.is_in_streams();
        let Some(on) = &fault.on else {
            if at_a_request {
                self.say(place, "say at which request of the operator: `on`");
            }
            return;
        };
        if fault.forget_history.is_some() {
            self.say(place, "`forgetHistory` happens at once, without `on`");
        }
        if let Some(verb) = &on.verb
            && !VERBS.contains(&verb.as_str())
        {
            self.say(
                place,
                &format!("{verb:?} is no verb; they are {}", VERBS.join(", ")),
            );
        }
        if on.verb.as_deref() != Some("watch") {
            if fault.gone410.is_some() {
                self.say(place, "`gone410` is for `verb: watch`");
            }
            if fault.is_in_streams() {
                self.say(place, "it strikes at events of a watch: `verb: watch`");
            }
        }
        let reads = ["get", "list", "watch"].map(Some);
        if on.when == FaultTime::AfterCommit && reads.contains(&on.verb.as_deref()) {
            self.say(place, "`afterCommit` is for writes");
        }
        if on.occurrence == Some(0) {
            self.say(place, "occurrences are counted from 1");
        }
        if let Some(Err(problem)) = on.name.as_deref().map(crate::faults::name_pattern) {
            self.say(place, &problem);
        }
        if fault.error.is_some_and(|code| !(400..600).contains(&code)) {
            self.say(place, "an error is a code from 400 to 599");
        }
    }

    fn apply(&mut self, place: &str, apply: &Apply) {
        if apply.file.is_some() == apply.resource.is_some() {
            self.say(place, "give either `file` or `resource`");
        }
        self.file(place, apply.file.as_ref());
        self.time(place, apply.timeout.as_ref());
        self.checked(place, apply.resource.as_ref());
        for expectation in &apply.expect {
            self.checked(place, Some(&expectation.check));
        }
    }

    fn assert(&mut self, place: &str, assert: &Assert) {
        if assert.file.is_some() == assert.resource.is_some() {
            self.say(place, "give either `file` or `resource`");
        }
        self.file(place, assert.file.as_ref());
        self.time(place, assert.timeout.as_ref());
        self.checked(place, assert.resource.as_ref());
    }

    fn checked(&mut self, place: &str, tree: Option<&Value>) {
        let mut all = Vec::new();
        if let Some(tree) = tree {
            expressions(tree, &mut all);
        }
        for text in all {
            if let Err(error) = expression::check(&text, self.compiler) {
                self.say(place, &error.to_string());
            }
        }
    }

    fn file(&mut self, place: &str, file: Option<&String>) {
        let Some(file) = file else {
            return;
        };
        // A name that is an expression is known only when it runs.
        if expression::in_parentheses(file).is_some() {
            return;
        }
        let is_there = super::run::files(&self.loaded.folder, file)
            .is_ok_and(|files| files.iter().all(|file| file.exists()));
        if !is_there {
            self.say(place, &format!("there is no file {file}"));
        }
    }

    fn time(&mut self, place: &str, text: Option<&String>) {
        if let Some(Err(problem)) = text.map(|text| duration::parse(text)) {
            self.say(place, &problem);
        }
    }
}
