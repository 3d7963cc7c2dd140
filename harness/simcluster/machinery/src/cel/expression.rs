//! Expressions with variables of the caller's choice, as admission has them: conditions, messages,
//! and values that other expressions use.
//!
//! Values have no schema here, so their fields are reached by their own names.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use kube_cel::cel::{Context, IdedExpr, Value as Cel, common::ast::Expr, objects::Map};
use serde_json::Value;

use super::{
    authorizer::{self, Authorizer, Question},
    check, cost,
    run::{self, LIBRARY, MAX_MESSAGE},
    source,
    types::Ty,
    value,
};
use crate::schema::{Schema, SchemaRef};

/// What is known of a variable.
#[derive(Clone, Debug)]
pub enum Known {
    /// Nothing: any field may be selected.
    Anything,
    /// It answers what somebody may do.
    Authorizer,
    /// The fields, as an `OpenAPI` schema has them.
    Fields(Value),
    /// The fields of objects with this schema.
    Schema(SchemaRef),
    /// The result of another expression, by the name of this variable's field.
    Results(BTreeMap<String, Kind>),
}

/// The type of an expression's result.
#[derive(Clone, Debug)]
pub struct Kind(Ty);

impl Kind {
    /// That of something of which nothing is known.
    pub fn unknown() -> Self {
        Self(Ty::Dyn)
    }
}

/// What an expression has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// `bool`
    Condition,
    /// `string`
    Text,
    /// `string` or `null`
    TextOrNull,
    /// An `Object`
    Configuration,
    /// A list of `JSONPatch`
    JsonPatch,
    /// Whatever it is.
    Anything,
}

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: String,
    program: IdedExpr,
    kind: Kind,
}

impl Expression {
    /// Compiles an expression that may use these variables; the error is the real compiler's.
    pub fn compile(
        text: &str,
        known: &BTreeMap<String, Known>,
        gives: Gives,
    ) -> Result<Self, String> {
        let variables: BTreeMap<String, Ty> = known
            .iter()
            .map(|(name, known)| (name.clone(), type_of(known)))
            .collect();
        let messages = matches!(gives, Gives::Configuration | Gives::JsonPatch);
        let (parsed, result) = check::compile_with(text, variables, messages)
            .map_err(|why| format!("compilation failed: {why}"))?;
        expect(&parsed, &result, gives)?;
        Ok(Self {
            text: text.to_owned(),
            program: source::prepare(parsed),
            kind: Kind(result),
        })
    }

    /// Checks an expression, whatever it gives; the error is only what the compiler found.
    pub fn check(text: &str, known: &BTreeMap<String, Known>) -> Result<(), String> {
        let variables = known
            .iter()
            .map(|(name, known)| (name.clone(), type_of(known)));
        check::compile_with(text, variables.collect(), false).map(drop)
    }

    /// The type of the result, for expressions that use it.
    pub fn kind(&self) -> Kind {
        self.kind.clone()
    }

    /// Whether the condition holds.
    pub fn holds(&self, scope: &Variables) -> Result<bool, String> {
        match self.run(scope)? {
            Cel::Bool(held) => Ok(held),
            _ => Ok(false),
        }
    }

    /// The text, if it is a sensible one: not empty, in one line and not too long.
    pub fn message(&self, scope: &Variables) -> Option<String> {
        match self.run(scope) {
            Ok(Cel::String(text)) => run::sensible(&text),
            _ => None,
        }
    }

    /// The text; nothing for `null`.
    pub fn text(&self, scope: &Variables) -> Result<Option<String>, String> {
        match self.run(scope)? {
            Cel::String(text) => Ok(Some(text.trim().chars().take(MAX_MESSAGE).collect())),
            _ => Ok(None),
        }
    }

    /// What it gives, as JSON.
    pub fn value(&self, scope: &Variables) -> Result<Value, String> {
        value::to_json(&self.run(scope)?).map_err(|why| {
            let text = &self.text;
            format!("expression '{text}' resulted in error: {why}")
        })
    }

    fn run(&self, scope: &Variables) -> Result<Cel, String> {
        let (result, _) = cost::of(|| Cel::resolve(&self.program, &scope.context));
        result.map_err(|error| {
            let why = scope.explain(run::describe(&error));
            format!("expression '{}' resulted in error: {why}", self.text)
        })
    }
}

fn type_of(known: &Known) -> Ty {
    match known {
        Known::Anything => Ty::Dyn,
        Known::Authorizer => Ty::Library(authorizer::AUTHORIZER),
        Known::Fields(openapi) => Ty::of(&Schema::from_openapi(openapi), false),
        Known::Schema(schema) => Ty::of(schema, false),
        Known::Results(results) => Ty::Results(
            results
                .iter()
                .map(|(name, kind)| (name.clone(), kind.0.clone()))
                .collect(),
        ),
    }
}

fn expect(parsed: &IdedExpr, result: &Ty, gives: Gives) -> Result<(), String> {
    // A field of something unknown could be anything, which is not enough.
    let bare = match &parsed.expr {
        Expr::Select(select) => !select.test,
        Expr::Ident(_) => true,
        _ => false,
    };
    let fits = match (gives, result) {
        (Gives::Anything, _)
        | (Gives::Condition, Ty::Bool)
        | (Gives::Text | Gives::TextOrNull, Ty::String)
        | (Gives::TextOrNull, Ty::Null) => true,
        (Gives::Configuration, Ty::Message(name)) => name == "Object",
        (Gives::JsonPatch, Ty::List(each)) => match &**each {
            Ty::Message(name) => name == "JSONPatch",
            each => matches!(each, Ty::Dyn),
        },
        (_, Ty::Dyn) => !bare,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let result = match result {
        Ty::Null => "null_type".to_owned(),
        other => other.to_string(),
    };
    Err(match gives {
        Gives::Condition => format!("must evaluate to bool but got {result}"),
        Gives::Text => format!("must evaluate to string but got {result}"),
        Gives::Configuration => format!("must evaluate to Object but got {result}"),
        Gives::JsonPatch => format!("must evaluate to list(JSONPatch) but got {result}"),
        _ => format!("must evaluate to one of [string null_type] but got {result}"),
    })
}

/// The values of variables.
pub struct Variables {
    context: Context<'static>,
    results: HashMap<String, Cel>,
    failures: Vec<(String, String)>,
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables").finish_non_exhaustive()
    }
}

impl Default for Variables {
    fn default() -> Self {
        Self {
            context: LIBRARY.new_inner_scope(),
            results: HashMap::new(),
            failures: Vec::new(),
        }
    }
}

impl Variables {
    /// Gives a variable its value.
    pub fn set(&mut self, name: &str, value: &Value) {
        let value = value::convert(value, &Schema::default(), false);
        self.context.add_variable_from_value(name, value);
    }

    /// Gives `authorizer` its value, and `authorizer.requestResource` the question about the
    /// request itself.
    pub fn set_authorizer(&mut self, authorizer: &Arc<dyn Authorizer>, request: Question) {
        let (anyone, request) = authorizer::variables(authorizer, request);
        self.context.add_variable_from_value("authorizer", anyone);
        self.context
            .add_variable_from_value(authorizer::REQUEST_RESOURCE, request);
    }

    /// Gives the field `name` of `variables` the result of an expression. When that fails, those
    /// that use it fail.
    pub fn compute(&mut self, name: &str, expression: &Expression) {
        let (value, _) = cost::of(|| Cel::resolve(&expression.program, &self.context));
        match value {
            Ok(value) => {
                self.results.insert(name.to_owned(), value);
                let entries = self.results.iter();
                let entries = entries.map(|(name, value)| (name.clone().into(), value.clone()));
                let map = Map {
                    map: Arc::new(entries.collect()),
                };
                self.context
                    .add_variable_from_value("variables", Cel::Map(map));
            }
            Err(error) => {
                let why = self.explain(run::describe(&error));
                let why = format!("composited variable {name:?} fails to evaluate: {why}");
                self.failures.push((name.to_owned(), why));
            }
        }
    }

    /// An absent field may be a result that failed.
    fn explain(&self, why: String) -> String {
        let absent = why.strip_prefix("no such key: ").unwrap_or_default();
        let absent = if why == "no such attribute(s): variables" {
            self.failures.first()
        } else {
            self.failures.iter().find(|(name, _)| name == absent)
        };
        absent.map_or(why, |(_, failure)| failure.clone())
    }
}
