//! A scenario that fails on purpose: what it leaves behind tells the cause, and no secret.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the passwords and tokens of `scenarios/red` begin with.
const SECRET: &str = "never-to-be-seen";

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn a_red_run_tells_its_cause_and_no_secret() {
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/red");
    let folder = tempfile::tempdir().expect("a folder");
    let (junit, html) = (
        folder.path().join("runs.xml"),
        folder.path().join("runs.html"),
    );
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args([
            "scenario",
            "run",
            scenario,
            "--cluster",
            "simulated",
            "--junit",
        ])
        .arg(&junit)
        .arg("--html")
        .arg(&html)
        .env("HARNESS_EVIDENCE", folder.path().join("evidence"))
        .output()
        .expect("lab can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "it should have failed: {said}");
    let evidence = folder.path().join("evidence/red");
    let read = |name: &str| {
        let path = evidence.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}\n{said}"))
    };

    // The cause: what differs, at which revision, how old that is, and what runs it again.
    let failure = read("failure.txt");
    for part in [
        "step \"open the second shop\"",
        "expected \"True\", but is \"False\"",
        "last seen: MySQL second at revision ",
        " s before the end",
        "no-such-database:8",
        "reproduce: cargo lab scenario run ",
    ] {
        assert!(failure.contains(part), "{part:?} is missing:\n{failure}");
    }
    let history = read("history.txt");
    assert!(
        history.contains("MySQL second") && history.contains("by mysql-operator"),
        "{history}"
    );
    let events = read("events.txt");
    assert!(
        events.contains("Warning") && events.contains("Failed to pull image"),
        "{events}"
    );
    let requests = read("requests.txt");
    assert!(requests.contains(" operator "), "{requests}");
    assert!(
        requests.contains("/namespaces/default/mysqls/second/status"),
        "{requests}"
    );
    assert!(read("run.log").contains("default/second"));
    assert!(read("objects.yaml").contains("name: second"));
    let page = read("page.html");
    for part in [
        "What the cluster warned of",
        "Failed to pull image",
        "<svg",
        "Run it again",
    ] {
        assert!(page.contains(part), "{part:?} is missing in the page");
    }
    serde_json::from_str::<serde_json::Value>(&read("run.json")).expect("JSON");

    // The pod did print its token, so its log proves that logs are looked through.
    assert_eq!(
        read("logs/default_chatty_chatty.log"),
        "the token is <redacted>\n"
    );
    let mut all = vec![junit, html];
    files(&evidence, &mut all);
    for path in all {
        let bytes = fs::read(&path).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(SECRET), "{} shows a secret", path.display());
    }
    assert!(
        !said.contains(SECRET),
        "the terminal shows a secret:\n{said}"
    );
}
