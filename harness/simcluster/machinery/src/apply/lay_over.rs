//! Laying a configuration over an object without anybody coming to own it, as admission policies do.

use serde_json::Value;

use super::atom::{Kind, Type};
use super::{ObjectType, fields, merge};

/// The object with everything that the configuration says laid over it. A configuration may not touch
/// what is merged as a whole, because it would drop what it does not name.
pub fn lay_over(
    object: &Value,
    configuration: &Value,
    shape: &ObjectType,
) -> Result<Value, String> {
    let root = shape.root();
    fields::validate(configuration, root)
        .map_err(|why| format!("failed to convert patch object to typed object: {why}"))?;
    let mut atomic = Vec::new();
    find_atomic(configuration, root, "", &mut atomic);
    if atomic.is_empty() {
        return Ok(merge::merge(object, configuration, root));
    }
    Err(format!(
        "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
        atomic.join(", ")
    ))
}

fn find_atomic(value: &Value, ty: Type<'_>, path: &str, found: &mut Vec<String>) {
    match (ty.kind(Some(value)), value) {
        (Kind::Map(map), Value::Object(fields)) => {
            if map.atomic {
                found.push(path.to_owned());
            }
            for (name, field) in fields.iter().filter(|(name, _)| map.declares(name)) {
                if let Some(ty) = map.field(name) {
                    find_atomic(field, ty, &format!("{path}.{name}"), found);
                }
            }
        }
        (Kind::List(list), Value::Array(items)) => {
            if list.atomic {
                found.push(path.to_owned());
            }
            for (index, item) in items.iter().enumerate() {
                find_atomic(item, list.items(), &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::GroupVersionKind;
    use crate::schema::builtin;

    fn pod() -> ObjectType {
        let kind = GroupVersionKind::new("", "v1", "Pod");
        ObjectType::Builtin(builtin::schema(&kind).expect("pods are built in"))
    }

    #[test]
    fn entries_are_laid_over_those_with_their_key() {
        let object = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let configuration = json!({"spec": {"containers": [
            {"name": "b", "image": "y"}, {"name": "a", "tty": true}]}});
        let laid = lay_over(&object, &configuration, &pod()).expect("it fits");
        let containers = &laid["spec"]["containers"];
        assert_eq!(
            *containers,
            json!([{"name": "b", "image": "y"}, {"name": "a", "image": "x", "tty": true}])
        );
    }

    #[test]
    fn what_is_one_value_is_refused_by_its_path() {
        let configuration = json!({"spec": {"containers": [{"name": "a", "args": ["x"]}]}});
        let refused = lay_over(&json!({}), &configuration, &pod());
        assert_eq!(
            refused,
            Err(
                "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
                 .spec.containers[0].args"
                    .to_owned()
            )
        );
        let wrong = lay_over(&json!({}), &json!({"spec": 5}), &pod());
        assert!(wrong.is_err_and(|why| why.starts_with("failed to convert patch object")));
    }
}
