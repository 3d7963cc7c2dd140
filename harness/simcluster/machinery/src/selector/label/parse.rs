//! Reading the text form of label selectors.

use super::{Operator, ParseError, Requirement};
use crate::field::{Error, Path};
use crate::name;

/// The requirements of a selector, in the order of the text.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, ParseError> {
    Parser {
        tokens: lex(text),
        position: 0,
    }
    .parse()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Error,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

fn symbol(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "(" => Token::Open,
        _ => return None,
    })
}

fn lex(text: &str) -> Vec<(Token, String)> {
    let is_space = |char: char| matches!(char, ' ' | '\t' | '\r' | '\n');
    let is_symbol = |char: char| "=!(),><".contains(char);
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if rest.starts_with(is_symbol) {
            let longest = [2, 1].into_iter().find_map(|length| {
                let candidate = rest.get(..length)?;
                Some((symbol(candidate)?, candidate))
            });
            let Some((token, literal)) = longest else {
                tokens.push((Token::Error, rest.to_owned()));
                break;
            };
            tokens.push((token, literal.to_owned()));
            rest = &rest[literal.len()..];
        } else {
            let end = rest
                .find(|char| is_symbol(char) || is_space(char))
                .unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            let token = match word {
                "in" => Token::In,
                "notin" => Token::NotIn,
                _ => Token::Identifier,
            };
            tokens.push((token, word.to_owned()));
            rest = tail;
        }
        rest = rest.trim_start_matches(is_space);
    }
    tokens.push((Token::End, String::new()));
    tokens
}

struct Parser {
    tokens: Vec<(Token, String)>,
    position: usize,
}

impl Parser {
    /// `in` and `notin` are words like others except between a key and its values.
    fn at(&self, position: usize, operators: bool) -> (Token, String) {
        let last = self.tokens.len() - 1;
        let (token, literal) = self.tokens[position.min(last)].clone();
        match token {
            Token::In | Token::NotIn if !operators => (Token::Identifier, literal),
            _ => (token, literal),
        }
    }

    fn peek(&self) -> (Token, String) {
        self.at(self.position, false)
    }

    fn next(&mut self) -> (Token, String) {
        self.position += 1;
        self.at(self.position - 1, false)
    }

    fn parse(mut self) -> Result<Vec<Requirement>, ParseError> {
        let mut requirements = Vec::new();
        loop {
            let (token, literal) = self.peek();
            match token {
                Token::Identifier | Token::Not => {}
                Token::End => return Ok(requirements),
                _ => return Err(unexpected(&literal, "!, identifier, or 'end of string'")),
            }
            let requirement = self.requirement();
            requirements
                .push(requirement.map_err(|error| {
                    ParseError(format!("unable to parse requirement: {error}"))
                })?);
            let (token, literal) = self.next();
            match token {
                Token::End => return Ok(requirements),
                Token::Comma => {
                    let (token, literal) = self.peek();
                    if !matches!(token, Token::Identifier | Token::Not) {
                        return Err(unexpected(&literal, "identifier after ','"));
                    }
                }
                _ => return Err(unexpected(&literal, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        let (mut token, mut key) = self.next();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next();
        }
        if token != Token::Identifier {
            return Err(unexpected(&key, "identifier"));
        }
        let complaints = name::qualified_name(&key);
        if !complaints.is_empty() {
            let error = Error::invalid(&Path::root(), key, complaints.join("; "));
            return Err(ParseError(error.to_string()));
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        self.position += 1;
        let (token, literal) = self.at(self.position - 1, true);
        let operator = match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return Err(unexpected(&literal, "in, notin, =, ==, !=, gt, lt")),
        };
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        values.sort_unstable();
        values.dedup();
        Requirement::new(&key, operator, values)
    }

    fn values(&mut self) -> Result<Vec<String>, ParseError> {
        let (token, literal) = self.next();
        if token != Token::Open {
            return Err(ParseError(format!("found '{literal}' expected: '('")));
        }
        match self.peek() {
            (Token::Identifier | Token::Comma, first) => {
                let values = self.identifiers()?;
                if self.next().0 != Token::Close {
                    return Err(unexpected(&first, "')'"));
                }
                Ok(values)
            }
            (Token::Close, _) => {
                self.next();
                Ok(vec![String::new()])
            }
            (_, literal) => Err(unexpected(&literal, "',', ')' or identifier")),
        }
    }

    fn identifiers(&mut self) -> Result<Vec<String>, ParseError> {
        let mut values = Vec::new();
        loop {
            match self.next() {
                (Token::Identifier, literal) => {
                    values.push(literal);
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, literal) => return Err(unexpected(&literal, "',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    // A comma with nothing before or behind it stands for the empty value.
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek().0 {
                        Token::Close => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        Token::Comma => values.push(String::new()),
                        _ => {}
                    }
                }
                (_, literal) => return Err(unexpected(&literal, "',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, ParseError> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            (Token::Identifier, literal) => Ok(literal),
            (_, literal) => Err(unexpected(&literal, "identifier")),
        }
    }
}

fn unexpected(found: &str, expected: &str) -> ParseError {
    ParseError(format!("found '{found}', expected: {expected}"))
}
