//! Sets of fields, as each manager has one: a tree in which some nodes are members.

use std::fmt;
use std::sync::LazyLock;

use serde::de::{Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::atom::{Kind, Type};
use super::path::{Element, PathElement};

/// What says in `fieldsV1` that something is a member, where more of it stands below.
const ITSELF: &str = ".";

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// In the order of their elements. Most sets are small and are made in that order.
    nodes: Vec<(PathElement, Node)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    children: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

/// Fields of the system, which no manager owns.
pub(super) fn never_managed() -> &'static FieldSet {
    static SET: LazyLock<FieldSet> = LazyLock::new(|| {
        FieldSet::of(&[
            &["apiVersion"],
            &["kind"],
            &["metadata"],
            &["metadata", "name"],
            &["metadata", "namespace"],
            &["metadata", "creationTimestamp"],
            &["metadata", "selfLink"],
            &["metadata", "uid"],
            &["metadata", "clusterName"],
            &["metadata", "generation"],
            &["metadata", "managedFields"],
            &["metadata", "resourceVersion"],
        ])
    });
    &SET
}

impl FieldSet {
    /// These paths of plain fields: `&[&["status"], &["metadata", "labels"]]`.
    pub fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<PathElement> = path.iter().map(|name| PathElement::field(name)).collect();
            set.insert(&path);
        }
        set
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => self.node(last).member = true,
            [first, rest @ ..] => self.node(first).children.insert(rest),
        }
    }

    fn find(&self, element: &PathElement) -> Result<usize, usize> {
        // What is added is most often the last.
        match self.nodes.last() {
            Some((last, _)) if last < element => Err(self.nodes.len()),
            _ => self.nodes.binary_search_by(|(own, _)| own.cmp(element)),
        }
    }

    fn get(&self, element: &PathElement) -> Option<&Node> {
        let place = self.find(element).ok()?;
        Some(&self.nodes[place].1)
    }

    /// The node of an element, which is made if it is not there.
    fn node(&mut self, element: &PathElement) -> &mut Node {
        let place = self.find(element).unwrap_or_else(|place| {
            self.nodes.insert(place, (element.clone(), Node::default()));
            place
        });
        &mut self.nodes[place].1
    }

    pub(super) fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.has_element(last),
            [first, rest @ ..] => self.below(first).is_some_and(|below| below.has(rest)),
        }
    }

    pub(super) fn has_element(&self, element: &PathElement) -> bool {
        self.get(element).is_some_and(|node| node.member)
    }

    /// What is in it below an element, if there is anything.
    pub(super) fn below(&self, element: &PathElement) -> Option<&Self> {
        self.get(element)
            .map(|node| &node.children)
            .filter(|below| !below.is_empty())
    }

    /// Adds all of `other`.
    pub(super) fn extend(&mut self, other: &Self) {
        for (element, node) in &other.nodes {
            let own = self.node(element);
            own.member |= node.member;
            own.children.extend(&node.children);
        }
    }

    #[must_use]
    pub(super) fn union(mut self, other: &Self) -> Self {
        self.extend(other);
        self
    }

    fn combine(&self, other: &Self, with: impl Fn(&Node, Option<&Node>) -> Node) -> Self {
        let nodes = self.nodes.iter().map(|(element, node)| {
            let node = with(node, other.get(element));
            (!node.is_empty()).then(|| (element.clone(), node))
        });
        Self {
            nodes: nodes.flatten().collect(),
        }
    }

    /// The members that are not members of `other`.
    #[must_use]
    pub(super) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |node, other| match other {
            None => node.clone(),
            Some(other) => Node {
                member: node.member && !other.member,
                children: node.children.difference(&other.children),
            },
        })
    }

    /// The members that neither are members of `other` nor lie below one.
    #[must_use]
    pub(super) fn difference_recursive(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        self.combine(other, |node, other| match other {
            None => node.clone(),
            Some(other) if other.member => Node::default(),
            Some(other) => Node {
                member: node.member,
                children: node.children.difference_recursive(&other.children),
            },
        })
    }

    /// The members of both.
    #[must_use]
    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |node, other| match other {
            None => Node::default(),
            Some(other) => Node {
                member: node.member && other.member,
                children: node.children.intersection(&other.children),
            },
        })
    }

    /// The same set in which declared fields are members when something below them is.
    #[must_use]
    pub(super) fn with_named_fields(&self, ty: Type<'_>) -> Self {
        let nodes = self.nodes.iter().map(|(element, node)| {
            let (declared, below) = match (&element.0, ty.kind(None)) {
                (Element::Field(name), Kind::Map(map)) => (map.declares(name), map.field(name)),
                (Element::Key(_), Kind::List(list)) => (false, Some(list.items())),
                _ => (false, None),
            };
            let node = Node {
                member: node.member || (declared && !node.children.is_empty()),
                children: node
                    .children
                    .with_named_fields(below.unwrap_or(Type::Deduced)),
            };
            (element.clone(), node)
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    /// Calls `visit` with the path of each member, in order.
    pub(super) fn for_each(&self, visit: &mut impl FnMut(&[PathElement])) {
        self.walk(&mut Vec::new(), visit);
    }

    fn walk(&self, path: &mut Vec<PathElement>, visit: &mut impl FnMut(&[PathElement])) {
        for (element, node) in &self.nodes {
            path.push(element.clone());
            if node.member {
                visit(path);
            }
            path.pop();
        }
        for (element, node) in &self.nodes {
            path.push(element.clone());
            node.children.walk(path, visit);
            path.pop();
        }
    }
}

/// As `fieldsV1`.
impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fields(serializer, self, false)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What has nothing below it is a member anyway.
        fields(
            serializer,
            &self.children,
            self.member && !self.children.is_empty(),
        )
    }
}

fn fields<S: Serializer>(
    serializer: S,
    children: &FieldSet,
    member: bool,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(children.nodes.len() + usize::from(member)))?;
    if member {
        map.serialize_entry(ITSELF, &FieldSet::default())?;
    }
    for (element, node) in &children.nodes {
        map.serialize_entry(&element.encode(), node)?;
    }
    map.end()
}

/// From `fieldsV1`; fails if it is nothing of the kind.
impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = deserializer.deserialize_map(Below)?;
        Ok(read.children)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Below)
    }
}

/// Reads what stands below an element.
struct Below;

impl<'de> Visitor<'de> for Below {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields, like {\"f:name\":{}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut node = Node::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Itself => {
                    map.next_value::<IgnoredAny>()?;
                    node.member = true;
                }
                Key::Element(element) => *node.children.node(&element) = map.next_value()?,
            }
        }
        node.member |= node.children.is_empty();
        Ok(node)
    }
}

/// The name of a field of `fieldsV1`.
enum Key {
    Itself,
    Element(PathElement),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an element of a path, like f:name")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                if name == ITSELF {
                    return Ok(Key::Itself);
                }
                let element = PathElement::parse(name);
                element
                    .map(Key::Element)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
            }
        }

        deserializer.deserialize_str(Name)
    }
}
