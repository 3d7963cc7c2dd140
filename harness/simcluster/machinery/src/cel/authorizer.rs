//! The variable `authorizer`: expressions that ask what somebody may do.
//!
//! Here is the language of the question; who answers it is the caller's (see [`Authorizer`]). Field and
//! label selectors may be named and change nothing: no role looks at them.

use std::{fmt, sync::Arc};

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Opaque;
use kube_cel::cel::{Context, ExecutionError, Value};

/// Answers questions of expressions.
pub trait Authorizer: Send + Sync {
    /// Whether it is allowed.
    fn allows(&self, question: &Question) -> bool;
}

/// What an expression asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The namespace and name of a service account, when it is not about who makes the request.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Part of the object.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// What would be done.
    pub verb: String,
}

/// How far a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Anyone,
    Path,
    Group,
    Resource,
    Decided(bool),
}

/// A question on its way, as a value of the language.
#[derive(Clone)]
struct Asking {
    authorizer: Arc<dyn Authorizer>,
    stage: Stage,
    question: Question,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.stage, self.question)
    }
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.stage == other.stage && self.question == other.question
    }
}

impl Eq for Asking {}

pub(super) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(super) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(super) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(super) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(super) const DECISION: &str = "kubernetes.authorization.Decision";
/// The name under which `authorizer.requestResource` is kept.
pub(super) const REQUEST_RESOURCE: &str = "@authorizer_request_resource";

impl Opaque for Asking {
    fn runtime_type_name(&self) -> &str {
        match self.stage {
            Stage::Anyone => AUTHORIZER,
            Stage::Path => PATH_CHECK,
            Stage::Group => GROUP_CHECK,
            Stage::Resource => RESOURCE_CHECK,
            Stage::Decided(_) => DECISION,
        }
    }
}

impl Asking {
    fn value(self) -> Value {
        Value::Opaque(Arc::new(self))
    }

    fn at(value: &Value, stages: &[Stage]) -> Result<Self, ExecutionError> {
        let asking = match value {
            Value::Opaque(opaque) => opaque.downcast_ref::<Self>(),
            _ => None,
        };
        asking
            .filter(|asking| stages.contains(&asking.stage))
            .cloned()
            .ok_or(ExecutionError::NoSuchOverload)
    }
}

/// The values of `authorizer` and of `authorizer.requestResource`.
pub(super) fn variables(authorizer: &Arc<dyn Authorizer>, request: Question) -> (Value, Value) {
    let asking = |stage, question| Asking {
        authorizer: Arc::clone(authorizer),
        stage,
        question,
    };
    (
        asking(Stage::Anyone, Question::default()).value(),
        asking(Stage::Resource, request).value(),
    )
}

type Answer = Result<Value, ExecutionError>;

/// Adds the functions of the library.
pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("path", |This(this): This<Value>, path: Arc<String>| {
        step(&this, &[Stage::Anyone], Stage::Path, |question| {
            question.path = Some((*path).clone());
        })
    });
    context.add_function("group", |This(this): This<Value>, group: Arc<String>| {
        step(&this, &[Stage::Anyone], Stage::Group, |question| {
            (*group).clone_into(&mut question.group);
        })
    });
    context.add_function(
        "serviceAccount",
        |This(this): This<Value>, namespace: Arc<String>, name: Arc<String>| {
            step(&this, &[Stage::Anyone], Stage::Anyone, |question| {
                question.service_account = Some(((*namespace).clone(), (*name).clone()));
            })
        },
    );
    context.add_function("resource", |This(this): This<Value>, name: Arc<String>| {
        step(&this, &[Stage::Group], Stage::Resource, |question| {
            (*name).clone_into(&mut question.resource);
        })
    });
    context.add_function("subresource", |This(this): This<Value>, of: Arc<String>| {
        of_resource(&this, |question| {
            (*of).clone_into(&mut question.subresource);
        })
    });
    context.add_function("namespace", |This(this): This<Value>, of: Arc<String>| {
        of_resource(&this, |question| (*of).clone_into(&mut question.namespace))
    });
    context.add_function("name", |This(this): This<Value>, of: Arc<String>| {
        of_resource(&this, |question| (*of).clone_into(&mut question.name))
    });
    for selector in ["fieldSelector", "labelSelector"] {
        context.add_function(selector, |This(this): This<Value>, _: Arc<String>| {
            of_resource(&this, |_| {})
        });
    }
    context.add_function("check", |This(this): This<Value>, verb: Arc<String>| {
        check(&this, &verb)
    });
    context.add_function("allowed", |This(this): This<Value>| {
        decided(&this).map(Value::Bool)
    });
    context.add_function("errored", |This(this): This<Value>| {
        decided(&this).map(|_| Value::Bool(false))
    });
    for text in ["reason", "error"] {
        context.add_function(text, |This(this): This<Value>| {
            decided(&this).map(|_| Value::String(Arc::default()))
        });
    }
}

fn step(this: &Value, from: &[Stage], to: Stage, change: impl FnOnce(&mut Question)) -> Answer {
    let mut asking = Asking::at(this, from)?;
    change(&mut asking.question);
    asking.stage = to;
    Ok(asking.value())
}

fn of_resource(this: &Value, change: impl FnOnce(&mut Question)) -> Answer {
    step(this, &[Stage::Resource], Stage::Resource, change)
}

fn check(this: &Value, verb: &str) -> Answer {
    let mut asking = Asking::at(this, &[Stage::Path, Stage::Resource])?;
    verb.clone_into(&mut asking.question.verb);
    asking.stage = Stage::Decided(asking.authorizer.allows(&asking.question));
    Ok(asking.value())
}

fn decided(this: &Value) -> Result<bool, ExecutionError> {
    let stages = [Stage::Decided(true), Stage::Decided(false)];
    match Asking::at(this, &stages)?.stage {
        Stage::Decided(allowed) => Ok(allowed),
        _ => Err(ExecutionError::NoSuchOverload),
    }
}
