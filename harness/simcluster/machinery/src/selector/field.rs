//! Field selectors: `status.phase=Running,metadata.name!=x`.

use std::fmt;

use super::ParseError;

/// Terms that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, in the order of their text.
    pub terms: Vec<FieldTerm>,
}

/// `field=value` or `field!=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// The path: `metadata.name`.
    pub field: String,
    /// What it must, or must not, be.
    pub value: String,
    /// Whether it must not be.
    pub negated: bool,
}

impl FieldSelector {
    /// Reads a query parameter.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some((field, negated, value)) = split_term(part) else {
                return Err(ParseError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            terms.push(FieldTerm {
                field: field.to_owned(),
                value: unescape(value)?,
                negated,
            });
        }
        Ok(Self { terms })
    }

    /// Whether everything matches.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all terms hold, with fields looked up by `value_of`; an absent field is empty.
    pub fn matches(&self, value_of: impl Fn(&str) -> Option<String>) -> bool {
        self.terms.iter().all(|term| {
            let equal = value_of(&term.field).unwrap_or_default() == term.value;
            equal != term.negated
        })
    }

    /// The value that `field` must have, if the selector allows only one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let mut terms = self.terms.iter();
        terms
            .find(|term| term.field == field && !term.negated)
            .map(|term| term.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let operator = if term.negated { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (index, _) in term.char_indices() {
        let rest = &term[index..];
        for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..index], negated, value));
            }
        }
    }
    None
}

fn unescape(text: &str) -> Result<String, ParseError> {
    let bad_escape = |sequence: String| {
        ParseError(format!(
            "invalid field selector: invalid escape sequence: {sequence}"
        ))
    };
    let mut value = String::with_capacity(text.len());
    let mut escaped = false;
    for char in text.chars() {
        match char {
            '\\' | ',' | '=' if escaped => {
                value.push(char);
                escaped = false;
            }
            _ if escaped => return Err(bad_escape(format!("\\{char}"))),
            '\\' => escaped = true,
            ',' | '=' => {
                let code = u32::from(char);
                return Err(ParseError(format!(
                    "invalid field selector: unescaped character in value: {code}"
                )));
            }
            _ => value.push(char),
        }
    }
    if escaped {
        Err(bad_escape("\\".to_owned()))
    } else {
        Ok(value)
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace(',', "\\,")
        .replace('=', "\\=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_terms_must_hold_and_absent_fields_are_empty() {
        let selector = FieldSelector::parse("status.phase!=Running,metadata.name==x").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("x"));
        let value = |field: &str| (field == "metadata.name").then(|| "x".to_owned());
        assert!(selector.matches(value));
        assert!(!selector.matches(|_| None));
        assert_eq!(
            selector.to_string(),
            "metadata.name=x,status.phase!=Running"
        );
    }

    #[test]
    fn a_term_without_an_operator_is_refused() {
        let error = FieldSelector::parse("metadata.name").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'"
        );
    }

    #[test]
    fn escapes_go_back_and_forth() {
        let selector = FieldSelector::parse(r"a=b\,c\=d").unwrap();
        assert_eq!(selector.terms[0].value, "b,c=d");
        assert_eq!(selector.to_string(), r"a=b\,c\=d");
        assert!(FieldSelector::parse(r"a=b\c").is_err());
    }
}
