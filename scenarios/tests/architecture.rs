//! The architecture's rules that a machine can hold: who knows whom, module docs, file sizes, names of
//! files in documents.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file longer than this has more than one job.
const MOST_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace exists")
}

/// All files below a directory with one of these endings, without build output.
fn files(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, ending, found);
            }
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn all(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root(), ending, &mut found);
    assert!(!found.is_empty());
    found
}

/// The packages of this workspace that a package depends on, tests aside.
fn dependencies(package: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(package).join("Cargo.toml")).expect("a manifest");
    let (_, after) = text.split_once("[dependencies]").expect("dependencies");
    let section = after.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| {
            name.starts_with("simcluster")
                || ["harness", "mysql-operator", "mysql-job"].contains(name)
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_crate_knows_only_whom_it_may_know() {
    let simcluster = "harness/simcluster";
    let rules: [(&str, &[&str]); 10] = [
        // The results that Jobs report are types of the program that writes them.
        ("operator", &["mysql-job"]),
        ("operator/job", &[]),
        ("harness", &["simcluster"]),
        ("harness/simcluster/machinery", &[]),
        ("harness/simcluster/kinds", &["simcluster-machinery"]),
        // Schedules are read in one place.
        (
            "harness/simcluster/controllers",
            &["simcluster-machinery", "simcluster-placement"],
        ),
        ("harness/simcluster/placement", &[]),
        ("harness/simcluster/runtime", &[]),
        ("harness/simcluster/images", &[]),
        (
            "harness/simcluster/node",
            &[
                "simcluster-kubelet-api",
                "simcluster-placement",
                "simcluster-runtime",
                "simcluster-images",
            ],
        ),
    ];
    for (package, allowed) in rules {
        for dependency in dependencies(package) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{package} may not know {dependency}"
            );
        }
    }
    for dependency in dependencies(simcluster) {
        assert!(
            dependency.starts_with("simcluster-"),
            "simcluster may not know {dependency}"
        );
    }
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<PathBuf> = all(".rs")
        .into_iter()
        .filter(|path| !fs::read_to_string(path).expect("UTF-8").starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "no module documentation: {silent:#?}");
}

#[test]
fn no_file_has_more_lines_than_one_job_needs() {
    let long: Vec<(PathBuf, usize)> = all(".rs")
        .into_iter()
        .map(|path| {
            let lines = fs::read_to_string(&path).expect("UTF-8").lines().count();
            (path, lines)
        })
        .filter(|(_, lines)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines: {long:#?}");
}

#[test]
fn documents_name_only_files_that_exist() {
    let root = root();
    let mut dead = Vec::new();
    for document in all(".md") {
        let text = fs::read_to_string(&document).expect("UTF-8");
        for quoted in text.split('`').skip(1).step_by(2) {
            let first = quoted.split('/').next().unwrap_or_default();
            let names_a_file = quoted.contains('/')
                && ["operator", "harness", "scenarios", "deploy", "docs"].contains(&first)
                && !quoted.contains([' ', '*', '{', '<', '…']);
            if names_a_file && !root.join(quoted).exists() {
                dead.push(format!("{}: {quoted}", document.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn the_operators_promises_name_only_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/operation.md")).expect("the document");
    let (_, cases) = text
        .split_once("## Corner cases")
        .expect("the corner cases");
    let (cases, _) = cases.split_once("\n## ").expect("what follows them");
    let named: Vec<&str> = cases
        .lines()
        .filter_map(|line| line.trim_end_matches(" |").rsplit_once(" | "))
        .flat_map(|(_, held_by)| held_by.split("<br>"))
        .filter_map(|name| name.strip_prefix('`')?.strip_suffix('`'))
        .collect();
    assert!(named.len() > 100, "the tables are not read: {named:?}");
    let code: String = all(".rs")
        .iter()
        .map(|path| fs::read_to_string(path).expect("source"))
        .collect();
    for name in named {
        assert!(code.contains(&format!("fn {name}(")), "no test {name}");
    }
}

#[test]
fn what_documents_say_is_held_by_a_test_is_held_by_one_that_exists() {
    let code: String = all(".rs")
        .iter()
        .map(|path| fs::read_to_string(path).expect("source"))
        .collect();
    // A name of several words; in the table of complaints without its module, elsewhere with it.
    let is_name = |text: &str| {
        text.contains('_')
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let (mut seen, mut dead) = (0, Vec::new());
    for (document, with_module) in [
        ("docs/complaints.md", false),
        ("docs/fidelity.md", true),
        ("docs/guide/reading-a-red-run.md", true),
    ] {
        let text = fs::read_to_string(root().join(document)).expect("the document");
        for quoted in text.split('`').skip(1).step_by(2) {
            let name = match quoted.rsplit_once("::") {
                Some((_, name)) if with_module => name,
                None if !with_module => quoted,
                _ => continue,
            };
            if is_name(name) {
                seen += 1;
                if !code.contains(&format!("fn {name}(")) {
                    dead.push(format!("{document}: {name}"));
                }
            }
        }
    }
    assert!(seen > 100, "the tables are not read: {seen}");
    assert!(dead.is_empty(), "no such tests: {dead:#?}");
}
