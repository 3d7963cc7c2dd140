//! What is different between two objects.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::atom::{Fields, Kind, List, Type};
use super::path::PathElement;
use super::set::FieldSet;

/// The fields by which two objects differ.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

impl Comparison {
    pub(super) fn of(before: &Value, after: &Value, ty: Type<'_>) -> Self {
        let mut comparison = Self::default();
        let mut walk = Walk {
            path: Vec::new(),
            found: &mut comparison,
        };
        walk.value(Some(before), Some(after), ty);
        comparison
    }

    /// Without what lies in `reset`.
    #[must_use]
    pub(super) fn without(self, reset: &FieldSet) -> Self {
        if reset.is_empty() {
            return self;
        }
        Self {
            added: self.added.difference_recursive(reset),
            modified: self.modified.difference_recursive(reset),
            removed: self.removed.difference_recursive(reset),
        }
    }

    pub(super) fn changed(&self) -> FieldSet {
        self.added.clone().union(&self.modified)
    }

    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

struct Walk<'a> {
    path: Vec<PathElement>,
    found: &'a mut Comparison,
}

/// A null takes the form of the other side.
fn deduced<'a>(ty: Type<'a>, own: Option<&Value>, other: Option<&Value>) -> Kind<'a> {
    ty.kind(own.filter(|value| !value.is_null()).or(other))
}

fn same_kind(left: Kind<'_>, right: Kind<'_>) -> bool {
    std::mem::discriminant(&left) == std::mem::discriminant(&right)
}

impl Walk<'_> {
    fn value(&mut self, before: Option<&Value>, after: Option<&Value>, ty: Type<'_>) {
        // Most of two objects is the same, and says nothing.
        if let (Some(before), Some(after)) = (before, after)
            && before == after
        {
            return;
        }
        let (left, right) = (deduced(ty, before, after), deduced(ty, after, before));
        let leaf = match (before, after) {
            (_, None) => self.of_kind(left, before, after),
            (None, _) => self.of_kind(right, before, after),
            _ if same_kind(left, right) => self.of_kind(right, before, after),
            _ => {
                let first = self.of_kind(left, before, after);
                self.of_kind(right, before, after) && first
            }
        };
        if !leaf {
            match (before, after) {
                (None, _) => self.found.added.insert(&self.path),
                (_, None) => self.found.removed.insert(&self.path),
                _ => {}
            }
        }
    }

    /// Whether the value was taken as a whole.
    fn of_kind(&mut self, kind: Kind<'_>, before: Option<&Value>, after: Option<&Value>) -> bool {
        match kind {
            Kind::Scalar(_) => self.leaf(before, after),
            Kind::List(list) => {
                let left = before
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                let right = after
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                if list.atomic || (left.is_empty() && right.is_empty()) {
                    return self.leaf(before, after);
                }
                self.list(list, left, right);
                false
            }
            Kind::Map(map) => {
                let empty = Map::new();
                let left = before.and_then(Value::as_object).unwrap_or(&empty);
                let right = after.and_then(Value::as_object).unwrap_or(&empty);
                if map.atomic || (left.is_empty() && right.is_empty()) {
                    return self.leaf(before, after);
                }
                self.map(map, left, right);
                false
            }
        }
    }

    fn leaf(&mut self, before: Option<&Value>, after: Option<&Value>) -> bool {
        match (before, after) {
            (None, Some(_)) => self.found.added.insert(&self.path),
            (Some(_), None) => self.found.removed.insert(&self.path),
            (Some(before), Some(after)) if before != after => {
                self.found.modified.insert(&self.path);
            }
            _ => {}
        }
        true
    }

    fn map(&mut self, map: Fields<'_>, left: &Map<String, Value>, right: &Map<String, Value>) {
        let only_right = right.keys().filter(|name| !left.contains_key(*name));
        for name in left.keys().chain(only_right) {
            let ty = map.field(name).unwrap_or(Type::Deduced);
            self.path.push(PathElement::field(name));
            self.value(left.get(name), right.get(name), ty);
            self.path.pop();
        }
    }

    fn list(&mut self, list: List<'_>, left: &[Value], right: &[Value]) {
        let mut entries: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (index, item) in left.iter().enumerate() {
            if let Ok(element) = list.element(index, item) {
                entries.entry(element).or_default().0.push(item);
            }
        }
        for (index, item) in right.iter().enumerate() {
            if let Ok(element) = list.element(index, item) {
                entries.entry(element).or_default().1.push(item);
            }
        }
        for (element, (before, after)) in entries {
            self.path.push(element);
            match (&before[..], &after[..]) {
                (before @ ([] | [_]), after @ ([] | [_])) => {
                    self.value(
                        before.first().copied(),
                        after.first().copied(),
                        list.items(),
                    );
                }
                // Entries that cannot be told apart are owned together.
                ([], _) => self.found.added.insert(&self.path),
                (_, []) => self.found.removed.insert(&self.path),
                (before, after) if before != after => self.found.modified.insert(&self.path),
                _ => {}
            }
            self.path.pop();
        }
    }
}
