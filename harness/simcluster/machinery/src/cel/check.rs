//! Checking a rule before it is accepted: its syntax, the names in it, and its types.

use std::collections::BTreeMap;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, StructExpr, operators,
};

use super::authorizer::RESOURCE_CHECK;
use super::source::{self, Target};
use super::types::{Call, Ty, call};
use crate::schema::{SchemaRef, ValidationRule};

/// What is known of a rule that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether it compares with the value before an update.
    pub uses_old_self: bool,
}

/// Why a rule may not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The rule itself.
    #[error("{0}")]
    Rule(String),
    /// The expression that makes its message.
    #[error("{0}")]
    Message(String),
}

/// Checks a rule at its place. `root` says that values are whole objects.
pub fn check(rule: &ValidationRule, schema: &SchemaRef, root: bool) -> Result<Checked, CheckError> {
    let this = Ty::of(schema, root);
    let old = match rule.optional_old_self {
        Some(true) => Ty::Optional(Box::new(this.clone())),
        _ => this.clone(),
    };
    let variables = || {
        BTreeMap::from([
            ("self".to_owned(), this.clone()),
            ("oldSelf".to_owned(), old.clone()),
        ])
    };
    let (expression, result) = compile(&rule.rule, variables())
        .map_err(|why| CheckError::Rule(format!("compilation failed: {why}")))?;
    if !matches!(result, Ty::Bool | Ty::Dyn) {
        return Err(CheckError::Rule(
            "cel expression must evaluate to a bool".to_owned(),
        ));
    }
    if !rule.message_expression.is_empty() {
        let (_, result) = compile(&rule.message_expression, variables()).map_err(|why| {
            CheckError::Message(format!("messageExpression compilation failed: {why}"))
        })?;
        if !matches!(result, Ty::String | Ty::Dyn) {
            let why = "messageExpression must evaluate to a string";
            return Err(CheckError::Message(why.to_owned()));
        }
    }
    Ok(Checked {
        uses_old_self: source::uses_old_self(&expression),
    })
}

/// The syntax tree of an expression and the type of its result.
pub(super) fn compile(
    text: &str,
    variables: BTreeMap<String, Ty>,
) -> Result<(IdedExpr, Ty), String> {
    compile_with(text, variables, false)
}

/// The same; `messages` says that it may make an `Object` or a `JSONPatch`.
pub(super) fn compile_with(
    text: &str,
    variables: BTreeMap<String, Ty>,
    messages: bool,
) -> Result<(IdedExpr, Ty), String> {
    let expression = source::parse(text)?;
    let mut checker = Checker {
        text,
        variables,
        messages,
        errors: Vec::new(),
    };
    let result = checker.expression(&expression);
    if checker.errors.is_empty() {
        Ok((expression, result))
    } else {
        Err(checker.errors.join("\n"))
    }
}

struct Checker<'a> {
    text: &'a str,
    variables: BTreeMap<String, Ty>,
    messages: bool,
    errors: Vec<String>,
}

impl Checker<'_> {
    fn error(&mut self, target: Target<'_>, why: &str) -> Ty {
        let error = source::pointed(self.text, target, why);
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
        Ty::Dyn
    }

    fn expression(&mut self, expression: &IdedExpr) -> Ty {
        match &expression.expr {
            Expr::Unspecified => Ty::Dyn,
            Expr::Struct(message) => self.message(message),
            Expr::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Ty::Bool,
                LiteralValue::Bytes(_) => Ty::Bytes,
                LiteralValue::Double(_) => Ty::Double,
                LiteralValue::Int(_) => Ty::Int,
                LiteralValue::Null => Ty::Null,
                LiteralValue::String(_) => Ty::String,
                LiteralValue::UInt(_) => Ty::Uint,
            },
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let mut types = list.elements.iter().map(|one| self.expression(one));
                let first = types.next();
                let rest: Vec<Ty> = types.collect();
                let element = first.filter(|first| rest.iter().all(|one| one.fits(first)));
                Ty::List(Box::new(element.unwrap_or(Ty::Dyn)))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.expression(&entry.key);
                        self.expression(&entry.value);
                    }
                }
                Ty::Map(Box::new(Ty::Dyn))
            }
            Expr::Comprehension(one) => self.comprehension(one),
        }
    }

    fn ident(&mut self, name: &str) -> Ty {
        const TYPES: [&str; 11] = [
            "int",
            "uint",
            "double",
            "bool",
            "string",
            "bytes",
            "list",
            "map",
            "null_type",
            "type",
            "optional_type",
        ];
        match self.variables.get(name) {
            Some(ty) => ty.clone(),
            None if TYPES.contains(&name) || name.starts_with('@') => Ty::Dyn,
            None => {
                let why = format!("undeclared reference to '{name}' (in container '')");
                self.error(Target::Ident(name), &why)
            }
        }
    }

    /// `Object.spec{replicas: 1}`
    fn message(&mut self, message: &StructExpr) -> Ty {
        let name = message.type_name.trim_start_matches('.');
        let is_patch = name == "JSONPatch";
        if !self.messages || !(is_patch || name == "Object" || name.starts_with("Object.")) {
            let why = format!("undeclared reference to '{name}' (in container '')");
            return self.error(Target::Ident(name), &why);
        }
        for entry in &message.entries {
            let EntryExpr::StructField(field) = &entry.expr else {
                continue;
            };
            let given = self.expression(&field.value);
            let wanted = match (is_patch, field.field.as_str()) {
                (true, "op" | "path" | "from") => Ty::String,
                (true, "value") | (false, _) => continue,
                (true, other) => {
                    self.error(Target::Field(other), &format!("undefined field '{other}'"));
                    continue;
                }
            };
            if !given.fits(&wanted) {
                let why = format!(
                    "expected type of field '{}' is '{wanted}' but provided type is '{given}'",
                    field.field
                );
                self.error(Target::Ident(&field.field), &why);
            }
        }
        Ty::Message(name.to_owned())
    }

    fn select(&mut self, select: &SelectExpr) -> Ty {
        if source::is_request_resource(select) && self.variables.contains_key("authorizer") {
            return Ty::Library(RESOURCE_CHECK);
        }
        let operand = self.expression(&select.operand);
        let field = &select.field;
        let found = match operand.field(field) {
            Some(found) => found,
            None if operand.has_fields() => {
                self.error(Target::Field(field), &format!("undefined field '{field}'"))
            }
            None => {
                let why = format!("type '{operand}' does not support field selection");
                self.error(Target::Field(field), &why)
            }
        };
        if select.test { Ty::Bool } else { found }
    }

    fn call(&mut self, one: &CallExpr) -> Ty {
        // A function of a library looks like one of a value: `math.abs(x)`.
        let qualified = one.target.as_deref().and_then(|target| match &target.expr {
            Expr::Ident(library) if !self.variables.contains_key(library) => {
                Some(format!("{library}.{}", one.func_name))
            }
            _ => None,
        });
        let receiver = match (&qualified, &one.target) {
            (None, Some(target)) => Some(self.expression(target)),
            _ => None,
        };
        let arguments: Vec<Ty> = one
            .args
            .iter()
            .map(|argument| self.expression(argument))
            .collect();
        self.literal_argument(one);
        let name = qualified.as_deref().unwrap_or(&one.func_name);
        if let Some(result) = self.operator(name, &arguments) {
            return result;
        }
        match call(name, receiver.as_ref(), &arguments) {
            Call::Gives(result) => result,
            Call::Unknown => {
                let why = format!("undeclared reference to '{name}' (in container '')");
                self.error(Target::Call(&one.func_name), &why)
            }
            Call::NoOverload => {
                let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
                let arguments = arguments.join(", ");
                let applied = match receiver {
                    Some(receiver) => format!("{receiver}.({arguments})"),
                    None => format!("({arguments})"),
                };
                let why = format!("found no matching overload for '{name}' applied to '{applied}'");
                self.error(Target::Call(&one.func_name), &why)
            }
        }
    }

    /// Literals that a function could never make sense of are told before it runs.
    fn literal_argument(&mut self, one: &CallExpr) {
        let name = one.func_name.as_str();
        let first = one.args.first().map(|own| &own.expr);
        let Some(Expr::Literal(LiteralValue::String(text))) = first else {
            return;
        };
        let text: &str = text;
        let sensible = match name {
            "matches" => crate::pattern::compile(text).is_ok(),
            "duration" => crate::go::duration(text).is_some(),
            "timestamp" => text.parse::<jiff::Timestamp>().is_ok(),
            _ => return,
        };
        if !sensible {
            self.error(Target::Argument(name), &format!("invalid {name} argument"));
        }
    }

    /// The type of an operator; nothing when the name is none.
    fn operator(&mut self, name: &str, arguments: &[Ty]) -> Option<Ty> {
        let (left, right) = (arguments.first()?, arguments.get(1));
        let right_or_dyn = right.cloned().unwrap_or(Ty::Dyn);
        let result = match name {
            operators::LOGICAL_AND | operators::LOGICAL_OR => {
                let fits = left.fits(&Ty::Bool) && right_or_dyn.fits(&Ty::Bool);
                fits.then_some(Ty::Bool)
            }
            operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE => {
                left.fits(&Ty::Bool).then_some(Ty::Bool)
            }
            operators::CONDITIONAL => {
                let (yes, no) = (right_or_dyn, arguments.get(2).cloned().unwrap_or(Ty::Dyn));
                let fits = left.fits(&Ty::Bool) && yes.fits(&no);
                fits.then_some(if matches!(yes, Ty::Dyn | Ty::Null) {
                    no
                } else {
                    yes
                })
            }
            operators::EQUALS | operators::NOT_EQUALS => {
                left.fits(&right_or_dyn).then_some(Ty::Bool)
            }
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS => {
                let ordered = |ty: &Ty| {
                    !matches!(
                        ty,
                        Ty::List(_) | Ty::Map(_) | Ty::Object(..) | Ty::Null | Ty::Metadata
                    )
                };
                let numbers = left.is_number() && right_or_dyn.is_number();
                let fits = ordered(left) && ordered(&right_or_dyn);
                (fits && (numbers || left.fits(&right_or_dyn))).then_some(Ty::Bool)
            }
            operators::IN => match &right_or_dyn {
                Ty::Dyn | Ty::Map(_) | Ty::Object(..) => Some(Ty::Bool),
                Ty::List(element) => left.fits(element).then_some(Ty::Bool),
                _ => None,
            },
            operators::INDEX => match left {
                Ty::List(element) => right_or_dyn.fits(&Ty::Int).then(|| (**element).clone()),
                Ty::Map(value) => Some((**value).clone()),
                Ty::Dyn | Ty::Optional(_) => Some(Ty::Dyn),
                _ => None,
            },
            operators::OPT_INDEX | operators::OPT_SELECT => Some(Ty::Optional(Box::new(Ty::Dyn))),
            operators::NEGATE => {
                (left.is_number() || matches!(left, Ty::Dyn)).then(|| left.clone())
            }
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO => arithmetic(name, left, &right_or_dyn),
            _ => return None,
        };
        Some(result.unwrap_or_else(|| {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            let arguments = arguments.join(", ");
            let why = format!("found no matching overload for '{name}' applied to '({arguments})'");
            let sign = name.trim_matches(|char| "_@[]".contains(char));
            self.error(Target::Operator(sign), &why)
        }))
    }

    fn comprehension(&mut self, one: &ComprehensionExpr) -> Ty {
        let range = self.expression(&one.iter_range);
        if matches!(
            range,
            Ty::Bool | Ty::Int | Ty::Uint | Ty::Double | Ty::String | Ty::Bytes
        ) {
            let why = format!(
                "expression of type '{range}' cannot be range of a comprehension (must be list, \
                 map, or dynamic)"
            );
            return self.error(Target::Operator("("), &why);
        }
        let start = self.expression(&one.accu_init);
        let saved = self.variables.clone();
        match (&one.iter_var2, &range) {
            (Some(second), Ty::List(element)) => {
                self.variables.insert(one.iter_var.clone(), Ty::Int);
                self.variables.insert(second.clone(), (**element).clone());
            }
            (Some(second), Ty::Map(value)) => {
                self.variables.insert(one.iter_var.clone(), Ty::String);
                self.variables.insert(second.clone(), (**value).clone());
            }
            (second, _) => {
                self.variables.insert(one.iter_var.clone(), range.element());
                if let Some(second) = second {
                    self.variables.insert(second.clone(), Ty::Dyn);
                }
            }
        }
        self.variables.insert(one.accu_var.clone(), start.clone());
        self.expression(&one.loop_cond);
        let step = self.expression(&one.loop_step);
        // What is gathered in a list shows in the step only.
        if let (Ty::List(element), Ty::List(_)) = (&start, &step)
            && matches!(**element, Ty::Dyn)
        {
            self.variables.insert(one.accu_var.clone(), step);
        }
        let result = self.expression(&one.result);
        self.variables = saved;
        result
    }
}

fn arithmetic(name: &str, left: &Ty, right: &Ty) -> Option<Ty> {
    match (name, left, right) {
        (_, Ty::Dyn, other) | (_, other, Ty::Dyn) => Some(if other.is_number() {
            other.clone()
        } else {
            Ty::Dyn
        }),
        (operators::MODULO, Ty::Double, _) => None,
        (_, Ty::Int, Ty::Int) => Some(Ty::Int),
        (_, Ty::Uint, Ty::Uint) => Some(Ty::Uint),
        (_, Ty::Double, Ty::Double) => Some(Ty::Double),
        (operators::ADD, Ty::String, Ty::String) => Some(Ty::String),
        (operators::ADD, Ty::Bytes, Ty::Bytes) => Some(Ty::Bytes),
        (operators::ADD, Ty::List(left), Ty::List(right)) if left.fits(right) => {
            let element = if matches!(**left, Ty::Dyn) {
                right
            } else {
                left
            };
            Some(Ty::List(element.clone()))
        }
        (operators::ADD | operators::SUBSTRACT, Ty::Timestamp, Ty::Duration)
        | (operators::ADD, Ty::Duration, Ty::Timestamp) => Some(Ty::Timestamp),
        (operators::SUBSTRACT, Ty::Timestamp, Ty::Timestamp)
        | (operators::ADD | operators::SUBSTRACT, Ty::Duration, Ty::Duration) => Some(Ty::Duration),
        (operators::ADD, Ty::Map(_) | Ty::Object(..), Ty::Map(_) | Ty::Object(..)) => {
            Some(left.clone())
        }
        _ => None,
    }
}
