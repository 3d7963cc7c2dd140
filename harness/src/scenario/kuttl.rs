//! Folders as kuttl has them: `NN-name.yaml` is applied, `NN-assert.yaml` must come true, and nothing
//! may be as `NN-errors.yaml` says.
//!
//! It makes a [`Document`] of the folder, so that one engine runs both. What its documents may say is
//! `said`'s; `TestSuite`, `testRunSelector` and templates of Go are not there, and are refused by name.

mod said;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    model::{CHAINSAW, Document, Metadata, Spec},
    parse::{LoadError, Loaded},
};

/// The folder as one document; `None` if no file is named as kuttl names them.
pub(super) fn load(folder: &Path) -> Result<Option<Loaded>, LoadError> {
    let unreadable = LoadError::unreadable(folder);
    let mut files: BTreeMap<u32, Vec<(String, PathBuf)>> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(&unreadable)? {
        let path = entry.map_err(&unreadable)?.path();
        if let Some((number, name)) = numbered(&path) {
            files.entry(number).or_default().push((name, path));
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    let mut spec = Spec::default();
    for (number, mut files) in files {
        files.sort();
        let mut step = said::StepOf::new(folder, format!("{number:02}"));
        for (name, path) in files {
            for (part, file) in parts(&path)? {
                match part.as_str() {
                    "assert" => step.assert_file(&file)?,
                    "errors" => step.error_file(&file)?,
                    _ => step.apply_file(&file, &format!("{number:02}-{name}"))?,
                }
            }
        }
        spec.steps.push(step.done());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    Ok(Some(Loaded {
        path: folder.to_owned(),
        folder: folder.to_owned(),
        document: Document {
            api_version: CHAINSAW.to_owned(),
            kind: "Test".to_owned(),
            metadata: Metadata {
                name: name.into_owned(),
                ..Metadata::default()
            },
            spec,
        },
    }))
}

/// The name of a YAML file without what follows the dot.
fn stem(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".yaml")
        .or_else(|| name.strip_suffix(".yml"))
}

/// `00-install.yaml` as 0 and `install`; a folder may be called so too.
fn numbered(path: &Path) -> Option<(u32, String)> {
    let stem = if path.is_dir() {
        path.file_name()?.to_str()?
    } else {
        stem(path)?
    };
    let (number, name) = stem.split_once('-').unwrap_or((stem, ""));
    Some((number.parse().ok()?, name.to_owned()))
}

/// The files of a step: one, or all of a folder that is called as a step.
fn parts(path: &Path) -> Result<Vec<(String, PathBuf)>, LoadError> {
    if !path.is_dir() {
        return Ok(vec![(
            numbered(path).unwrap_or_default().1,
            path.to_owned(),
        )]);
    }
    let unreadable = LoadError::unreadable(path);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(&unreadable)? {
        let path = entry.map_err(&unreadable)?.path();
        if let Some(stem) = stem(&path) {
            found.push((stem.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_numbered_files_is_a_scenario() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("a file");
        };
        let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
        write("00-install.yaml", map);
        write(
            "00-assert.yaml",
            &format!("{map}\n---\n{{apiVersion: kuttl.dev/v1beta1, kind: TestAssert, timeout: 7}}"),
        );
        write(
            "01-delete.yaml",
            "{apiVersion: kuttl.dev/v1beta1, kind: TestStep, delete: [{apiVersion: v1, kind: ConfigMap, name: a}]}",
        );
        write("01-errors.yaml", map);
        write("README.md", "not a step");
        let loaded = load(folder.path()).expect("readable").expect("a scenario");
        let steps = &loaded.document.spec.steps;
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].name, "00-install");
        assert!(steps[0].r#try[0].apply.is_some());
        let assertion = steps[0].r#try[1].assert.as_ref().expect("an assert");
        assert_eq!(assertion.timeout.as_deref(), Some("7s"));
        assert!(steps[1].r#try[0].delete.is_some());
        assert!(steps[1].r#try[1].error.is_some());
    }

    #[test]
    fn a_folder_without_such_files_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(load(folder.path()).expect("readable").is_none());
    }
}
