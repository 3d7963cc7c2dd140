//! Random JSON for the property tests of this crate.

use proptest::prelude::*;
use serde_json::{Map, Value};

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::String),
    ]
}

fn nested(leaf: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            fields(inner),
        ]
    })
    .boxed()
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", value, 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}

/// Any value.
pub(crate) fn value() -> BoxedStrategy<Value> {
    nested(prop_oneof![4 => leaf(), 1 => Just(Value::Null)])
}

/// Any object.
pub(crate) fn object() -> BoxedStrategy<Value> {
    fields(value()).boxed()
}

/// Any object without a null anywhere.
pub(crate) fn object_without_nulls() -> BoxedStrategy<Value> {
    fields(nested(leaf())).boxed()
}
