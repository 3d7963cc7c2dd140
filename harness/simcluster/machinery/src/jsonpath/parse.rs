//! Reading a JSONPath expression.

use serde_json::Value;

use super::{Comparison, JsonPath, Operand, ParseError, Step};

type Result<T> = std::result::Result<T, ParseError>;

pub(super) fn expression(text: &str) -> Result<JsonPath> {
    let text = text.trim();
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest
            .strip_suffix('}')
            .ok_or_else(|| ParseError("unclosed action".to_owned()))?,
        None => text,
    };
    let mut parser = Parser { rest: inner };
    let path = parser.path()?;
    if parser.rest.is_empty() {
        Ok(path)
    } else {
        Err(ParseError(format!(
            "unrecognized character in action: {:?}",
            parser.rest
        )))
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn path(&mut self) -> Result<JsonPath> {
        let mut steps = Vec::new();
        if !self.eat("$") {
            self.eat("@");
        }
        if self.rest.starts_with(is_name) {
            steps.push(self.name_or_wildcard()?);
        }
        loop {
            if self.eat("..") {
                steps.push(Step::Recursive);
                if !self.rest.is_empty() && !self.rest.starts_with('[') {
                    steps.push(self.name_or_wildcard()?);
                }
            } else if self.eat(".") {
                // `.` alone is the value itself, and `.[0]` is `[0]`.
                if !self.rest.is_empty() && !self.rest.starts_with('[') {
                    steps.push(self.name_or_wildcard()?);
                }
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else {
                return Ok(JsonPath { steps });
            }
        }
    }

    fn name_or_wildcard(&mut self) -> Result<Step> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        let mut name = String::new();
        while let Some(char) = self.rest.chars().next() {
            if char == '\\' {
                let escaped = self.rest.chars().nth(1);
                name.extend(escaped);
                self.rest = &self.rest[1 + escaped.map_or(0, char::len_utf8)..];
            } else if is_name(char) {
                name.push(char);
                self.rest = &self.rest[char.len_utf8()..];
            } else {
                break;
            }
        }
        if name.is_empty() {
            return Err(ParseError(format!(
                "unrecognized character in action: {:?}",
                self.rest
            )));
        }
        Ok(Step::Field(name))
    }

    fn bracket(&mut self) -> Result<Step> {
        if self.eat("?(") {
            return self.filter();
        }
        if self.eat("*]") {
            return Ok(Step::Wildcard);
        }
        let inside = self.until_closed()?;
        let mut steps = inside
            .split(',')
            .map(bracket_part)
            .collect::<Result<Vec<_>>>()?;
        if steps.len() == 1 {
            Ok(steps.remove(0))
        } else {
            Ok(Step::Union(steps))
        }
    }

    /// What stands before the closing bracket, which may be quoted.
    fn until_closed(&mut self) -> Result<&'a str> {
        let mut quote = None;
        for (index, char) in self.rest.char_indices() {
            match quote {
                Some(open) if char == open => quote = None,
                None if char == '\'' || char == '"' => quote = Some(char),
                None if char == ']' => {
                    let (inside, rest) = self.rest.split_at(index);
                    self.rest = &rest[1..];
                    return Ok(inside);
                }
                _ => {}
            }
        }
        Err(ParseError("unterminated array".to_owned()))
    }

    fn filter(&mut self) -> Result<Step> {
        let unterminated = || ParseError("unterminated filter".to_owned());
        let left = self.operand()?;
        self.rest = self.rest.trim_start();
        let operator = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let operator = operator.into_iter().find(|(text, _)| self.eat(text));
        let (operator, right) = match operator {
            Some((_, operator)) => (operator, self.operand()?),
            None => (Comparison::Exists, Operand::Nothing),
        };
        self.rest = self.rest.trim_start();
        if self.eat(")]") {
            Ok(Step::Filter {
                left,
                operator,
                right,
            })
        } else {
            Err(unterminated())
        }
    }

    fn operand(&mut self) -> Result<Operand> {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('@') || self.rest.starts_with('.') {
            return Ok(Operand::Path(self.path()?));
        }
        if let Some(quote) = self
            .rest
            .chars()
            .next()
            .filter(|char| matches!(char, '\'' | '"'))
        {
            let inner = &self.rest[1..];
            let end = inner
                .find(quote)
                .ok_or_else(|| ParseError("unterminated quoted string".to_owned()))?;
            self.rest = &inner[end + 1..];
            return Ok(Operand::Value(Value::String(inner[..end].to_owned())));
        }
        let end = self
            .rest
            .find(|char| " )=!<>".contains(char))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        serde_json::from_str(word)
            .map(Operand::Value)
            .map_err(|_| ParseError(format!("unrecognized identifier {word}")))
    }
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || "-_/*\\".contains(char)
}

fn bracket_part(part: &str) -> Result<Step> {
    let part = part.trim();
    if part == "*" {
        return Ok(Step::Wildcard);
    }
    for quote in ['\'', '"'] {
        if let Some(name) = part
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return Ok(Step::Field(name.to_owned()));
        }
    }
    let invalid = || ParseError(format!("invalid array index {part}"));
    let number = |text: &str| match text {
        "" => Ok(None),
        text => text.parse::<i64>().map(Some).map_err(|_| invalid()),
    };
    let parts = part.split(':').map(number).collect::<Result<Vec<_>>>()?;
    match parts[..] {
        [Some(index)] => {
            // The last entry has no index behind it.
            let end = (index != -1).then(|| index.saturating_add(1));
            Ok(Step::Slice {
                start: Some(index),
                end,
                step: 1,
            })
        }
        [start, end] => Ok(Step::Slice {
            start,
            end,
            step: 1,
        }),
        [start, end, step] if step.is_none_or(|step| step > 0) => Ok(Step::Slice {
            start,
            end,
            step: step.unwrap_or(1),
        }),
        _ => Err(invalid()),
    }
}
