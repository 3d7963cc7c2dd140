//! Service-account tokens: JSON Web Tokens, signed with a key that lives as long as the cluster.
//!
//! Real clusters sign with RSA or ECDSA so that others can verify; here only the server that minted a
//! token verifies it, so a keyed hash (HS256) does.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a token says; the names are those of Kubernetes' tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is.
    pub aud: Vec<String>,
    /// Seconds since the Unix epoch after which it is void.
    pub exp: i64,
    /// When it was minted.
    pub iat: i64,
    /// Who minted it.
    pub iss: String,
    /// From when it is good.
    pub nbf: i64,
    /// `system:serviceaccount:NAMESPACE:NAME`
    pub sub: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
}

/// The objects that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Namespace of all of them.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Reference,
    /// The pod that carries it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<Reference>,
    /// The secret that carries it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secret: Option<Reference>,
}

/// An object by name and uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token, or not ours.
    Invalid,
    /// Past its time, or before it.
    Expired,
}

/// Mints and verifies tokens.
#[derive(Clone)]
pub struct Signer {
    key: [u8; 32],
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// From a key that nobody else knows.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A token that says `claims`.
    pub fn mint(&self, claims: &Claims) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"simcluster"}"#);
        let body = serde_json::to_vec(claims).unwrap_or_default();
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(body));
        let signature = self.mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What a token says, if it is ours and good at `now` (seconds since the Unix epoch).
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| TokenError::Invalid)?;
        self.mac(signed)
            .verify_slice(&signature)
            .map_err(|_| TokenError::Invalid)?;
        let (_, body) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        let body = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| TokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(&body).map_err(|_| TokenError::Invalid)?;
        if (claims.nbf..claims.exp).contains(&now) {
            Ok(claims)
        } else {
            Err(TokenError::Expired)
        }
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length is a key");
        mac.update(text.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let account = Reference {
            name: "s".to_owned(),
            uid: "u".to_owned(),
        };
        Claims {
            aud: vec!["https://kubernetes.default.svc".to_owned()],
            exp: 200,
            iat: 100,
            iss: "https://kubernetes.default.svc".to_owned(),
            nbf: 100,
            sub: "system:serviceaccount:n:s".to_owned(),
            kubernetes: Bound {
                namespace: "n".to_owned(),
                serviceaccount: account,
                pod: None,
                secret: None,
            },
        }
    }

    #[test]
    fn a_token_says_what_was_minted() {
        let signer = Signer::new([7; 32]);
        assert_eq!(signer.verify(&signer.mint(&claims()), 150), Ok(claims()));
    }

    #[test]
    fn a_token_of_another_cluster_is_refused() {
        let token = Signer::new([7; 32]).mint(&claims());
        assert_eq!(
            Signer::new([8; 32]).verify(&token, 150),
            Err(TokenError::Invalid)
        );
        assert_eq!(
            Signer::new([7; 32]).verify("a.b.c", 150),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn a_token_past_its_time_is_refused() {
        let signer = Signer::new([7; 32]);
        assert_eq!(
            signer.verify(&signer.mint(&claims()), 200),
            Err(TokenError::Expired)
        );
    }
}
