//! Logins that come with a request: the files of `docker login`, as Kubernetes keeps them in Secrets. Pure.
//!
//! Which of them are for an image is decided as a kubelet does: by host, port and path, with `*` inside a part of the
//! host's name, the longer names first. Helper programs and identity tokens are not for Secrets. No password is ever
//! printed.

use std::{collections::BTreeMap, fmt};

use base64::Engine as _;
use serde::Deserialize;

use crate::Reference;

/// What Docker calls its own registry in these files.
const DOCKER_HUB: &str = "index.docker.io";

/// The logins of one file, by the registries they are for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Logins {
    /// Those that sort last come first, as in a kubelet.
    by_registry: BTreeMap<String, Login>,
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// Why a text holds no logins. It quotes nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseLoginsError(String);

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_registry.keys()).finish()
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

impl Logins {
    /// From the text of a `config.json`: a Secret's `.dockerconfigjson`.
    pub fn from_config(text: &[u8]) -> Result<Self, ParseLoginsError> {
        let file: File = parse(text)?;
        Self::of(file.auths)
    }

    /// From the text of the older `.dockercfg`, which has no other parts.
    pub fn from_legacy(text: &[u8]) -> Result<Self, ParseLoginsError> {
        Self::of(parse(text)?)
    }

    fn of(entries: BTreeMap<String, Entry>) -> Result<Self, ParseLoginsError> {
        let mut by_registry = BTreeMap::new();
        for (server, entry) in entries {
            let login = entry.login().ok_or_else(|| {
                ParseLoginsError(format!(
                    "its `auth` for {server:?} is not NAME:PASSWORD in base64"
                ))
            })?;
            by_registry.insert(normal(&server), login);
        }
        Ok(Self { by_registry })
    }

    /// Those for an image, the one that fits best first.
    pub(crate) fn of_image(&self, reference: &Reference) -> Vec<Login> {
        let (host, path) = (reference.registry(), reference.repository());
        let hub = (host == "docker.io").then_some(DOCKER_HUB);
        let fitting = self.by_registry.iter().rev().filter(|(server, _)| {
            let (name, below) = server.split_once('/').unwrap_or((server, ""));
            path.starts_with(below) && (fits(name, host) || hub.is_some_and(|hub| fits(name, hub)))
        });
        fitting.map(|(_, login)| login.clone()).collect()
    }
}

impl Entry {
    fn login(self) -> Option<Login> {
        if self.auth.is_empty() {
            return Some(Login {
                name: self.username,
                password: self.password,
            });
        }
        // With padding or without it.
        let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
        let bytes = engine.decode(self.auth.trim_end_matches('=')).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (name, password) = text.split_once(':')?;
        Some(Login {
            name: name.to_owned(),
            password: password.trim_matches('\0').to_owned(),
        })
    }
}

fn parse<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T, ParseLoginsError> {
    // The parser's own words may quote what must not be told.
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        ParseLoginsError(format!(
            "it is not the JSON that `docker login` writes (line {line}, column {column})"
        ))
    })
}

/// Without a scheme and the version of the registry's API: `host`, `host:port`, `host/path`.
fn normal(server: &str) -> String {
    let bare = server
        .strip_prefix("https://")
        .or_else(|| server.strip_prefix("http://"))
        .unwrap_or(server);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = ["v1/", "v2/"]
        .iter()
        .find_map(|version| path.strip_prefix(version))
        .unwrap_or(path);
    match path.trim_end_matches('/') {
        "" | "v1" | "v2" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

/// Whether a host is meant: part by part, with `*` for anything inside a part; ports must be the same.
fn fits(pattern: &str, host: &str) -> bool {
    let split = |text: &str| -> (Vec<String>, Option<String>) {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.to_owned())),
            None => (text, None),
        };
        (name.split('.').map(str::to_owned).collect(), port)
    };
    let ((wanted, port), (have, own)) = (split(pattern), split(host));
    port == own
        && wanted.len() == have.len()
        && wanted
            .iter()
            .zip(&have)
            .all(|(wanted, have)| part_fits(wanted, have))
}

fn part_fits(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == part,
        Some((before, rest)) => part.strip_prefix(before).is_some_and(|part| {
            (0..=part.len())
                .filter(|from| part.is_char_boundary(*from))
                .any(|from| part_fits(rest, &part[from..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CONFIG: &[u8] = br#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
        "registry.example:5000": {"auth": "cG9ydDpzZWNyZXQ"},
        "registry.example/team": {"username": "team", "password": "secret"},
        "registry.example": {"username": "all", "password": "secret"},
        "*.r*.example": {"username": "any", "password": "secret"}}}"#;

    #[rstest]
    #[case("mysql", &["hub"])]
    #[case("docker.io/me/app:1", &["hub"])]
    #[case("registry.example:5000/app", &["port"])]
    #[case("registry.example/team/app", &["team", "all"])]
    #[case("registry.example/other/app", &["all"])]
    #[case("eu.registry.example/app", &["any"])]
    #[case("eu.mirror.example/app", &[])]
    #[case("a.b.registry.example/app", &[])]
    #[case("registry.example:443/app", &[])]
    fn an_image_gets_the_logins_of_its_registry_the_nearest_first(
        #[case] image: &str,
        #[case] expected: &[&str],
    ) {
        let logins = Logins::from_config(CONFIG).expect("it is one");
        let reference: Reference = image.parse().expect("it is one");
        let found = logins.of_image(&reference);
        let names: Vec<_> = found.iter().map(|login| login.name.as_str()).collect();
        assert_eq!(names, expected);
        assert!(found.iter().all(|login| login.password == "secret"));
    }

    #[test]
    fn the_older_form_has_no_other_parts() {
        let text = br#"{"registry.example": {"username": "a", "password": "b"}}"#;
        let logins = Logins::from_legacy(text).expect("it is one");
        let reference: Reference = "registry.example/x".parse().expect("it is one");
        assert_eq!(logins.of_image(&reference).len(), 1);
    }

    #[test]
    fn what_is_no_login_is_said_without_quoting_it() {
        let bad = [
            &br#"{"auths": {"r.example": {"auth": "hunter2"}}}"#[..],
            br#"{"auths": "hunter2"}"#,
            b"hunter2",
        ];
        for text in bad {
            let said = Logins::from_config(text)
                .expect_err("it is none")
                .to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
        let shown = format!("{:?}", Logins::from_config(CONFIG).expect("it is one"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
