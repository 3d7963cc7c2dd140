//! Which writes a webhook or an admission policy concerns: rules, selectors, and conditions in CEL.
//!
//! A rule may name another version of the same objects (`matchPolicy: Equivalent`); then that is the
//! version that is shown. Not here: what becomes of a write that is concerned.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use simcluster_auth::rbac::{Attributes, Policy};
use simcluster_kinds::admission_cel;
use simcluster_machinery::{
    apply::packed,
    cel::{Authorizer, Expression, Gives, Known, Question, Variables},
    kind::GroupVersionKind,
    selector::LabelSelector,
    status::Status,
};

use super::webhooks::Write;
use crate::server::{Failure, call::Call, convert, identity::Identity, registry::Resource};

/// A write as somebody sees it: perhaps in another version than it was made in.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The resource in the version that is shown.
    pub(super) resource: Arc<Resource>,
    pub(super) object: Option<Value>,
    pub(super) old: Option<Value>,
}

/// What is exempt, so that nobody locks themselves out, and what is never stored.
pub(super) fn is_exempt(call: &Call) -> bool {
    let group = call.resource.name.group.as_str();
    group == "admissionregistration.k8s.io"
        || matches!(group, "authentication.k8s.io" | "authorization.k8s.io")
}

/// Whether namespace and object are selected.
pub(super) fn selected(call: &Call, by: &Value, write: Write<'_>, object: Option<&Value>) -> bool {
    let selects = |field: &str, object: &Value| {
        LabelSelector::from_object(Some(&by[field]).filter(|selector| selector.is_object()))
            .map_or(true, |selector| {
                by[field].is_null() || selector.matches_object(object)
            })
    };
    let namespace_fits = if call.resource.is("", "namespaces") {
        object
            .or(write.old)
            .is_none_or(|own| selects("namespaceSelector", own))
    } else if call.resource.namespaced {
        let namespace = namespace(call);
        namespace.is_none_or(|namespace| selects("namespaceSelector", &namespace))
    } else {
        true
    };
    let mut objects = object.into_iter().chain(write.old);
    namespace_fits && objects.any(|one| selects("objectSelector", one))
}

fn namespace(call: &Call) -> Option<Value> {
    let store = call.server.store.read();
    let namespace = store.get("/namespaces", &call.route.namespace)?;
    Some(namespace.value().clone())
}

/// The resource, in its own or an equivalent version, that one of the rules names.
pub(super) fn by_rules(
    call: &Call,
    rules: &Value,
    policy: &Value,
    operation: &str,
) -> Option<Arc<Resource>> {
    let rules = rules.as_array()?;
    if (rules.iter()).any(|rule| rule_matches(call, &call.resource, rule, operation)) {
        return Some(Arc::clone(&call.resource));
    }
    if policy == "Exact" {
        return None;
    }
    let registry = call.server.registry();
    let mut all = registry
        .groups()
        .flat_map(|group| &group.versions)
        .flat_map(|version| &version.resources);
    all.find(|other| {
        other.collection == call.resource.collection
            && (rules.iter()).any(|rule| rule_matches(call, other, rule, operation))
    })
    .cloned()
}

fn rule_matches(call: &Call, resource: &Resource, rule: &Value, operation: &str) -> bool {
    let has = |field: &str, wanted: &str| {
        let list = rule[field].as_array();
        list.into_iter()
            .flatten()
            .any(|one| one == wanted || one == "*")
    };
    let sub = call.route.subresource.as_str();
    let resources = rule["resources"].as_array();
    let resource_fits = resources.into_iter().flatten().any(|one| {
        let one = one.as_str().unwrap_or_default();
        let (name, part) = one.split_once('/').unwrap_or((one, ""));
        (name == "*" || name == resource.name.resource) && (part == "*" || part == sub)
    });
    let scope_fits = match rule["scope"].as_str() {
        Some("Namespaced") => resource.namespaced,
        Some("Cluster") => !resource.namespaced,
        _ => true,
    };
    has("operations", operation)
        && has("apiGroups", &resource.kind.group)
        && has("apiVersions", &resource.kind.version)
        && resource_fits
        && scope_fits
}

/// The write in the version of `resource`.
pub(super) async fn seen_as(
    call: &Call,
    resource: &Arc<Resource>,
    write: Write<'_>,
    object: Option<&Value>,
) -> Result<Seen, Failure> {
    Ok(Seen {
        object: in_version(call, resource, write.kind, object).await?,
        old: in_version(call, resource, write.kind, write.old).await?,
        resource: Arc::clone(resource),
    })
}

async fn in_version(
    call: &Call,
    resource: &Arc<Resource>,
    kind: Option<&GroupVersionKind>,
    value: Option<&Value>,
) -> Result<Option<Value>, Failure> {
    Ok(match value {
        // What is not an object of the resource has no other version.
        Some(value) if kind.is_none() && !Arc::ptr_eq(resource, &call.resource) => {
            let mut value = convert::to_version(&call.server, resource, value.clone()).await?;
            packed::unpack(&mut value);
            Some(value)
        }
        value => value.map(|value| packed::unpacked(value).into_owned()),
    })
}

/// What is asked about a write, without the objects.
pub(super) fn request(call: &Call, seen: &Resource, write: Write<'_>, name: &str) -> Value {
    let kind = |own: &Resource| {
        let kind = write.kind.unwrap_or(&own.kind);
        json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
    };
    let resource = |own: &Resource| {
        json!({
            "group": own.kind.group, "version": own.kind.version,
            "resource": own.name.resource,
        })
    };
    let options = match write.operation {
        "CREATE" => "CreateOptions",
        "DELETE" => "DeleteOptions",
        _ if call.method == http::Method::PATCH => "PatchOptions",
        _ => "UpdateOptions",
    };
    let mut options = json!({"kind": options, "apiVersion": "meta.k8s.io/v1"});
    if write.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    if write.operation == "CONNECT" {
        options = Value::Null;
    }
    let mut request = json!({
        "kind": kind(seen), "resource": resource(seen),
        "requestKind": kind(&call.resource), "requestResource": resource(&call.resource),
        "operation": write.operation,
        "userInfo": call.identity.user_info(),
        "dryRun": write.dry_run, "options": options,
    });
    if !call.route.subresource.is_empty() {
        request["subResource"] = call.route.subresource.as_str().into();
        request["requestSubResource"] = call.route.subresource.as_str().into();
    }
    if !name.is_empty() {
        request["name"] = name.into();
    }
    if call.resource.namespaced {
        request["namespace"] = call.route.namespace.as_str().into();
    }
    request
}

/// The name that a write is about.
pub(super) fn name<'v>(write: Write<'v>, object: Option<&'v Value>) -> &'v str {
    if !write.name.is_empty() {
        return write.name;
    }
    let named = object.or(write.old);
    named
        .and_then(|one| one["metadata"]["name"].as_str())
        .unwrap_or_default()
}

/// Gives what somebody changed the defaults of its kind.
pub(super) fn set_defaults(call: &Call, write: Write<'_>, object: &mut Value) {
    if write.kind.is_none() {
        call.resource.rules().default(object);
    }
}

/// The values of variables in expressions about a write; `params` when there may be some.
pub(super) fn variables(
    call: &Call,
    seen: &Seen,
    write: Write<'_>,
    params: Option<&Value>,
) -> Variables {
    let mut scope = Variables::default();
    let null = Value::Null;
    scope.set("object", seen.object.as_ref().unwrap_or(&null));
    scope.set("oldObject", seen.old.as_ref().unwrap_or(&null));
    let own = name(write, seen.object.as_ref()).to_owned();
    let mut request = request(call, &seen.resource, write, &own);
    for field in ["subResource", "requestSubResource", "name", "namespace"] {
        if request[field].is_null() {
            request[field] = "".into();
        }
    }
    scope.set("request", &request);
    let namespaced = call.resource.namespaced;
    let namespace = namespaced.then(|| namespace(call)).flatten();
    scope.set("namespaceObject", &namespace.unwrap_or_default());
    if let Some(params) = params {
        scope.set("params", params);
    }
    let authorizer: Arc<dyn Authorizer> = Arc::new(Roles {
        policy: call.server.policy.current(&call.server.store),
        identity: call.identity.clone(),
    });
    let route = &call.route;
    let asked = Question {
        group: route.group.clone(),
        resource: route.resource.clone(),
        subresource: route.subresource.clone(),
        namespace: route.namespace.clone(),
        name: own,
        ..Question::default()
    };
    scope.set_authorizer(&authorizer, asked);
    scope
}

/// Answers expressions that ask what somebody may do.
struct Roles {
    policy: Arc<Policy>,
    identity: Identity,
}

impl Authorizer for Roles {
    fn allows(&self, question: &Question) -> bool {
        let identity = match &question.service_account {
            Some((namespace, name)) => Identity::service_account(namespace, name),
            None => self.identity.clone(),
        };
        self.policy.allows(&Attributes {
            user: identity.user,
            groups: identity.groups,
            verb: question.verb.clone(),
            group: question.group.clone(),
            resource: question.resource.clone(),
            subresource: question.subresource.clone(),
            name: question.name.clone(),
            namespace: question.namespace.clone(),
            path: question.path.clone(),
        })
    }
}

/// Gives the scope the variables that a policy defines; what is known of all of them.
pub(super) fn define(
    spec: &Value,
    has_params: bool,
    scope: &mut Variables,
) -> Result<BTreeMap<String, Known>, Failure> {
    let mut known = admission_cel::known(has_params);
    let mut kinds = BTreeMap::new();
    for variable in spec["variables"].as_array().into_iter().flatten() {
        known.insert("variables".to_owned(), Known::Results(kinds.clone()));
        let text = |field: &str| variable[field].as_str().unwrap_or_default();
        let expression = compile(text("expression"), &known, Gives::Anything)?;
        scope.compute(text("name"), &expression);
        kinds.insert(text("name").to_owned(), expression.kind());
    }
    known.insert("variables".to_owned(), Known::Results(kinds));
    Ok(known)
}

/// Compiles what was checked when it was stored.
pub(super) fn compile(
    text: &str,
    known: &BTreeMap<String, Known>,
    gives: Gives,
) -> Result<Expression, Failure> {
    Expression::compile(text, known, gives)
        .map_err(|why| Box::new(Status::internal(&format!("compilation error: {why}"))))
}

/// Whether all conditions hold. One that does not decides; failures count when all others hold.
pub(super) fn conditions_hold(
    conditions: &Value,
    scope: &Variables,
    has_params: bool,
) -> Result<Result<bool, String>, Failure> {
    let known = admission_cel::known(has_params);
    let mut failures = Vec::new();
    for condition in conditions.as_array().into_iter().flatten() {
        let text = condition["expression"].as_str().unwrap_or_default().trim();
        match compile(text, &known, Gives::Condition)?.holds(scope) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(false)),
            Err(why) => failures.push(why),
        }
    }
    if failures.is_empty() {
        return Ok(Ok(true));
    }
    let why = simcluster_machinery::status::aggregate(failures.into_iter());
    Ok(Err(why))
}
