//! From files to [`Document`]s; what does not fit is refused with its line, its column and a suggestion.
//!
//! A folder holds a `scenario.yaml`, a `chainsaw-test.yaml`, or files as kuttl names them (see
//! [`super::kuttl`]). A file may hold several documents.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    kuttl,
    model::{CHAINSAW, Document, OURS, StepTemplate},
};

/// A scenario that was read, and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The file, for messages.
    pub path: PathBuf,
    /// Where the files that it names are.
    pub folder: PathBuf,
    /// What it says.
    pub document: Document,
}

/// A file that is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read at all.
    #[error("{}: cannot be read: {why}; name a scenario's file or folder that is there", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// It says something that is not understood.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What, and what was perhaps meant.
        problem: String,
    },
    /// There is nothing to run.
    #[error("{}: no scenario.yaml, no chainsaw-test.yaml and no files such as 00-install.yaml", .0.display())]
    Nothing(PathBuf),
}

impl LoadError {
    /// What an error of the system about this file or folder means.
    pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> Self {
        |why| Self::Unreadable {
            path: path.to_owned(),
            why,
        }
    }
}

/// File names that make a folder a scenario.
const NAMES: [&str; 4] = [
    "scenario.yaml",
    "scenario.yml",
    "chainsaw-test.yaml",
    "chainsaw-test.yml",
];

/// Reads a file, or the scenario of a folder.
pub fn load(path: &Path) -> Result<Vec<Loaded>, LoadError> {
    if !path.is_dir() {
        return load_file(path);
    }
    for name in NAMES {
        let file = path.join(name);
        if file.exists() {
            return load_file(&file);
        }
    }
    match kuttl::load(path)? {
        Some(loaded) => Ok(vec![loaded]),
        None => Err(LoadError::Nothing(path.to_owned())),
    }
}

/// Every scenario at or below a path, in the order of their names.
pub fn discover(path: &Path) -> Result<Vec<Loaded>, LoadError> {
    match load(path) {
        Err(LoadError::Nothing(_)) => {}
        outcome => return outcome,
    }
    let mut folders: Vec<PathBuf> = fs::read_dir(path)
        .map_err(LoadError::unreadable(path))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        match discover(&folder) {
            Err(LoadError::Nothing(_)) => {}
            outcome => found.extend(outcome?),
        }
    }
    if found.is_empty() {
        return Err(LoadError::Nothing(path.to_owned()));
    }
    Ok(found)
}

fn load_file(path: &Path) -> Result<Vec<Loaded>, LoadError> {
    let text = read(path)?;
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let documents: Vec<Document> = documents(path, &text)?;
    for document in &documents {
        let of = (document.api_version.as_str(), document.kind.as_str());
        if of != (CHAINSAW, "Test") && of != (OURS, "Scenario") {
            return Err(LoadError::Wrong {
                path: path.to_owned(),
                line: 1,
                column: 1,
                problem: format!(
                    "{} in {} is not known; write {OURS} and Scenario, or {CHAINSAW} and Test",
                    document.kind, document.api_version
                ),
            });
        }
    }
    Ok(documents
        .into_iter()
        .map(|document| Loaded {
            path: path.to_owned(),
            folder: folder.clone(),
            document,
        })
        .collect())
}

/// Reads a step template.
pub(super) fn load_template(path: &Path) -> Result<StepTemplate, LoadError> {
    let text = read(path)?;
    documents(path, &text)?
        .into_iter()
        .next()
        .ok_or_else(|| LoadError::Nothing(path.to_owned()))
}

pub(super) fn read(path: &Path) -> Result<String, LoadError> {
    fs::read_to_string(path).map_err(LoadError::unreadable(path))
}

/// All documents of a text, strictly; empty ones are left out.
pub(super) fn documents<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<T>, LoadError> {
    let mut found = Vec::new();
    // Read twice: whether a document is empty shows only when it is read.
    let mut empty = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // After text that is no YAML the iterator never ends; the second reading tells what is wrong.
        let Ok(value) = serde_yaml::Value::deserialize(document) else {
            break;
        };
        empty.push(value.is_null());
    }
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        if empty.get(index) == Some(&true) {
            continue;
        }
        found.push(if merges(text) {
            merged(path, document)?
        } else {
            T::deserialize(document).map_err(|error| wrong(path, &error))?
        });
    }
    Ok(found)
}

/// Whether there are merge keys: `<<: *anchor`.
fn merges(text: &str) -> bool {
    text.lines()
        .any(|line| line.trim_start_matches([' ', '-', '{']).starts_with("<<"))
}

/// A document with its merge keys carried out; mistakes in it have no place, for it is not as it is written.
fn merged<T: DeserializeOwned>(
    path: &Path,
    document: serde_yaml::Deserializer<'_>,
) -> Result<T, LoadError> {
    let outcome = serde_yaml::Value::deserialize(document).and_then(|mut value| {
        value.apply_merge()?;
        serde_yaml::from_value(value)
    });
    outcome.map_err(|error| wrong(path, &error))
}

fn wrong(path: &Path, error: &serde_yaml::Error) -> LoadError {
    let (line, column) = error
        .location()
        .map_or((1, 1), |location| (location.line(), location.column()));
    let text = error.to_string();
    // The place is told once, in front.
    let text = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(text, _)| text);
    let problem = match suggestion(text) {
        Some(meant) => format!("{text}; did you mean `{meant}`?"),
        None => text.to_owned(),
    };
    LoadError::Wrong {
        path: path.to_owned(),
        line,
        column,
        problem,
    }
}

/// The word nearest to the unknown one, of those that serde says it expected.
fn suggestion(message: &str) -> Option<&str> {
    let (_, about) = message
        .split_once("unknown field `")
        .or_else(|| message.split_once("unknown variant `"))?;
    let (unknown, expected) = about.split_once('`')?;
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|word| (distance(unknown, word), word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

/// How many letters must be changed, added or removed, or neighbours swapped, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().collect();
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let path = Path::new("s.yaml");
        let outcome: Result<Vec<Document>, _> = documents(path, text);
        outcome.expect_err("it is wrong").to_string()
    }

    #[test]
    fn an_unknown_field_is_told_with_its_place_and_what_was_meant() {
        let text = "apiVersion: harness.otus.homework/v1alpha1\nkind: Scenario\n\
            metadata: {name: a}\nspec:\n  steps:\n  - name: one\n    try:\n    - assrt: {}\n";
        let message = refusal(text);
        assert!(message.starts_with("s.yaml:8:"), "{message}");
        assert!(message.contains("unknown field `assrt`"), "{message}");
        assert!(message.ends_with("did you mean `assert`?"), "{message}");
    }

    #[test]
    fn text_that_is_not_yaml_is_told_with_its_place() {
        let message = refusal("apiVersion: 'never closed\n");
        assert!(message.starts_with("s.yaml:"), "{message}");
    }

    #[test]
    fn merge_keys_are_carried_out() {
        let text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n";
        let found: Vec<serde_json::Value> = documents(Path::new("s.yaml"), text).expect("YAML");
        assert_eq!(found[0]["b"], serde_json::json!({"x": 1, "y": 3}));
    }

    #[test]
    fn nothing_is_suggested_for_a_word_that_is_like_no_other() {
        assert_eq!(
            suggestion("unknown field `zzz`, expected `apply` or `assert`"),
            None
        );
        assert_eq!(
            suggestion("unknown field `aplpy`, expected one of `apply`, `assert`"),
            Some("apply")
        );
    }
}
