//! Sets of fields, as each manager has one: a tree in which some nodes are members.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::atom::{Kind, Type};
use super::path::{Element, PathElement};

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<PathElement, Node>,
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
            [last] => self.nodes.entry(last.clone()).or_default().member = true,
            [first, rest @ ..] => {
                self.nodes
                    .entry(first.clone())
                    .or_default()
                    .children
                    .insert(rest);
            }
        }
    }

    pub(super) fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.has_element(last),
            [first, rest @ ..] => self.below(first).is_some_and(|below| below.has(rest)),
        }
    }

    pub(super) fn has_element(&self, element: &PathElement) -> bool {
        self.nodes.get(element).is_some_and(|node| node.member)
    }

    /// What is in it below an element, if there is anything.
    pub(super) fn below(&self, element: &PathElement) -> Option<&Self> {
        self.nodes
            .get(element)
            .map(|node| &node.children)
            .filter(|below| !below.is_empty())
    }

    /// Adds all of `other`.
    pub(super) fn extend(&mut self, other: &Self) {
        for (element, node) in &other.nodes {
            let own = self.nodes.entry(element.clone()).or_default();
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
            let node = with(node, other.nodes.get(element));
            (element.clone(), node)
        });
        Self {
            nodes: nodes.filter(|(_, node)| !node.is_empty()).collect(),
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

    /// Reads `fieldsV1`; `None` if it is nothing of the kind.
    pub fn decode(value: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (name, below) in value.as_object()? {
            if name == "." {
                continue;
            }
            let fields = below.as_object()?;
            let node = Node {
                member: fields.is_empty() || fields.contains_key("."),
                children: Self::decode(below)?,
            };
            set.nodes.insert(PathElement::parse(name)?, node);
        }
        Some(set)
    }

    /// Writes `fieldsV1`.
    pub fn encode(&self) -> Value {
        let nodes = self.nodes.iter().map(|(element, node)| {
            let mut below = node.children.encode();
            if let Value::Object(below) = &mut below
                && node.member
                && !below.is_empty()
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            (element.encode(), below)
        });
        Value::Object(nodes.collect())
    }
}
