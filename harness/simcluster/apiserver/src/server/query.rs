//! The query of a request: its pairs, decoded, and the API's way of reading flags and numbers.

use std::num::{IntErrorKind, ParseIntError};

/// The pairs of a query, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `a=b&c=d`.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            text.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name, true), decode(value, true))
                })
                .collect(),
        )
    }

    /// The first value of a parameter, empty if it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The first value of a parameter.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// A flag: absent, `0` and `false` are false; present without a value and anything else true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false"))
    }

    /// A flag that may be absent.
    pub(crate) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.find(name).map(|_| self.flag(name))
    }

    /// A number, or what Go says of the text that is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.find(name).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error: ParseIntError| {
            let why = match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            format!("strconv.ParseInt: parsing {text:?}: {why}")
        })
    }
}

/// Undoes percent encoding; what is not UTF-8 is replaced.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (b'+', _) if plus_is_space => {
                decoded.push(b' ');
                at += 1;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&watch&limit=5&x=1+2&bad=%zz");
        assert_eq!(query.get("labelSelector"), "a=b,c");
        assert!(query.flag("watch") && !query.flag("absent"));
        assert_eq!(query.number("limit"), Ok(Some(5)));
        assert_eq!(query.get("x"), "1 2");
        assert_eq!(query.get("bad"), "%zz");
        let refused = "strconv.ParseInt: parsing \"1 2\": invalid syntax";
        assert_eq!(query.number("x"), Err(refused.to_owned()));
    }
}
