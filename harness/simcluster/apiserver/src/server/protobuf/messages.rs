//! The numbers of fields in the messages of built-in kinds, read from data when first used.

use std::{
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use simcluster_machinery::{kind::GroupVersionKind, schema::builtin};

static TABLE: &str = include_str!("../../../data/kubernetes-1.36-protobuf.txt");

/// The fields of one message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its name, as the schemas have it.
    pub(super) name: &'static str,
    source: &'static str,
    fields: OnceLock<Vec<(u32, Field)>>,
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// From texts to `kind`.
    pub(super) map: bool,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Integer,
    Double,
    String,
    Bytes,
    Message(&'static str),
}

impl Message {
    /// The field with this number.
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        let fields = self
            .fields
            .get_or_init(|| self.source.split(' ').filter_map(parse).collect());
        fields
            .iter()
            .find(|(own, _)| *own == number)
            .map(|(_, field)| field)
    }
}

/// `2:data:%s`: the number, the name, `*` for lists, `%` for maps, and the type.
fn parse(text: &'static str) -> Option<(u32, Field)> {
    let mut parts = text.splitn(3, ':');
    let number = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let declared = parts.next()?;
    let repeated = declared.starts_with('*');
    let map = declared.starts_with('%');
    let kind = match declared.trim_start_matches(['*', '%']) {
        "b" => Kind::Bool,
        "i" => Kind::Integer,
        "d" => Kind::Double,
        "s" => Kind::String,
        "y" => Kind::Bytes,
        message => Kind::Message(message.strip_prefix('=')?),
    };
    let field = Field {
        name,
        kind,
        repeated,
        map,
    };
    Some((number, field))
}

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter_map(|line| line.split_once('\t'));
    lines
        .map(|(name, source)| {
            let fields = OnceLock::new();
            (
                name,
                Message {
                    name,
                    source,
                    fields,
                },
            )
        })
        .collect()
});

/// The message with this name.
pub(super) fn find(name: &str) -> Option<&'static Message> {
    MESSAGES.get(name)
}

/// The message of a kind.
pub(super) fn of_kind(kind: &GroupVersionKind) -> Option<&'static Message> {
    if kind.kind == "DeleteOptions" {
        return find("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    }
    find(builtin::definition_of(kind)?.name)
}
