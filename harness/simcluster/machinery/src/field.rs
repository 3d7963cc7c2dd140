//! Errors that name a field: what `k8s.io/apimachinery/pkg/util/validation/field` is to Kubernetes.
//!
//! The texts are the ones a real API server sends, because users and their tools read them.
//! This module does not decide what is wrong; it says it.

use std::fmt;

use serde_json::Value;

/// The place of a value in an object, written as Kubernetes writes it: `spec.containers[0].image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// The place of the object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path whose first step is the field `name`.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The field `name` of this place.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self(name.to_owned())
        } else {
            Self(format!("{}.{name}", self.0))
        }
    }

    /// The entry `index` of the list at this place.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The entry `key` of the map at this place.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The text, empty for the object itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// Why a field was refused; each has its `reason` in a Status' causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
    /// `InternalError`
    Internal,
}

impl ErrorKind {
    /// The `reason` of a cause in a Status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }
}

/// One field refused, with the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    /// Why.
    pub kind: ErrorKind,
    /// Where.
    pub path: Path,
    /// The value refused, for the kinds whose text shows it.
    pub value: Option<Value>,
    /// The value as the text shows it, where that is not `value`'s JSON: Go writes the fields of a
    /// struct in the order of their declaration.
    pub shown: Option<String>,
    /// What would be right, in the API's words; may be empty.
    pub detail: String,
}

impl Error {
    /// `path: Required value[: detail]`
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Required,
            path: path.clone(),
            value: None,
            shown: None,
            detail: detail.into(),
        }
    }

    /// `path: Invalid value: VALUE: detail`
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        let value = Some(value.into());
        Self {
            kind: ErrorKind::Invalid,
            path: path.clone(),
            value,
            shown: None,
            detail: detail.into(),
        }
    }

    /// `path: Invalid value: VALUE: detail`, with the reason of a wrong type.
    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::TypeInvalid,
            ..Self::invalid(path, value, detail)
        }
    }

    /// `path: Invalid value: detail`, for a value that says nothing.
    pub fn invalid_omitted(path: &Path, detail: impl Into<String>) -> Self {
        Self {
            value: None,
            ..Self::invalid(path, Value::Null, detail)
        }
    }

    /// `path: Unsupported value: SHOWN: supported values: "a", "b"`
    pub fn not_supported_shown(path: &Path, shown: String, supported: &[&str]) -> Self {
        Self {
            shown: Some(shown),
            ..Self::not_supported(path, Value::Null, supported)
        }
    }

    /// `path: Invalid value: SHOWN: detail`, for a value that is written in a way of its own.
    pub fn invalid_shown(path: &Path, shown: String, detail: impl Into<String>) -> Self {
        Self {
            shown: Some(shown),
            ..Self::invalid(path, Value::Null, detail)
        }
    }

    /// `path: Unsupported value: "x": supported values: "a", "b"`
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self {
            kind: ErrorKind::NotSupported,
            ..Self::invalid(path, value, detail)
        }
    }

    /// `path: Duplicate value: VALUE`
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self {
            kind: ErrorKind::Duplicate,
            ..Self::invalid(path, value, "")
        }
    }

    /// `path: Not found: VALUE`
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self {
            kind: ErrorKind::NotFound,
            ..Self::invalid(path, value, "")
        }
    }

    /// `path: Forbidden: detail`
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Forbidden,
            path: path.clone(),
            value: None,
            shown: None,
            detail: detail.into(),
        }
    }

    /// `path: Too long: may not be more than N bytes`
    pub fn too_long(path: &Path, limit: usize) -> Self {
        let detail = format!("may not be more than {limit} bytes");
        Self {
            kind: ErrorKind::TooLong,
            path: path.clone(),
            value: None,
            shown: None,
            detail,
        }
    }

    /// `path: Too many: N: must have at most M items`
    pub fn too_many(path: &Path, actual: usize, limit: usize) -> Self {
        let detail = format!("must have at most {limit} items");
        Self {
            kind: ErrorKind::TooMany,
            ..Self::invalid(path, actual, detail)
        }
    }

    /// The text without the path, as it stands in a cause's `message`.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(shown) = &self.shown {
            text.push_str(": ");
            text.push_str(shown);
        } else if let Some(value) = &self.value {
            text.push_str(": ");
            match value {
                // As Go quotes it.
                Value::String(value) => text.push_str(&crate::go::quote(value)),
                other => text.push_str(&other.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

impl std::error::Error for Error {}
