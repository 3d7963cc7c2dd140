//! From the text of an expression to its tokens.
//!
//! It does not know what may follow what; that is the parser's.

use serde_json::Value;

use super::Problem;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// `name`
    Name(String),
    /// `"name"`
    Quoted(String),
    /// `$name`
    Variable(String),
    /// `'text'` or `` `JSON` ``
    Literal(Value),
    /// `12`, only within brackets.
    Integer(i64),
    /// `.`, `[?`, `&&` and all others, as they are written.
    Sign(&'static str),
    /// The end.
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Quoted(name) => write!(f, "`\"{name}\"`"),
            Self::Variable(name) => write!(f, "`${name}`"),
            Self::Literal(value) => write!(f, "the literal {value}"),
            Self::Integer(number) => write!(f, "the number {number}"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Longer signs first: `[?` is not `[` and something.
const SIGNS: [(&str, &str); 37] = [
    ("&&", "&&"),
    ("||", "||"),
    ("==", "=="),
    ("!=", "!="),
    ("<=", "<="),
    (">=", ">="),
    ("//", "//"),
    ("[?", "[?"),
    ("[]", "[]"),
    (".", "."),
    ("*", "*"),
    (",", ","),
    (":", ":"),
    ("{", "{"),
    ("}", "}"),
    ("[", "["),
    ("]", "]"),
    ("(", "("),
    (")", ")"),
    ("@", "@"),
    ("+", "+"),
    ("-", "-"),
    ("\u{2212}", "-"),
    ("/", "/"),
    ("\u{f7}", "/"),
    ("\u{d7}", "*"),
    ("%", "%"),
    ("|", "|"),
    ("<", "<"),
    (">", ">"),
    ("!", "!"),
    ("=", "="),
    ("&", "&"),
    ("$", "$"),
    (" ", ""),
    ("\t", ""),
    ("\n", ""),
];

/// All tokens of a text, with [`Token::End`] as the last.
pub fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '\r' => (None, &rest[1..]),
            'a'..='z' | 'A'..='Z' | '_' => {
                let (name, after) = name(rest);
                (Some(Token::Name(name.to_owned())), after)
            }
            '0'..='9' => integer(rest)?,
            '"' => {
                let (inner, after) = until(rest, '"')?;
                let name = serde_json::from_str(&format!("\"{inner}\""))
                    .map_err(|error| Problem::Wrong(format!("\"{inner}\" is no name: {error}")))?;
                (Some(Token::Quoted(name)), after)
            }
            '\'' => {
                let (inner, after) = until(rest, '\'')?;
                (Some(Token::Literal(unescaped(inner).into())), after)
            }
            '`' => {
                let (inner, after) = until(rest, '`')?;
                (Some(Token::Literal(json(inner)?)), after)
            }
            '$' if name(&rest[1..]).0.is_empty() => (Some(Token::Sign("$")), &rest[1..]),
            '$' => {
                let (name, after) = name(&rest[1..]);
                (Some(Token::Variable(name.to_owned())), after)
            }
            _ => sign(rest)?,
        };
        found.extend(token);
        rest = after;
    }
    found.push(Token::End);
    Ok(found)
}

fn name(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .unwrap_or(text.len());
    text.split_at(end)
}

fn integer(text: &str) -> Result<(Option<Token>, &str), Problem> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, after) = text.split_at(end);
    let number = digits
        .parse()
        .map_err(|_| Problem::Wrong(format!("{digits} is too large a number")))?;
    Ok((Some(Token::Integer(number)), after))
}

fn sign(text: &str) -> Result<(Option<Token>, &str), Problem> {
    for (written, sign) in SIGNS {
        if let Some(after) = text.strip_prefix(written) {
            return Ok(((!sign.is_empty()).then_some(Token::Sign(sign)), after));
        }
    }
    let character = text.chars().next().unwrap_or_default();
    Err(Problem::Wrong(format!("{character:?} has no meaning here")))
}

/// What stands between a quote and the next one that is not escaped, and what comes after.
fn until(text: &str, quote: char) -> Result<(&str, &str), Problem> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return Ok((&text[1..at], &text[at + 1..]));
        }
    }
    Err(Problem::Wrong(format!("a {quote} is never closed")))
}

/// In raw text only the quote and the backslash are escaped.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = (character == '\\')
            .then(|| characters.next_if(|next| matches!(next, '\'' | '\\')))
            .flatten();
        plain.push(escaped.unwrap_or(character));
    }
    plain
}

fn json(text: &str) -> Result<Value, Problem> {
    let text = text.replace("\\`", "`");
    serde_json::from_str(&text)
        .map_err(|error| Problem::Wrong(format!("`{text}` is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signs_names_and_literals_are_told_apart() {
        let found = tokens("a[?b_1 == `[1]`] | $x.\"y z\" && 'it''s'").expect("tokens");
        let signs: Vec<_> = found
            .iter()
            .filter_map(|token| match token {
                Token::Sign(sign) => Some(*sign),
                _ => None,
            })
            .collect();
        assert_eq!(signs, ["[?", "==", "]", "|", ".", "&&"]);
        assert!(found.contains(&Token::Literal(json!([1]))));
        assert!(found.contains(&Token::Variable("x".to_owned())));
        assert!(found.contains(&Token::Quoted("y z".to_owned())));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told() {
        for text in ["'a", "\"a", "`1", "'a\\'"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        assert_eq!(
            tokens(r"'it\'s \\ \n'").expect("tokens")[0],
            Token::Literal(json!(r"it's \ \n"))
        );
    }
}
