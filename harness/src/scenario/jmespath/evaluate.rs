//! The value of a [`Node`] on an input.

use serde_json::{Map, Value};

use super::{Node, Problem, Surroundings, functions, is_false, number, same};

/// The value of an expression on `input`.
pub fn evaluate(
    node: &Node,
    input: &Value,
    surroundings: &dyn Surroundings,
) -> Result<Value, Problem> {
    let evaluation = Evaluation {
        root: input,
        surroundings,
        locals: None,
    };
    evaluation.value(node, input)
}

/// Values that `let` gave, the innermost first.
struct Local<'a> {
    name: &'a str,
    value: Value,
    outer: Option<&'a Local<'a>>,
}

#[derive(Clone, Copy)]
pub(super) struct Evaluation<'a> {
    root: &'a Value,
    pub(super) surroundings: &'a dyn Surroundings,
    locals: Option<&'a Local<'a>>,
}

impl Evaluation<'_> {
    pub(super) fn value(&self, node: &Node, input: &Value) -> Result<Value, Problem> {
        Ok(match node {
            Node::Current => input.clone(),
            Node::Root => self.root.clone(),
            Node::Variable(name) => self.binding(name)?,
            Node::Literal(value) => value.clone(),
            Node::Field(name) => input.get(name).cloned().unwrap_or_default(),
            Node::Index(index) => at(input, *index),
            Node::Slice(start, end, step) => slice(input, *start, *end, step.unwrap_or(1)),
            Node::Chain(of, then) => match self.value(of, input)? {
                Value::Null => Value::Null,
                value => self.value(then, &value)?,
            },
            Node::Pipe(of, then) => self.value(then, &self.value(of, input)?)?,
            Node::Each(of, then) => match self.value(of, input)? {
                Value::Array(items) => self.each(items, then)?,
                // A slice of text is text, and goes on as one.
                text @ Value::String(_) if is_slice(of) => self.value(then, &text)?,
                _ => Value::Null,
            },
            Node::EachValue(of, then) => match self.value(of, input)? {
                Value::Object(map) => self.each(map.into_values().collect(), then)?,
                _ => Value::Null,
            },
            Node::Filter {
                of,
                condition,
                then,
            } => {
                let Value::Array(items) = self.value(of, input)? else {
                    return Ok(Value::Null);
                };
                let mut kept = Vec::new();
                for item in items {
                    if !is_false(&self.value(condition, &item)?) {
                        kept.push(item);
                    }
                }
                self.each(kept, then)?
            }
            Node::Flatten(of) => match self.value(of, input)? {
                Value::Array(items) => flat(items),
                _ => Value::Null,
            },
            Node::List(items) => items
                .iter()
                .map(|item| self.value(item, input))
                .collect::<Result<_, _>>()?,
            Node::Object(fields) => fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), self.value(value, input)?)))
                .collect::<Result<Map<_, _>, Problem>>()?
                .into(),
            Node::Or(a, b) => match self.value(a, input)? {
                value if is_false(&value) => self.value(b, input)?,
                value => value,
            },
            Node::And(a, b) => match self.value(a, input)? {
                value if is_false(&value) => value,
                _ => self.value(b, input)?,
            },
            Node::Not(of) => Value::from(is_false(&self.value(of, input)?)),
            Node::Compare(sign, a, b) => {
                compare(sign, &self.value(a, input)?, &self.value(b, input)?)
            }
            Node::Arithmetic(sign, a, b) => {
                arithmetic(sign, &self.value(a, input)?, &self.value(b, input)?)
            }
            Node::Signed(sign, of) => match self.value(of, input)?.as_f64() {
                Some(float) if *sign == "-" => number(-float),
                Some(float) => number(float),
                None => Value::Null,
            },
            Node::Call(name, arguments) => functions::call(*self, name, arguments, input)?,
            Node::Reference(_) => {
                return Err(Problem::Wrong(
                    "`&` is for the arguments of functions".to_owned(),
                ));
            }
            Node::Let(bindings, then) => self.with(bindings, then, input)?,
        })
    }

    fn each(&self, items: Vec<Value>, then: &Node) -> Result<Value, Problem> {
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            let value = self.value(then, &item)?;
            if !value.is_null() {
                found.push(value);
            }
        }
        Ok(found.into())
    }

    fn binding(&self, name: &str) -> Result<Value, Problem> {
        let mut local = self.locals;
        while let Some(here) = local {
            if here.name == name {
                return Ok(here.value.clone());
            }
            local = here.outer;
        }
        self.surroundings.binding(name).cloned().ok_or_else(|| {
            let known: Vec<_> = self.surroundings.names();
            let known: Vec<_> = known.iter().map(|name| format!("${name}")).collect();
            Problem::Wrong(format!(
                "there is no binding ${name}; there are: {}",
                known.join(", ")
            ))
        })
    }

    /// All values of a `let` are of what is around it: none sees another one.
    fn with(
        &self,
        bindings: &[(String, Node)],
        then: &Node,
        input: &Value,
    ) -> Result<Value, Problem> {
        let values = bindings
            .iter()
            .map(|(name, node)| Ok((name.as_str(), self.value(node, input)?)))
            .collect::<Result<Vec<_>, Problem>>()?;
        self.within(&values, then, input)
    }

    fn within(
        &self,
        values: &[(&str, Value)],
        then: &Node,
        input: &Value,
    ) -> Result<Value, Problem> {
        let [(name, value), rest @ ..] = values else {
            return self.value(then, input);
        };
        let local = Local {
            name,
            value: value.clone(),
            outer: self.locals,
        };
        let inner = Evaluation {
            locals: Some(&local),
            ..*self
        };
        inner.within(rest, then, input)
    }
}

fn is_slice(node: &Node) -> bool {
    matches!(node, Node::Chain(_, then) if matches!(**then, Node::Slice(..)))
}

fn flat(items: Vec<Value>) -> Value {
    let mut flat = Vec::new();
    for item in items {
        match item {
            Value::Array(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    flat.into()
}

/// The item of a list at an index; negative ones count from the end.
pub(super) fn at(list: &Value, index: i64) -> Value {
    let Some(items) = list.as_array() else {
        return Value::Null;
    };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let index = if index < 0 { index + length } else { index };
    usize::try_from(index)
        .ok()
        .and_then(|index| items.get(index))
        .cloned()
        .unwrap_or_default()
}

fn slice(of: &Value, start: Option<i64>, end: Option<i64>, step: i64) -> Value {
    match of {
        Value::Array(items) => indices(items.len(), start, end, step)
            .filter_map(|index| items.get(index).cloned())
            .collect(),
        Value::String(text) => {
            let characters: Vec<char> = text.chars().collect();
            let part: String = indices(characters.len(), start, end, step)
                .filter_map(|index| characters.get(index))
                .collect();
            part.into()
        }
        _ => Value::Null,
    }
}

/// Which items a slice means, in its order.
fn indices(
    length: usize,
    start: Option<i64>,
    end: Option<i64>,
    step: i64,
) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    // Going backwards, the place before the first item is an end too.
    let (lowest, highest) = if step < 0 {
        (-1, length - 1)
    } else {
        (0, length)
    };
    let place = |given: i64| {
        let from_start = if given < 0 { given + length } else { given };
        from_start.clamp(lowest, highest)
    };
    let (front, back) = if step < 0 {
        (highest, lowest)
    } else {
        (lowest, highest)
    };
    let mut at = start.map_or(front, place);
    let end = end.map_or(back, place);
    std::iter::from_fn(move || {
        let here = at;
        let inside = if step < 0 { here > end } else { here < end };
        at = at.saturating_add(step);
        inside.then(|| usize::try_from(here).ok()).flatten()
    })
}

fn compare(sign: &str, a: &Value, b: &Value) -> Value {
    match sign {
        "==" => return same(a, b).into(),
        "!=" => return (!same(a, b)).into(),
        _ => {}
    }
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else {
        return Value::Null;
    };
    Value::from(match sign {
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        _ => a >= b,
    })
}

fn arithmetic(sign: &str, a: &Value, b: &Value) -> Value {
    let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) else {
        return Value::Null;
    };
    number(match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        "//" => (a / b).floor(),
        _ => a % b,
    })
}
