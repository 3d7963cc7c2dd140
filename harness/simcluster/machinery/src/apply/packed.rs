//! Managed fields as text inside an object, as the server keeps it.
//!
//! As a tree they are the largest part of most objects, copied with each version and looked at only
//! when somebody writes. So `metadata.managedFields` of an object that is kept is one string, the JSON
//! of the list. No client may see it so: whoever sends an object as it is unpacks it, or writes the
//! text where the list belongs.

use std::borrow::Cow;

use serde_json::Value;

use super::managers::ManagedFields;

const FIELD: &str = "managedFields";

fn field(object: &mut Value) -> Option<&mut Value> {
    object.get_mut("metadata")?.get_mut(FIELD)
}

/// Turns the list into text. What is no list of managers stays as it is.
pub fn pack(object: &mut Value) {
    if let Some(managers) = field(object)
        && managers.is_array()
        && let Some(read) = ManagedFields::decode(Some(managers))
    {
        *managers = read.pack();
    }
}

/// Turns the text into the list that clients know.
pub fn unpack(object: &mut Value) {
    if let Some(managers) = field(object)
        && let Value::String(text) = managers
        && let Ok(list) = serde_json::from_str(text)
    {
        *managers = list;
    }
}

/// The object as clients know it.
pub fn unpacked(object: &Value) -> Cow<'_, Value> {
    match object.pointer("/metadata/managedFields") {
        Some(Value::String(_)) => {
            let mut object = object.clone();
            unpack(&mut object);
            Cow::Owned(object)
        }
        _ => Cow::Borrowed(object),
    }
}

/// The JSON of the list, if this field of an object's metadata is packed managers.
pub fn text<'v>(name: &str, value: &'v Value) -> Option<&'v str> {
    if name == FIELD { value.as_str() } else { None }
}

/// Takes the managers out of an object, in whichever form.
pub fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(FIELD)
}

/// Puts back what [`take`] took.
pub fn put_back(object: &mut Value, managers: Option<Value>) {
    if let Some(managers) = managers
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert(FIELD.to_owned(), managers);
    }
}
