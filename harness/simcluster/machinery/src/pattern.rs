//! Regular expressions as Go reads them.
//!
//! Both engines know the same language but for details: here `\d`, `\w` and `\s` are ASCII, and a
//! class is nothing but its characters. Errors have Go's words.

use regex::Regex;
use regex_syntax::ast::{self, ErrorKind};

/// Compiles an expression; the error is what Go says, without `error parsing regexp: `.
pub(crate) fn compile(source: &str) -> Result<Regex, String> {
    if let Err(error) = ast::parse::Parser::new().parse(&translate(source)) {
        return Err(describe(source, &error));
    }
    Regex::new(&translate(source)).map_err(|_| format!("expression nests too deeply: `{source}`"))
}

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\f\r ";

/// The same expression in the language of the engine at hand.
fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.char_indices().peekable();
    // Where the class began, if inside one.
    let mut class: Option<usize> = None;
    while let Some((index, char)) = chars.next() {
        match char {
            '\\' => {
                let Some((_, escaped)) = chars.next() else {
                    out.push('\\');
                    break;
                };
                let ascii = match escaped.to_ascii_lowercase() {
                    'd' => Some(DIGIT),
                    'w' => Some(WORD),
                    's' => Some(SPACE),
                    _ => None,
                };
                match ascii {
                    Some(set) if escaped.is_ascii_uppercase() => {
                        out.push_str(&format_class("^", set));
                    }
                    Some(set) if class.is_some() => out.push_str(set),
                    Some(set) => out.push_str(&format_class("", set)),
                    None => {
                        out.push('\\');
                        out.push(escaped);
                    }
                }
            }
            '[' if class.is_none() => {
                class = Some(index);
                out.push('[');
                if let Some((_, '^')) = chars.peek() {
                    chars.next();
                    out.push('^');
                }
                // A closing bracket right at the start is a character like others.
                if let Some((_, ']')) = chars.peek() {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' if source[index..].starts_with("[:") && source[index..].contains(":]") => {
                let end = source[index..]
                    .find(":]")
                    .map_or(source.len(), |end| index + end + 2);
                out.push_str(&source[index..end]);
                while chars.peek().is_some_and(|(at, _)| *at < end) {
                    chars.next();
                }
            }
            '[' | '&' | '~' if class.is_some() => {
                out.push('\\');
                out.push(char);
            }
            ']' if class.is_some() => {
                class = None;
                out.push(']');
            }
            other => out.push(other),
        }
    }
    out
}

fn format_class(negation: &str, set: &str) -> String {
    format!("[{negation}{set}]")
}

fn describe(source: &str, error: &ast::Error) -> String {
    let pattern = error.pattern();
    let span = error.span();
    let part = pattern
        .get(span.start.offset..span.end.offset)
        .unwrap_or_default();
    let rest = pattern.get(span.start.offset..).unwrap_or_default();
    let (why, what) = match error.kind() {
        ErrorKind::ClassUnclosed => ("missing closing ]", rest),
        ErrorKind::GroupUnclosed => ("missing closing )", source),
        ErrorKind::GroupUnopened => ("unexpected )", source),
        ErrorKind::RepetitionMissing => {
            let operator = rest
                .char_indices()
                .nth(1)
                .map_or(rest, |(end, _)| &rest[..end]);
            ("missing argument to repetition operator", operator)
        }
        ErrorKind::RepetitionCountInvalid
        | ErrorKind::RepetitionCountUnclosed
        | ErrorKind::RepetitionCountDecimalEmpty
        | ErrorKind::DecimalInvalid => ("invalid repeat count", part),
        ErrorKind::EscapeUnexpectedEof => ("trailing backslash at end of expression", ""),
        ErrorKind::ClassRangeInvalid | ErrorKind::ClassRangeLiteral => {
            ("invalid character class range", part)
        }
        ErrorKind::GroupNameDuplicate { .. }
        | ErrorKind::GroupNameEmpty
        | ErrorKind::GroupNameInvalid
        | ErrorKind::GroupNameUnexpectedEof => ("invalid named capture", rest),
        ErrorKind::NestLimitExceeded(_) => ("expression nests too deeply", source),
        ErrorKind::UnsupportedLookAround | ErrorKind::FlagUnrecognized => {
            ("invalid or unsupported Perl syntax", part)
        }
        _ => ("invalid escape sequence", part),
    };
    format!("{why}: `{what}`")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_ascii_and_hold_their_characters() {
        let matches = |pattern: &str, text: &str| compile(pattern).unwrap().is_match(text);
        assert!(matches(r"^\d+$", "123") && !matches(r"^\d$", "٣"));
        assert!(matches(r"^[\w.]+$", "a_1.") && matches(r"^\W$", "é"));
        assert!(matches("^[[]$", "[") && matches("^[]a]$", "]") && matches("^[a&&b]$", "&"));
        assert!(matches("^[[:alpha:]]$", "x") && matches(r"^[\D]$", "x"));
    }

    #[test]
    fn errors_have_the_words_of_go() {
        for (pattern, expected) in [
            ("([", "missing closing ]: `[`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ] {
            assert_eq!(compile(pattern).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_expression_panics(source in "[a\\[\\]\\\\dwS(){}?*+^$|&~:é-]{0,16}") {
            let _ = compile(&source);
        }
    }
}
