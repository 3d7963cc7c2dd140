//! What kyverno's functions compute with: numbers, and, written as text, quantities (`1.5Gi`) and durations (`1h30m`).
//!
//! A text that may be either is a quantity, as there: `5m` are five thousandths. Comparing them is not here.

use serde_json::Value;
use simcluster::Quantity;

use super::time;
use crate::scenario::{duration, jmespath::number};

#[derive(Clone, Copy, Debug)]
pub(super) enum Amount {
    Number(f64),
    Quantity(Quantity),
    /// In seconds.
    Duration(f64),
}

use Amount::{Duration, Number};

impl Amount {
    /// `None` if the value is none of them.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let Value::String(text) = value else {
            return value.as_f64().map(Number);
        };
        if let Ok(quantity) = text.parse() {
            return Some(Self::Quantity(quantity));
        }
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let seconds = duration::parse(unsigned).ok()?.as_secs_f64();
        Some(Duration(if unsigned == text { seconds } else { -seconds }))
    }

    pub(super) fn value(self) -> Value {
        match self {
            Number(float) => number(float),
            Self::Quantity(quantity) => quantity.to_string().into(),
            Duration(seconds) => time::written_duration(seconds).into(),
        }
    }

    /// The sum; `None` if they are not of one kind, as with all that follow.
    pub(super) fn add(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Number(left), Number(right)) => Number(left + right),
            (Self::Quantity(left), Self::Quantity(right)) => Self::Quantity(left.add(right)),
            (Duration(left), Duration(right)) => Duration(left + right),
            _ => return None,
        })
    }

    pub(super) fn subtract(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Number(left), Number(right)) => Number(left - right),
            (Self::Quantity(left), Self::Quantity(right)) => Self::Quantity(left.sub(right)),
            (Duration(left), Duration(right)) => Duration(left - right),
            _ => return None,
        })
    }

    /// One of the two must be a number.
    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Number(left), Number(right)) => Number(left * right),
            (Self::Quantity(amount), Number(by)) | (Number(by), Self::Quantity(amount)) => {
                Self::Quantity(amount.times(by))
            }
            (Duration(amount), Number(by)) | (Number(by), Duration(amount)) => {
                Duration(amount * by)
            }
            _ => return None,
        })
    }

    /// By a number, or by its like, which gives a number.
    pub(super) fn divide(self, by: Self) -> Option<Self> {
        Some(match (self, by) {
            (Number(left), Number(right)) | (Duration(left), Duration(right)) => {
                Number(left / right)
            }
            (Self::Quantity(left), Self::Quantity(right)) => Number(left.as_f64() / right.as_f64()),
            (Self::Quantity(amount), Number(by)) => Self::Quantity(amount.parted(by)?),
            (Duration(amount), Number(by)) => Duration(amount / by),
            _ => return None,
        })
    }

    pub(super) fn modulo(self, by: Self) -> Option<Self> {
        Some(match (self, by) {
            (Number(left), Number(right)) => Number(left % right),
            (Self::Quantity(left), Self::Quantity(right)) => Self::Quantity(left.remainder(right)?),
            (Duration(left), Duration(right)) => Duration(left % right),
            _ => return None,
        })
    }

    pub(super) fn is_nothing(self) -> bool {
        match self {
            Number(amount) | Duration(amount) => amount == 0.0,
            Self::Quantity(quantity) => quantity.is_zero(),
        }
    }
}
