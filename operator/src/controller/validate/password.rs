//! Where root's password of the spec comes from, and why it may not be at hand. Pure.

use k8s_openapi::api::core::v1::Secret;
use thiserror::Error;

use crate::controller::observe::Observed;
use crate::crd::{MySQL, SecretKeyRef};

/// What every server takes (`caching_sha2_password`), in bytes: the schema counts letters.
const LONGEST: usize = 256;

/// Why the password of the spec cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// There is no such Secret.
    #[error(
        "spec.passwordSecretRef names the Secret {name:?}, which does not exist in this namespace; make it, with \
         the password under the key {key:?}"
    )]
    NoSecret {
        /// Its name.
        name: String,
        /// The key that is asked for.
        key: String,
    },
    /// There is no such key in it.
    #[error(
        "spec.passwordSecretRef names the key {key:?} of the Secret {name:?}, which has no such key; add it, or \
         name another one"
    )]
    NoKey {
        /// The Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// No server takes what is there.
    #[error("{place} {why}; choose another password")]
    Invalid {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is neither.
    #[error("neither spec.password nor spec.passwordSecretRef is set; set one of them")]
    Nowhere,
}

impl Trouble {
    /// One word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSecret { .. } => "SecretNotFound",
            Self::NoKey { .. } => "SecretKeyNotFound",
            Self::Invalid { .. } => "InvalidPassword",
            Self::Nowhere => "PasswordMissing",
        }
    }
}

/// The password.
pub(super) fn password(resource: &MySQL, observed: &Observed) -> Result<String, Trouble> {
    let spec = &resource.spec;
    let (place, bytes) = if let Some(reference) = &spec.password_secret_ref {
        from_secret(reference, observed.password_secret.as_ref())?
    } else {
        let password = spec.password.as_ref().ok_or(Trouble::Nowhere)?;
        ("spec.password".to_owned(), password.clone().into_bytes())
    };
    let invalid = |why: String| Trouble::Invalid {
        place: place.clone(),
        why,
    };
    if bytes.is_empty() {
        return Err(invalid("is empty".to_owned()));
    }
    if bytes.len() > LONGEST {
        return Err(invalid(format!(
            "has {} bytes, and servers take at most {LONGEST}",
            bytes.len()
        )));
    }
    if bytes.contains(&0) {
        return Err(invalid("has a NUL byte in it".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| invalid("is not UTF-8".to_owned()))
}

fn from_secret(
    SecretKeyRef { name, key }: &SecretKeyRef,
    secret: Option<&Secret>,
) -> Result<(String, Vec<u8>), Trouble> {
    let secret = secret.ok_or_else(|| Trouble::NoSecret {
        name: name.clone(),
        key: key.clone(),
    })?;
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value = value.ok_or_else(|| Trouble::NoKey {
        name: name.clone(),
        key: key.clone(),
    })?;
    let place = format!("the value of the key {key:?} of the Secret {name:?}");
    Ok((place, value.0.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixtures::{observed, resource};

    #[test]
    fn every_way_in_which_a_password_is_not_at_hand_has_its_own_word() {
        let by_reference = resource(|resource| {
            resource.spec.password = None;
            resource.spec.password_secret_ref = Some(SecretKeyRef {
                name: "root".into(),
                key: "password".into(),
            });
        });
        let cases = [
            ("", "SecretNotFound"),
            ("{data: {other: bmV3}}", "SecretKeyNotFound"),
            ("{data: {password: ''}}", "InvalidPassword"),
            // A NUL byte; a byte that is no UTF-8.
            ("{data: {password: YQBi}}", "InvalidPassword"),
            ("{data: {password: /w==}}", "InvalidPassword"),
        ];
        for (secret, reason) in cases {
            let mut world = observed("");
            if !secret.is_empty() {
                world.password_secret = serde_yaml::from_str(secret).unwrap();
            }
            let trouble = password(&by_reference, &world).unwrap_err();
            assert_eq!(trouble.reason(), reason, "{secret}: {trouble}");
        }
        let nowhere = resource(|resource| resource.spec.password = None);
        let trouble = password(&nowhere, &observed("")).unwrap_err();
        assert_eq!(trouble.reason(), "PasswordMissing");
    }
}
