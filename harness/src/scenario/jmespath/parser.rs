//! From tokens to a tree, by the strength with which each operator binds.

use serde_json::Value;

use super::{
    Problem, functions,
    lexer::{Token, tokens},
};

/// An expression, as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `@`, and what is not written.
    Current,
    /// `$`
    Root,
    /// `$name`
    Variable(String),
    /// A value that stands in the expression.
    Literal(Value),
    /// `name`
    Field(String),
    /// `[1]`
    Index(i64),
    /// `[1:9:2]`
    Slice(Option<i64>, Option<i64>, Option<i64>),
    /// `a.b`, `a[0]`: nothing comes of nothing.
    Chain(Box<Node>, Box<Node>),
    /// `a | b`
    Pipe(Box<Node>, Box<Node>),
    /// `a[*].b`: for each item of a list.
    Each(Box<Node>, Box<Node>),
    /// `a.*.b`: for each value of an object.
    EachValue(Box<Node>, Box<Node>),
    /// `a[?condition].b`
    Filter {
        /// The list.
        of: Box<Node>,
        /// Which items.
        condition: Box<Node>,
        /// What of each.
        then: Box<Node>,
    },
    /// `a[]`
    Flatten(Box<Node>),
    /// `[a, b]`
    List(Vec<Node>),
    /// `{a: b}`
    Object(Vec<(String, Node)>),
    /// `a || b`
    Or(Box<Node>, Box<Node>),
    /// `a && b`
    And(Box<Node>, Box<Node>),
    /// `!a`
    Not(Box<Node>),
    /// `a == b`, `a < b`
    Compare(&'static str, Box<Node>, Box<Node>),
    /// `a + b`
    Arithmetic(&'static str, Box<Node>, Box<Node>),
    /// `-a` and `+a`
    Signed(&'static str, Box<Node>),
    /// `name(a, b)`
    Call(String, Vec<Node>),
    /// `&a`
    Reference(Box<Node>),
    /// `let $a = b in c`
    Let(Vec<(String, Node)>, Box<Node>),
}

/// Below this, an operator ends what is done for each item.
const PROJECTION: u8 = 10;
const STAR: u8 = 20;
const FILTER: u8 = 21;
const FLATTEN: u8 = 9;
const DOT: u8 = 40;
const NOT: u8 = 45;

/// How strongly a sign binds what stands before it.
fn power(token: &Token) -> u8 {
    let Token::Sign(sign) = token else {
        return 0;
    };
    match *sign {
        "|" => 1,
        "||" => 2,
        "&&" => 3,
        "==" | "!=" | "<" | "<=" | ">" | ">=" => 5,
        "+" | "-" => 6,
        "*" | "/" | "//" | "%" => 7,
        "[]" => FLATTEN,
        "[?" => FILTER,
        "." => DOT,
        "[" => 55,
        _ => 0,
    }
}

/// Reads an expression.
pub fn parse(text: &str) -> Result<Node, Problem> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
    };
    let node = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(node),
        other => Err(Problem::Wrong(format!("{other} cannot follow there"))),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(is) if *is == sign)
    }

    /// Takes a sign if it is there.
    fn take(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), Problem> {
        if self.take(sign) {
            return Ok(());
        }
        Err(Problem::Wrong(format!(
            "`{sign}` is missing before {}",
            self.peek()
        )))
    }

    fn expression(&mut self, above: u8) -> Result<Node, Problem> {
        let mut left = self.prefix()?;
        while above < power(self.peek()) {
            left = self.infix(left)?;
        }
        Ok(left)
    }

    fn boxed(&mut self, above: u8) -> Result<Box<Node>, Problem> {
        self.expression(above).map(Box::new)
    }

    fn prefix(&mut self) -> Result<Node, Problem> {
        match self.next() {
            Token::Name(name) if name == "let" && matches!(self.peek(), Token::Variable(_)) => {
                self.bindings()
            }
            Token::Name(name) if self.take("(") => self.call(name),
            Token::Name(name) | Token::Quoted(name) => Ok(Node::Field(name)),
            Token::Variable(name) => Ok(Node::Variable(name)),
            Token::Literal(value) => Ok(Node::Literal(value)),
            Token::Integer(number) => Err(Problem::Wrong(format!(
                "a number is written in backticks: `{number}`"
            ))),
            Token::Sign(sign) => self.prefix_sign(sign),
            Token::End => Err(Problem::Wrong("it ends too early".to_owned())),
        }
    }

    fn prefix_sign(&mut self, sign: &'static str) -> Result<Node, Problem> {
        let current = || Box::new(Node::Current);
        match sign {
            "@" => Ok(Node::Current),
            "$" => Ok(Node::Root),
            "!" => Ok(Node::Not(self.boxed(NOT)?)),
            "&" => Ok(Node::Reference(self.boxed(0)?)),
            "+" | "-" => Ok(Node::Signed(sign, self.boxed(6)?)),
            "(" => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                Ok(inner)
            }
            "*" => Ok(Node::EachValue(current(), self.for_each(STAR)?)),
            "[?" => self.filter(Node::Current),
            "[]" => self.flatten(Node::Current),
            "{" => self.object(),
            "[" => match self.brackets(Node::Current)? {
                Some(node) => Ok(node),
                None => self.list(),
            },
            other => Err(Problem::Wrong(format!("`{other}` cannot stand there"))),
        }
    }

    fn infix(&mut self, left: Node) -> Result<Node, Problem> {
        let token = self.next();
        let strength = power(&token);
        let Token::Sign(sign) = token else {
            return Err(Problem::Wrong(format!("{token} cannot follow there")));
        };
        let left_box = Box::new(left);
        Ok(match sign {
            "." if self.take("*") => Node::EachValue(left_box, self.for_each(DOT)?),
            "." => Node::Chain(left_box, Box::new(self.after_dot(DOT)?)),
            "|" => Node::Pipe(left_box, self.boxed(strength)?),
            "||" => Node::Or(left_box, self.boxed(strength)?),
            "&&" => Node::And(left_box, self.boxed(strength)?),
            "==" | "!=" | "<" | "<=" | ">" | ">=" => {
                Node::Compare(sign, left_box, self.boxed(strength)?)
            }
            "+" | "-" | "*" | "/" | "//" | "%" => {
                Node::Arithmetic(sign, left_box, self.boxed(strength)?)
            }
            "[?" => self.filter(*left_box)?,
            "[]" => self.flatten(*left_box)?,
            "[" => self.brackets(*left_box)?.ok_or_else(|| {
                Problem::Wrong(format!(
                    "in brackets after a value stands a number, `*` or a slice, not {}",
                    self.peek()
                ))
            })?,
            other => return Err(Problem::Wrong(format!("`{other}` cannot follow there"))),
        })
    }

    /// After `[`: an index, a slice or `*`; `None` if it is neither.
    fn brackets(&mut self, of: Node) -> Result<Option<Node>, Problem> {
        let of = Box::new(of);
        if self.is("*") && self.tokens.get(self.at + 1) == Some(&Token::Sign("]")) {
            self.at += 2;
            return Ok(Some(Node::Each(of, self.for_each(STAR)?)));
        }
        let negative = self.is("-");
        let after = self.tokens.get(self.at + usize::from(negative));
        if !matches!(after, Some(Token::Integer(_))) && !self.is(":") {
            return Ok(None);
        }
        let mut parts = [None; 3];
        let mut part = 0;
        while !self.is("]") {
            if self.take(":") {
                part += 1;
                if part == parts.len() {
                    return Err(Problem::Wrong("a slice has two colons at most".to_owned()));
                }
                continue;
            }
            let sign = if self.take("-") { -1 } else { 1 };
            match self.next() {
                Token::Integer(number) if parts[part].is_none() => {
                    parts[part] = Some(sign * number);
                }
                other => {
                    return Err(Problem::Wrong(format!("{other} has no place in a slice")));
                }
            }
        }
        self.expect("]")?;
        if let (0, Some(index)) = (part, parts[0]) {
            return Ok(Some(Node::Chain(of, Box::new(Node::Index(index)))));
        }
        if parts[2] == Some(0) {
            return Err(Problem::Wrong("a slice cannot go in steps of 0".to_owned()));
        }
        let slice = Node::Chain(of, Box::new(Node::Slice(parts[0], parts[1], parts[2])));
        Ok(Some(Node::Each(Box::new(slice), self.for_each(STAR)?)))
    }

    /// What is done with each item of a projection.
    fn for_each(&mut self, strength: u8) -> Result<Box<Node>, Problem> {
        let next = power(self.peek());
        Ok(Box::new(if next < PROJECTION {
            Node::Current
        } else if self.take(".") {
            self.after_dot(strength)?
        } else {
            self.expression_on_current(strength)?
        }))
    }

    /// Brackets that follow a projection belong to each item.
    fn expression_on_current(&mut self, above: u8) -> Result<Node, Problem> {
        let mut left = self.infix(Node::Current)?;
        while above < power(self.peek()) {
            left = self.infix(left)?;
        }
        Ok(left)
    }

    fn after_dot(&mut self, strength: u8) -> Result<Node, Problem> {
        match self.peek() {
            Token::Name(_) | Token::Quoted(_) | Token::Sign("*") => self.expression(strength),
            Token::Sign("[") => {
                self.at += 1;
                self.list()
            }
            Token::Sign("{") => {
                self.at += 1;
                self.object()
            }
            other => Err(Problem::Wrong(format!("{other} cannot follow a dot"))),
        }
    }

    fn filter(&mut self, of: Node) -> Result<Node, Problem> {
        let condition = self.boxed(0)?;
        self.expect("]")?;
        let then = if self.is("[]") {
            Box::new(Node::Current)
        } else {
            self.for_each(FILTER)?
        };
        Ok(Node::Filter {
            of: Box::new(of),
            condition,
            then,
        })
    }

    fn flatten(&mut self, of: Node) -> Result<Node, Problem> {
        let flat = Box::new(Node::Flatten(Box::new(of)));
        Ok(Node::Each(flat, self.for_each(FLATTEN)?))
    }

    fn list(&mut self) -> Result<Node, Problem> {
        let mut items = vec![self.expression(0)?];
        while self.take(",") {
            items.push(self.expression(0)?);
        }
        self.expect("]")?;
        Ok(Node::List(items))
    }

    fn object(&mut self) -> Result<Node, Problem> {
        let mut fields = Vec::new();
        loop {
            let (Token::Name(key) | Token::Quoted(key)) = self.next() else {
                return Err(Problem::Wrong("an object's keys are names".to_owned()));
            };
            self.expect(":")?;
            fields.push((key, self.expression(0)?));
            if !self.take(",") {
                break;
            }
        }
        self.expect("}")?;
        Ok(Node::Object(fields))
    }

    fn call(&mut self, name: String) -> Result<Node, Problem> {
        let mut arguments = Vec::new();
        if !self.take(")") {
            arguments.push(self.expression(0)?);
            while self.take(",") {
                arguments.push(self.expression(0)?);
            }
            self.expect(")")?;
        }
        functions::check(&name, arguments.len())?;
        Ok(Node::Call(name, arguments))
    }

    fn bindings(&mut self) -> Result<Node, Problem> {
        let mut bindings = Vec::new();
        loop {
            let Token::Variable(name) = self.next() else {
                return Err(Problem::Wrong("`let` gives values to $names".to_owned()));
            };
            self.expect("=")?;
            bindings.push((name, self.expression(0)?));
            if !self.take(",") {
                break;
            }
        }
        match self.next() {
            Token::Name(word) if word == "in" => {}
            other => {
                return Err(Problem::Wrong(format!(
                    "`let` needs an `in` before {other}"
                )));
            }
        }
        Ok(Node::Let(bindings, self.boxed(0)?))
    }
}
