//! The variables of CEL expressions in webhooks and admission policies, and what is said of an
//! expression that may not be used. Evaluating them is the server's business.

use std::collections::BTreeMap;

use serde_json::Value;
use simcluster_machinery::cel::{Expression, Gives, Known, admission};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::complain;
use crate::read::Read;

/// As many conditions as one webhook or policy may have.
const MAX_CONDITIONS: usize = 64;

/// What expressions may use besides `variables`.
pub fn known(has_params: bool) -> BTreeMap<String, Known> {
    admission::variables(has_params)
}

/// Compiles an expression, or says what is wrong with it.
pub(crate) fn check(
    text: &str,
    known: &BTreeMap<String, Known>,
    gives: Gives,
    path: &Path,
    errors: &mut Vec<Error>,
) -> Option<Expression> {
    match Expression::compile(text, known, gives) {
        Ok(expression) => Some(expression),
        Err(why) => {
            errors.push(Error::invalid(path, text, why));
            None
        }
    }
}

/// Checks `matchConditions`.
pub(crate) fn match_conditions(
    conditions: &[Value],
    has_params: bool,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    if conditions.len() > MAX_CONDITIONS {
        errors.push(Error::too_many(path, conditions.len(), MAX_CONDITIONS));
    }
    let known = known(has_params);
    let mut names: Vec<&str> = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        let (place, text) = (
            path.child("expression"),
            condition.text("expression").trim(),
        );
        if text.is_empty() {
            errors.push(Error::required(&place, ""));
        } else {
            check(text, &known, Gives::Condition, &place, errors);
        }
        let (place, own) = (path.child("name"), condition.text("name"));
        if own.is_empty() {
            errors.push(Error::required(&place, ""));
            continue;
        }
        complain(errors, &place, own, name::qualified_name(own));
        if names.contains(&own) {
            errors.push(Error::duplicate(&place, own));
        }
        names.push(own);
    }
}
