//! The text of a rule: parsing it, and pointing into it.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, MapEntryExpr, MapExpr, SelectExpr,
    operators,
};
use kube_cel::cel::parser::Parser;

use super::authorizer::REQUEST_RESOURCE;
use super::cost;

/// Parses an expression; the error is what the real server's compiler says.
pub(super) fn parse(source: &str) -> Result<IdedExpr, String> {
    let parser = Parser::default().enable_optional_syntax(true);
    parser
        .parse(source)
        .map_err(|errors| errors.to_string().replace("\n| ", "\n | "))
}

/// The name under which [`super::run`] offers the selection of a field that may be absent.
pub(super) const OPTIONAL_FIELD: &str = "@optional_field";
/// The same for an entry of a list or map.
pub(super) const OPTIONAL_ENTRY: &str = "@optional_entry";

/// The same expression for the interpreter: selections with a question mark become calls, because
/// the interpreter's own fail on a field that is absent. What is selected from such a selection is
/// optional, too. Loops count their turns.
pub(super) fn prepare(mut expression: IdedExpr) -> IdedExpr {
    rewrite(&mut expression);
    expression
}

/// Whether the expression is a selection that may be absent.
fn rewrite(expression: &mut IdedExpr) -> bool {
    let replaced = match &mut expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => None,
        Expr::Select(select) if is_request_resource(select) => {
            expression.expr = Expr::Ident(REQUEST_RESOURCE.to_owned());
            return false;
        }
        Expr::Select(select) => {
            let optional = rewrite(&mut select.operand) && !select.test;
            optional.then(|| {
                let name = LiteralValue::String(select.field.clone().into());
                let name = IdedExpr {
                    id: expression.id,
                    expr: Expr::Literal(name),
                };
                let operand = std::mem::take(&mut *select.operand);
                (OPTIONAL_FIELD, vec![operand, name])
            })
        }
        Expr::Call(call) => {
            call.target.as_deref_mut().map(rewrite);
            let mut optional = call
                .args
                .iter_mut()
                .map(rewrite)
                .collect::<Vec<_>>()
                .into_iter();
            let first = optional.next().unwrap_or(false);
            let name = match call.func_name.as_str() {
                operators::OPT_SELECT => Some(OPTIONAL_FIELD),
                operators::OPT_INDEX => Some(OPTIONAL_ENTRY),
                operators::INDEX if first => Some(OPTIONAL_ENTRY),
                _ => None,
            };
            name.map(|name| (name, std::mem::take(&mut call.args)))
        }
        Expr::List(list) => {
            list.elements.iter_mut().for_each(|one| {
                rewrite(one);
            });
            None
        }
        Expr::Map(map) => {
            map.entries
                .iter_mut()
                .for_each(|entry| rewrite_entry(&mut entry.expr));
            None
        }
        Expr::Struct(object) => {
            let entries = std::mem::take(&mut object.entries);
            let entries = entries.into_iter().map(as_map_entry).collect();
            expression.expr = Expr::Map(MapExpr { entries });
            return false;
        }
        Expr::Comprehension(one) => {
            for part in [
                &mut one.iter_range,
                &mut one.accu_init,
                &mut one.loop_cond,
                &mut one.loop_step,
                &mut one.result,
            ] {
                rewrite(part);
            }
            one.loop_cond = cost::counted(std::mem::take(&mut one.loop_cond));
            None
        }
    };
    let Some((name, args)) = replaced else {
        return false;
    };
    expression.expr = Expr::Call(CallExpr {
        func_name: name.to_owned(),
        target: None,
        args,
    });
    true
}

/// The interpreter knows no messages; a map of their fields does as well.
fn as_map_entry(mut entry: IdedEntryExpr) -> IdedEntryExpr {
    rewrite_entry(&mut entry.expr);
    if let EntryExpr::StructField(field) = entry.expr {
        let name = LiteralValue::String(field.field.into());
        entry.expr = EntryExpr::MapEntry(MapEntryExpr {
            key: IdedExpr {
                id: entry.id,
                expr: Expr::Literal(name),
            },
            value: field.value,
            optional: field.optional,
        });
    }
    entry
}

/// Whether it is `authorizer.requestResource`, which is a variable by itself.
pub(super) fn is_request_resource(select: &SelectExpr) -> bool {
    let authorizer = matches!(&select.operand.expr, Expr::Ident(name) if name == "authorizer");
    authorizer && select.field == "requestResource" && !select.test
}

fn rewrite_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::MapEntry(entry) => {
            rewrite(&mut entry.key);
            rewrite(&mut entry.value);
        }
        EntryExpr::StructField(field) => {
            rewrite(&mut field.value);
        }
    }
}

/// Whether an expression looks at the old value.
pub(super) fn uses_old_self(expression: &IdedExpr) -> bool {
    mentions(expression, "oldSelf")
}

/// Whether an expression uses a variable.
pub(super) fn mentions(expression: &IdedExpr, name: &str) -> bool {
    let of = |one: &IdedExpr| mentions(one, name);
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => false,
        Expr::Ident(ident) => ident == name,
        Expr::Select(select) => of(&select.operand),
        Expr::Call(call) => call.target.as_deref().is_some_and(of) || call.args.iter().any(of),
        Expr::List(list) => list.elements.iter().any(of),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => of(&entry.key) || of(&entry.value),
            EntryExpr::StructField(field) => of(&field.value),
        }),
        Expr::Struct(object) => object.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => of(&entry.key) || of(&entry.value),
            EntryExpr::StructField(field) => of(&field.value),
        }),
        Expr::Comprehension(one) => [
            &one.iter_range,
            &one.accu_init,
            &one.loop_cond,
            &one.loop_step,
            &one.result,
        ]
        .into_iter()
        .any(of),
    }
}

/// What to look for when pointing at a mistake; the syntax tree does not know its places.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// `.name`
    Field(&'a str),
    /// `name`, not behind a dot
    Ident(&'a str),
    /// the parenthesis of `name(`
    Call(&'a str),
    /// what follows the parenthesis of `name(`
    Argument(&'a str),
    /// an operator
    Operator(&'a str),
}

/// `ERROR: <input>:1:5: why`, with the line and an arrow below it.
pub(super) fn pointed(source: &str, target: Target<'_>, why: &str) -> String {
    let at = find(source, target).unwrap_or(0);
    let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[start..].lines().next().unwrap_or_default();
    let number = source[..at].matches('\n').count() + 1;
    let column = source[start..at].chars().count();
    let dots = ".".repeat(column);
    format!(
        "ERROR: <input>:{number}:{}: {why}\n | {line}\n | {dots}^",
        column + 1
    )
}

fn find(source: &str, target: Target<'_>) -> Option<usize> {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    let mut before = ' ';
    for (index, char) in source.char_indices() {
        if let Some(open) = quote {
            match char {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if char == open => quote = None,
                _ => {}
            }
            continue;
        }
        if matches!(char, '\'' | '"') {
            quote = Some(char);
            continue;
        }
        let rest = &source[index..];
        let word = |text: &str, name: &str| {
            text.strip_prefix(name)
                .is_some_and(|rest| !rest.starts_with(is_ident))
        };
        let found = match target {
            Target::Field(name) => rest
                .strip_prefix('.')
                .is_some_and(|rest| word(rest.trim_start_matches('?').trim_start(), name)),
            Target::Ident(name) => word(rest, name) && !is_ident(before) && before != '.',
            Target::Call(name) | Target::Argument(name) => word(rest, name) && !is_ident(before),
            Target::Operator(operator) => rest.starts_with(operator),
        };
        if found {
            return Some(match target {
                Target::Call(name) => index + rest.find('(').unwrap_or(name.len()),
                Target::Argument(name) => index + rest.find('(').map_or(name.len(), |at| at + 1),
                _ => index,
            });
        }
        if !char.is_whitespace() {
            before = char;
        }
    }
    None
}

fn is_ident(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}
