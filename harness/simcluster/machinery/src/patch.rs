//! The three kinds of patch that are not server-side apply.
//!
//! Each has a step that reads the patch and one that applies it to an object. What becomes of the
//! result (decoding, validation, storing) is the caller's.

pub mod json;
pub mod merge;
pub mod strategic;

use serde_json::Value;

use crate::decode::{self, Decoded, Problem};
use crate::status::Status;

/// A patch in JSON may be no longer than this.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Why a patch cannot be read or applied; the texts are the API's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// A JSON patch does not fit the object.
    #[error("{0}")]
    DoesNotFit(String),
    /// A test in a JSON patch does not hold.
    #[error("{0}")]
    TestFailed(String),
    /// Too many operations.
    #[error("{0}")]
    TooLarge(String),
    /// A strategic patch contradicts the object's schema.
    #[error("{0}")]
    Unexpected(String),
}

impl PatchError {
    /// Whether the patch itself says that it is not for this object.
    pub fn is_failed_test(&self) -> bool {
        matches!(self, Self::TestFailed(_))
    }

    /// What the API answers.
    pub fn status(&self) -> Status {
        match self {
            Self::Malformed(message) => Status::bad_request(message.as_str()),
            Self::DoesNotFit(_) | Self::TestFailed(_) => Status::unprocessable(),
            Self::TooLarge(message) => Status::too_large(message),
            Self::Unexpected(message) => Status::unexpected(message.as_str()),
        }
    }
}

/// Reads the body of a patch that must be an object; duplicate fields are reported.
fn read_object(body: &[u8], prefix: &str) -> Result<(Value, Vec<Problem>), PatchError> {
    let Decoded { value, problems } =
        decode::untyped(body).map_err(|error| PatchError::Malformed(format!("{prefix}{error}")))?;
    match value {
        Value::Object(_) => Ok((value, problems)),
        // Go decodes `null` into an empty map without a word.
        Value::Null => Ok((Value::Object(serde_json::Map::new()), problems)),
        other => Err(PatchError::Malformed(format!(
            "{prefix}json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            crate::go::json_kind(&other)
        ))),
    }
}
