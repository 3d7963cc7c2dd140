//! Text by chance that a regular expression describes.

use rand::{Rng, seq::IndexedRandom as _};
use regex_syntax::hir::{Class, Hir, HirKind};

use super::Function;

/// What may be repeated without end is repeated so many times more at most.
const MORE: u32 = 8;
/// A text has no more parts than this, whatever is asked for.
const LONGEST: u32 = 10_000;

pub(super) const FUNCTIONS: &[Function] = &[("random", 1, 1, |call| {
    let pattern =
        regex_syntax::parse(call.text(0)?).map_err(|error| call.problem(&error.to_string()))?;
    let mut text = String::new();
    let mut left = LONGEST;
    write(&pattern, &mut rand::rng(), &mut text, &mut left);
    Ok(text.into())
})];

fn write(pattern: &Hir, chance: &mut impl Rng, text: &mut String, left: &mut u32) {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.extend(one_of(class, chance)),
        HirKind::Repetition(repetition) => {
            let most = repetition
                .max
                .unwrap_or(repetition.min.saturating_add(MORE));
            for _ in 0..chance.random_range(repetition.min..=most.max(repetition.min)) {
                if *left == 0 {
                    return;
                }
                *left -= 1;
                write(&repetition.sub, chance, text, left);
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, chance, text, left),
        HirKind::Concat(parts) => {
            for part in parts {
                write(part, chance, text, left);
            }
        }
        HirKind::Alternation(choices) => {
            if let Some(choice) = choices.choose(chance) {
                write(choice, chance, text, left);
            }
        }
    }
}

/// A character of the class; one that can be read, where the class has such.
fn one_of(class: &Class, chance: &mut impl Rng) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class
            .iter()
            .map(|range| (range.start(), range.end()))
            .collect(),
        Class::Bytes(class) => class
            .iter()
            .map(|range| (char::from(range.start()), char::from(range.end())))
            .collect(),
    };
    let has = |character: &char| {
        ranges
            .iter()
            .any(|(first, last)| (first..=last).contains(&character))
    };
    let readable: Vec<char> = (' '..='~').filter(has).collect();
    match readable.choose(chance) {
        Some(character) => Some(*character),
        None => ranges.choose(chance).map(|(first, _)| *first),
    }
}
