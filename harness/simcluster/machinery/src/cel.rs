//! Rules in CEL: `x-kubernetes-validations` compiled once per version and run against objects.
//!
//! The interpreter and the extension libraries come from the crates `cel` and `kube-cel`. The
//! interpreter has no types, so [`check`] adds what users meet when they write a rule: unknown
//! fields and names, arguments of the wrong type, rules that are no condition. What a rule may cost
//! is not estimated.

pub mod admission;
mod authorizer;
mod check;
mod cost;
mod expression;
mod path;
mod run;
mod source;
mod types;
mod value;

use std::collections::BTreeMap;

use kube_cel::cel::IdedExpr;
use serde_json::Value;

use crate::field::{Error, ErrorKind, Path};
use crate::schema::{AdditionalProperties, SchemaRef, Type, ValidationRule};
use crate::validate::correlated;

pub use authorizer::{Authorizer, Question};
pub use check::{CheckError, Checked, check};
pub use expression::{Expression, Gives, Kind, Known, Variables};
pub use path::field_path;

/// The rules of a schema and of everything below it, ready to run.
#[derive(Debug)]
pub struct Rules {
    schema: SchemaRef,
    /// Whether values here are objects with `apiVersion`, `kind` and `metadata`.
    is_object: bool,
    own: Vec<Rule>,
    properties: BTreeMap<String, Rules>,
    additional_properties: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

#[derive(Debug)]
struct Rule {
    said: ValidationRule,
    /// The parsed rule, or why there is none.
    program: Result<IdedExpr, String>,
    message: Option<IdedExpr>,
    uses_old_self: bool,
    /// The place to blame, relative to the rule's.
    field: Option<Path>,
}

/// What is told when the rules for one object cost too much together.
const OUT_OF_BUDGET: &str = "validation failed due to running out of cost budget, no further validation rules will be \
                             run";

/// What was found so far, and what the rest may cost.
struct Found {
    errors: Vec<Error>,
    /// Below zero when no further rule runs.
    budget: i64,
}

impl Found {
    fn is_over(&self) -> bool {
        self.budget < 0
    }

    fn stop(&mut self, error: Error) {
        self.errors.push(error);
        self.budget = -1;
    }
}

impl Rules {
    /// Compiles all rules of a schema; nothing when it has none. `root` says that values are whole
    /// objects.
    pub fn compile(schema: &SchemaRef, root: bool) -> Option<Self> {
        let is_object = root || schema.embedded_resource;
        let compile = |schema: &SchemaRef| Self::compile(schema, false);
        let properties = schema.properties.iter();
        // Metadata of the object itself has no rules.
        let properties = properties.filter(|(name, _)| !(root && is_of_object(name)));
        let properties: BTreeMap<String, Self> = properties
            .filter_map(|(name, property)| Some((name.clone(), compile(property)?)))
            .collect();
        let additional_properties = match &schema.additional_properties {
            AdditionalProperties::Schema(values) => compile(values).map(Box::new),
            _ => None,
        };
        let rules = Self {
            schema: schema.clone(),
            is_object,
            own: schema
                .validations
                .iter()
                .map(|rule| Rule::new(rule, schema))
                .collect(),
            properties,
            additional_properties,
            items: schema.items.as_ref().and_then(compile).map(Box::new),
        };
        let empty = rules.own.is_empty()
            && rules.properties.is_empty()
            && rules.additional_properties.is_none()
            && rules.items.is_none();
        (!empty).then_some(rules)
    }

    /// All rules that do not hold for an object. `old` is the object before an update.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Error> {
        self.validate_at(object, old, &Path::root())
    }

    /// The same for a value at some place.
    pub fn validate_at(&self, value: &Value, old: Option<&Value>, path: &Path) -> Vec<Error> {
        self.validate_within(cost::BUDGET, value, old, path)
    }

    fn validate_within(
        &self,
        budget: i64,
        value: &Value,
        old: Option<&Value>,
        path: &Path,
    ) -> Vec<Error> {
        let mut found = Found {
            errors: Vec::new(),
            budget,
        };
        self.walk(value, old, false, path, &mut found);
        found.errors
    }

    /// `unchanged` tells of a value without an old one whether what it is a part of has stayed the
    /// same: an update is forgiven what was wrong before.
    fn walk(
        &self,
        value: &Value,
        old: Option<&Value>,
        unchanged: bool,
        path: &Path,
        found: &mut Found,
    ) {
        if found.is_over() || (value.is_null() && self.schema.nullable) {
            return;
        }
        let unchanged = old.map_or(unchanged, |old| old == value);
        if !self.own.is_empty() {
            self.run(value, old, unchanged, path, found);
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(rules) = self.properties.get(name) {
                        rules.walk(field, old, unchanged, &path.child(name), found);
                    } else if let Some(rules) = &self.additional_properties {
                        rules.walk(field, old, unchanged, &path.key(name), found);
                    }
                }
            }
            Value::Array(items) => {
                let Some(rules) = &self.items else {
                    return;
                };
                for (index, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| correlated(item, old, &self.schema));
                    rules.walk(item, old, unchanged, &path.index(index), found);
                }
            }
            _ => {}
        }
    }

    fn run(
        &self,
        value: &Value,
        old: Option<&Value>,
        unchanged: bool,
        path: &Path,
        found: &mut Found,
    ) {
        let this = value::convert(value, &self.schema, self.is_object);
        let old = old.filter(|_| self.own.iter().any(|rule| rule.uses_old_self));
        let old = old.map(|old| {
            let old = value::aligned(old, value, &self.schema);
            value::convert(&old, &self.schema, self.is_object)
        });
        let kind = self.schema.kind.map_or("", Type::as_str);
        for rule in &self.own {
            let optional = rule.said.optional_old_self.unwrap_or(false);
            if rule.uses_old_self && old.is_none() && !optional {
                continue;
            }
            let scope = run::Scope::new(&this, old.as_ref(), optional);
            let (held, cost) = match &rule.program {
                Ok(program) => scope.condition(program),
                Err(why) => (Err(format!("rule compile error: {why}")), 0),
            };
            if cost > found.budget {
                found.stop(Error::invalid(path, kind, OUT_OF_BUDGET));
                return;
            }
            found.budget -= cost;
            match held {
                Ok(true) => {}
                Err(why) if why == cost::EXCEEDED => {
                    let why = format!(
                        "'{why}': no further validation rules will be run due to call cost \
                         exceeds limit for rule: {}",
                        rule.name()
                    );
                    found.stop(Error::invalid(path, kind, why));
                    return;
                }
                Err(why) => {
                    let why = match why.strip_prefix("no such overload") {
                        Some(_) => format!(
                            "'{why}': call arguments did not match a supported operator, function \
                             or macro signature for rule: {}",
                            rule.name()
                        ),
                        None if rule.program.is_err() => why,
                        None => format!("{why} evaluating rule: {}", rule.name()),
                    };
                    found.errors.push(Error::invalid(path, kind, why));
                }
                Ok(false) if unchanged && !rule.uses_old_self => {}
                Ok(false) => {
                    let message = rule.message.as_ref().and_then(|one| scope.message(one));
                    let error = rule.error(value, &self.schema, path, message);
                    found.errors.push(error);
                }
            }
        }
    }
}

fn is_of_object(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

impl Rule {
    fn new(rule: &ValidationRule, schema: &SchemaRef) -> Self {
        let program = source::parse(&rule.rule);
        let message = Some(rule.message_expression.as_str()).filter(|one| !one.is_empty());
        Self {
            uses_old_self: program.as_ref().is_ok_and(source::uses_old_self),
            message: message
                .and_then(|one| source::parse(one).ok())
                .map(source::prepare),
            field: match rule.field_path.as_str() {
                "" => None,
                path => field_path(path, schema, true).ok().map(|(path, _)| path),
            },
            program: program.map(source::prepare),
            said: rule.clone(),
        }
    }

    /// How errors name the rule.
    fn name(&self) -> &str {
        let message = self.said.message.trim();
        if message.is_empty() {
            self.said.rule.trim()
        } else {
            message
        }
    }

    fn error(
        &self,
        value: &Value,
        schema: &SchemaRef,
        path: &Path,
        message: Option<String>,
    ) -> Error {
        let detail = message.unwrap_or_else(|| {
            let message = self.said.message.trim();
            if message.is_empty() {
                format!("failed rule: {}", self.said.rule.trim())
            } else {
                message.to_owned()
            }
        });
        let path = match &self.field {
            Some(field) => path.child(field.as_str()),
            None => path.clone(),
        };
        // Objects and lists are not shown, they could be anything.
        let hidden = matches!(schema.kind, Some(Type::Object | Type::Array));
        let mut error = match self.said.reason.as_deref() {
            Some("FieldValueForbidden") => return Error::forbidden(&path, detail),
            Some("FieldValueRequired") => return Error::required(&path, detail),
            Some("FieldValueDuplicate") => Error::duplicate(&path, value.clone()),
            _ => Error::invalid(&path, value.clone(), detail),
        };
        if hidden && matches!(error.kind, ErrorKind::Invalid | ErrorKind::Duplicate) {
            error.value = None;
        }
        error
    }
}

#[cfg(test)]
mod tests;
