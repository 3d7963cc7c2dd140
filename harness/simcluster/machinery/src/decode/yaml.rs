//! YAML bodies, turned into JSON before anything else happens to them.
//!
//! Read as the API server reads them, which is YAML 1.1: a bare `y` is a boolean, `0644` is octal.
//! Only the first document counts.

mod scalar;

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value};

/// More values than this an expansion of aliases may not make.
const MAX_VALUES: usize = 1_000_000;
const MAX_DEPTH: usize = 500;

/// The JSON, or what Go says of text that is no YAML.
pub(super) fn to_json(body: &[u8]) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(body);
    let value = Composer::new(&text)
        .document()
        .map_err(|refusal| match refusal {
            Refusal::Text(why) => describe(&text, why),
            Refusal::Content(why) => why,
        })?;
    serde_json::to_vec(&value).map_err(|error| format!("yaml: {error}"))
}

/// Go's parser and the one behind `serde_yaml` are the same in origin, so that one tells what is
/// wrong with the text.
fn describe(text: &str, why: String) -> String {
    // That parser takes ever longer the deeper brackets nest; strangers' text may nest for ever.
    if open_brackets(text) > MAX_DEPTH {
        return why;
    }
    let Err(error) = serde_yaml::from_str::<serde_yaml::Value>(text) else {
        return why;
    };
    let message = error.to_string();
    let problem = message.split(" at line ").next().unwrap_or(&message);
    // The construct that was being read stands behind the problem.
    let problem = problem.split(", while").next().unwrap_or(problem);
    match error.location() {
        // Go counts an end of the text to the line that it ends.
        Some(location) => {
            let ended = location.column() == 1 && location.line() > 1;
            format!(
                "yaml: line {}: {problem}",
                location.line() - usize::from(ended)
            )
        }
        None => format!("yaml: {problem}"),
    }
}

/// How many brackets are open where most are.
fn open_brackets(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

struct Composer<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

/// Why there is no value.
enum Refusal {
    /// The text is no YAML.
    Text(String),
    /// It is, but not one that is taken.
    Content(String),
}

type Composed<T> = Result<T, Refusal>;

impl<'a> Composer<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            events: Parser::new_from_str(text),
            anchors: HashMap::new(),
            values: 0,
        }
    }

    fn next(&mut self) -> Composed<Event<'a>> {
        match self.events.next() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => {
                let line = error.marker().line();
                Err(Refusal::Text(format!(
                    "yaml: line {line}: {}",
                    error.info()
                )))
            }
        }
    }

    fn document(mut self) -> Composed<Value> {
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(Value::Null),
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
                event => {
                    let value = self.value(event, 0)?;
                    // What stands behind is read, too, so that mistakes in it are told.
                    while !matches!(self.next()?, Event::StreamEnd | Event::DocumentStart(_)) {}
                    return Ok(value);
                }
            }
        }
    }

    fn value(&mut self, event: Event<'a>, depth: usize) -> Composed<Value> {
        if depth > MAX_DEPTH {
            let why = format!("yaml: exceeded max depth of {MAX_DEPTH}");
            return Err(Refusal::Content(why));
        }
        self.values += 1;
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                self.values += count(&value);
                (0, value)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref();
                (anchor, read_scalar(&text, style, tag))
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.value(event, depth + 1)?),
                    }
                }
                (anchor, Value::Array(items))
            }
            Event::MappingStart(anchor, _) => (anchor, self.mapping(depth)?),
            _ => (0, Value::Null),
        };
        if self.values > MAX_VALUES {
            let why = "yaml: document contains excessive aliasing";
            return Err(Refusal::Content(why.to_owned()));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn mapping(&mut self, depth: usize) -> Composed<Value> {
        let mut fields = Map::new();
        let mut merged: Vec<Value> = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<" => None,
                event => Some(key(self.value(event, depth + 1)?)?),
            };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            match (key, value) {
                (Some(key), value) => {
                    fields.insert(key, value);
                }
                (None, Value::Array(several)) => merged.extend(several),
                (None, value) => merged.push(value),
            }
        }
        // What the mapping says itself wins over what it merges, and earlier over later.
        for one in merged {
            let Value::Object(one) = one else {
                let why = "yaml: map merge requires map or sequence of maps as the value";
                return Err(Refusal::Content(why.to_owned()));
            };
            for (name, value) in one {
                fields.entry(name).or_insert(value);
            }
        }
        Ok(Value::Object(fields))
    }
}

fn read_scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let tag = tag
        .filter(|tag| tag.is_yaml_core_schema())
        .map(|tag| tag.suffix.as_str());
    match (style, tag) {
        (_, Some("str")) => Value::String(text.to_owned()),
        (ScalarStyle::Plain, _) | (_, Some("int" | "float" | "bool" | "null")) => {
            scalar::resolve(text)
        }
        _ => Value::String(text.to_owned()),
    }
}

/// Keys of other types are written as JSON would have them.
fn key(value: Value) -> Composed<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Ok("null".to_owned()),
        Value::Array(_) | Value::Object(_) => {
            let why = "yaml: unsupported map key: it is a list or a map";
            Err(Refusal::Content(why.to_owned()))
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::arbitrary;

    fn read(text: &str) -> Value {
        serde_json::from_slice(&to_json(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn bare_words_are_read_as_yaml_1_1_does() {
        let text = "a: y\nb: 'y'\nc: 0644\nd: 0x1F\ne: off\nf: 1_000\ng: .5\nh: ~\ni: 2001-01-01\n\
                    j: 1e3\nk: !!str 5\nl: \"0644\"\nm: 1.2.3\nr: 0o17\no: -12\np: 1e\nq:\n";
        assert_eq!(
            read(text),
            json!({
                "a": true, "b": "y", "c": 420, "d": 31, "e": false, "f": 1000, "g": 0.5, "h": null,
                "i": "2001-01-01", "j": 1000.0, "k": "5", "l": "0644", "m": "1.2.3", "r": 15,
                "o": -12, "p": "1e", "q": null
            })
        );
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        let text = "base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nlist: [*b]\n2: true\n";
        assert_eq!(
            read(text),
            json!({
                "base": {"x": 1, "true": 2}, "use": {"x": 1, "true": 3},
                "list": [{"x": 1, "true": 2}], "2": true
            })
        );
    }

    #[test]
    fn what_is_no_yaml_is_described_with_its_line() {
        assert_eq!(
            to_json(b"a: [b").unwrap_err(),
            "yaml: line 1: did not find expected ',' or ']'"
        );
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            let line = format!("a{level}: &a{level} [{aliases}]\n");
            text.push_str(&line);
        }
        let error = to_json(text.as_bytes()).unwrap_err();
        assert_eq!(error, "yaml: document contains excessive aliasing");
    }

    proptest! {
        #[test]
        fn json_is_yaml(value in arbitrary::object()) {
            prop_assert_eq!(read(&value.to_string()), value);
        }

        #[test]
        fn no_text_panics(text in "[a-c:\\-\\[\\]{}&*!'\"#|> \n,0-9.~<]{0,30}") {
            let _ = to_json(text.as_bytes());
        }
    }
}
