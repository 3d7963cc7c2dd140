//! Versions as semver.org has them, and ranges of them: `>=1.2.0 <2.0.0 || 3.x`.

use std::cmp::Ordering;

use semver::Version;

use super::Function;

pub(super) const FUNCTIONS: &[Function] = &[("semver_compare", 2, 2, |call| {
    let version = Version::parse(call.text(0)?).map_err(|error| {
        call.problem(&format!("{:?}: {error}", call.text(0).unwrap_or_default()))
    })?;
    is_in(&version, call.text(1)?)
        .map(Into::into)
        .map_err(|error| call.problem(&error))
})];

/// Alternatives with `||` between them, each of comparisons that must all hold.
fn is_in(version: &Version, range: &str) -> Result<bool, String> {
    let mut found = false;
    for alternative in range.split("||") {
        let mut comparisons = Vec::new();
        let mut operator = String::new();
        for word in alternative.split_whitespace() {
            let start = word
                .find(|character: char| !"<>=!".contains(character))
                .unwrap_or(word.len());
            operator.push_str(&word[..start]);
            // An operator may stand apart from its version.
            if start < word.len() {
                comparisons.push((std::mem::take(&mut operator), &word[start..]));
            }
        }
        if comparisons.is_empty() || !operator.is_empty() {
            return Err(format!(
                "{range:?} is no range: a comparison lacks its version"
            ));
        }
        let mut all = true;
        for (operator, wanted) in comparisons {
            all &= holds(version, &operator, wanted)?;
        }
        found |= all;
    }
    Ok(found)
}

/// One comparison. A wildcard stands for all versions that begin so.
fn holds(version: &Version, operator: &str, wanted: &str) -> Result<bool, String> {
    let (first, beyond) = bounds(wanted)?;
    let is_below = version.cmp_precedence(&first) == Ordering::Less;
    let is_beyond = match &beyond {
        Some(beyond) => version.cmp_precedence(beyond) != Ordering::Less,
        None => version.cmp_precedence(&first) == Ordering::Greater,
    };
    match operator {
        "" | "=" | "==" => Ok(!is_below && !is_beyond),
        "!" | "!=" => Ok(is_below || is_beyond),
        "<" => Ok(is_below),
        ">=" => Ok(!is_below),
        ">" => Ok(is_beyond),
        "<=" => Ok(!is_beyond),
        other => Err(format!(
            "{other:?} compares nothing; write = != < <= > or >="
        )),
    }
}

/// The version itself; of a wildcard the least version that it stands for, and the least beyond.
fn bounds(wanted: &str) -> Result<(Version, Option<Version>), String> {
    let parts: Vec<&str> = wanted.split('.').collect();
    let is_wildcard = |part: &&str| ["x", "X", "*"].contains(part);
    let Some(known) = parts.iter().position(is_wildcard) else {
        let version = Version::parse(wanted).map_err(|error| format!("{wanted:?}: {error}"))?;
        return Ok((version, None));
    };
    let number = |index: usize| {
        let part = parts[index].parse::<u64>();
        part.map_err(|_| format!("{wanted:?} is no version with a wildcard, as 1.2.x is"))
    };
    match known {
        1 => {
            let major = number(0)?;
            Ok((
                Version::new(major, 0, 0),
                Some(Version::new(major.saturating_add(1), 0, 0)),
            ))
        }
        2 => {
            let (major, minor) = (number(0)?, number(1)?);
            Ok((
                Version::new(major, minor, 0),
                Some(Version::new(major, minor.saturating_add(1), 0)),
            ))
        }
        _ => Err(format!(
            "{wanted:?} is no version with a wildcard, as 1.2.x is"
        )),
    }
}
