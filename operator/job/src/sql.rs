//! The only place where names and values become SQL text.
//!
//! The escapes of [`literal`] hold in a session whose `sql_mode` has neither `NO_BACKSLASH_ESCAPES` nor
//! `ANSI_QUOTES`: every session begins with [`PRELUDE`]. The text has no line break, so that the client
//! program, which reads statements by lines, sees each statement as we wrote it. It sends nothing.

use thiserror::Error;

/// The first statement of every session.
pub const PRELUDE: &str = "SET SESSION sql_mode = ''";

/// A text that MySQL cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuoteError {
    /// No MySQL name or password has it, and C strings on the way would end there.
    #[error("the text has a NUL byte, which MySQL does not accept here; choose a text without it")]
    Nul,
    /// A name must have 1 to 64 characters.
    #[error("a name in MySQL has 1 to 64 characters; this one has {0}")]
    NameLength(usize),
}

/// A string literal: `it's` becomes `'it''s'`.
pub fn literal(text: &str) -> Result<String, QuoteError> {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for character in text.chars() {
        match character {
            '\0' => return Err(QuoteError::Nul),
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{1a}' => quoted.push_str("\\Z"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    Ok(quoted)
}

/// An identifier: ``a`b`` becomes `` `a``b` ``.
pub fn identifier(name: &str) -> Result<String, QuoteError> {
    let characters = name.chars().count();
    if characters == 0 || characters > 64 {
        return Err(QuoteError::NameLength(characters));
    }
    if name.contains('\0') {
        return Err(QuoteError::Nul);
    }
    Ok(format!("`{}`", name.replace('`', "``")))
}

/// An account: `'root'@'%'`.
pub fn account(user: &str, host: &str) -> Result<String, QuoteError> {
    Ok(format!("{}@{}", literal(user)?, literal(host)?))
}

/// Undoes what the client's batch output does to a value: `\n`, `\t`, `\0` and `\\`.
pub fn unescape_batch(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('0') => plain.push('\0'),
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a literal as MySQL does with an empty `sql_mode`: the reference for the property below.
    fn mysql_reads(literal: &str) -> Option<String> {
        let inner = literal.strip_prefix('\'')?;
        let mut text = String::new();
        let mut characters = inner.chars().peekable();
        loop {
            match characters.next()? {
                '\'' if characters.peek() == Some(&'\'') => {
                    characters.next();
                    text.push('\'');
                }
                // The literal ends here: anything after it would be injected SQL.
                '\'' => return characters.next().is_none().then_some(text),
                '\\' => text.push(match characters.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    'Z' => '\u{1a}',
                    't' => '\t',
                    'b' => '\u{8}',
                    '0' => '\0',
                    other => other,
                }),
                other => text.push(other),
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_its_literal(text in "[^\0]*") {
            let quoted = literal(&text).unwrap();
            prop_assert!(!quoted.contains(['\n', '\r']));
            prop_assert_eq!(mysql_reads(&quoted), Some(text));
        }

        #[test]
        fn no_name_leaves_its_backticks(name in "[^\0]{1,64}") {
            let quoted = identifier(&name).unwrap();
            let inner = quoted.strip_prefix('`').unwrap().strip_suffix('`').unwrap();
            prop_assert_eq!(inner.replace("``", "").contains('`'), false);
            prop_assert_eq!(inner.replace("``", "`"), name);
        }
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert_eq!(literal("a\0b"), Err(QuoteError::Nul));
        assert_eq!(identifier("a\0b"), Err(QuoteError::Nul));
    }

    #[test]
    fn a_name_has_1_to_64_characters() {
        assert_eq!(identifier(""), Err(QuoteError::NameLength(0)));
        assert_eq!(identifier(&"я".repeat(65)), Err(QuoteError::NameLength(65)));
        assert!(identifier(&"я".repeat(64)).is_ok());
    }

    #[test]
    fn injection_stays_inside_the_literal() {
        assert_eq!(
            account("Rick'; SELECT 'Astley", "%").unwrap(),
            "'Rick''; SELECT ''Astley'@'%'"
        );
    }

    #[test]
    fn batch_output_is_undone() {
        assert_eq!(unescape_batch(r"a\tb\nc\\d"), "a\tb\nc\\d");
    }
}
