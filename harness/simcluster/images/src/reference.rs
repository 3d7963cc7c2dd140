//! Image references as people write them: `mysql`, `docker.io/library/mysql:5.7`, `registry:5000/a/b@sha256:…`.
//!
//! Pure: it knows how a reference is spelled, not whether there is such an image.

use std::{fmt, str::FromStr};

/// The registry that a reference without one means.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The name space of the default registry that is left out when people write a reference.
const DEFAULT_NAMESPACE: &str = "library/";
/// What a reference without tag and digest means.
const DEFAULT_TAG: &str = "latest";
/// More than this no registry takes.
const MAX_REPOSITORY: usize = 255;

/// An image reference, normalised: two spellings of the same image are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Nothing is there.
    #[error("an image reference must not be empty")]
    Empty,
    /// Upper case where only lower case may be.
    #[error("repository name must be lowercase")]
    Uppercase,
    /// Anything else.
    #[error("invalid reference format")]
    Format,
}

impl Reference {
    /// Host, and port if any: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The whole path in the registry: `library/mysql`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some(DEFAULT_TAG),
            (None, Some(_)) => None,
        }
    }

    /// `sha256:…`, where written.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The repository as people say it: without the default registry and its `library/`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        self.repository
            .strip_prefix(DEFAULT_NAMESPACE)
            .unwrap_or(&self.repository)
            .to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        if text.is_empty() {
            return Err(ParseReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(ParseReferenceError::Format),
            None => (text, None),
        };
        let (registry, path) = match rest.split_once('/') {
            Some((first, path)) if is_registry(first) => (first.to_owned(), path),
            _ => (DEFAULT_REGISTRY.to_owned(), rest),
        };
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(ParseReferenceError::Format),
            None => (path, None),
        };
        let registry = match registry.as_str() {
            "index.docker.io" => DEFAULT_REGISTRY.to_owned(),
            _ => registry,
        };
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{DEFAULT_NAMESPACE}{path}")
        } else {
            path.to_owned()
        };
        if !path.split('/').all(is_component) || repository.len() > MAX_REPOSITORY {
            let lower = path.to_lowercase();
            let only_case = lower != path && lower.split('/').all(is_component);
            return Err(if only_case {
                ParseReferenceError::Uppercase
            } else {
                ParseReferenceError::Format
            });
        }
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

/// The first part of a reference is a registry if it could not be a name space of the default one.
fn is_registry(first: &str) -> bool {
    let host_like =
        first.contains(['.', ':']) || first == "localhost" || first != first.to_lowercase();
    let (host, port) = first
        .split_once(':')
        .map_or((first, None), |(host, port)| (host, Some(port)));
    host_like
        && !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// One part of a repository's path: lower-case words joined by `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().copied().is_some_and(word) && bytes.last().copied().is_some_and(word);
    ends && bytes.split(|b| word(*b)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        text.parse::<Reference>().expect(text).to_string()
    }

    #[test]
    fn spellings_of_one_image_are_equal() {
        for text in [
            "mysql",
            "mysql:latest",
            "library/mysql",
            "docker.io/mysql",
            "docker.io/library/mysql:latest",
            "index.docker.io/library/mysql",
        ] {
            assert_eq!(normal(text), "docker.io/library/mysql:latest", "{text}");
        }
    }

    #[test]
    fn a_first_part_with_dot_or_port_is_the_registry() {
        assert_eq!(normal("arm64v8/mysql:8"), "docker.io/arm64v8/mysql:8");
        assert_eq!(normal("localhost/a"), "localhost/a:latest");
        assert_eq!(normal("localhost:5000/a/b:1"), "localhost:5000/a/b:1");
        assert_eq!(normal("quay.example/a"), "quay.example/a:latest");
    }

    #[test]
    fn a_digest_stands_without_a_tag() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let reference: Reference = format!("mysql@{digest}").parse().expect("valid");
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.digest(), Some(digest.as_str()));
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        use ParseReferenceError::{Empty, Format, Uppercase};
        for (text, error) in [
            ("", Empty),
            ("MySQL:5.7", Uppercase),
            ("mysql:", Format),
            ("mysql:5 7", Format),
            ("my sql", Format),
            ("mysql@sha256:12", Format),
            ("a//b", Format),
            ("-mysql", Format),
            ("mysql/", Format),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_familiar_name_leaves_the_default_out() {
        let familiar = |text: &str| text.parse::<Reference>().expect(text).familiar_name();
        assert_eq!(familiar("docker.io/library/mysql:5.7"), "mysql");
        assert_eq!(familiar("mysql/mysql-server:8.0"), "mysql/mysql-server");
        assert_eq!(familiar("localhost:5000/mysql"), "localhost:5000/mysql");
    }
}
