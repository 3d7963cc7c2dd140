//! Which resources are served: the built-in ones, from data, and those of custom resource
//! definitions.
//!
//! Look-up only: what a custom resource definition means is decided in [`super::custom`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use simcluster_discovery::KindSchema;
use simcluster_machinery::{
    kind::{GroupResource, GroupVersionKind},
    schema::{
        SchemaRef,
        builtin::{self, ResourceInfo},
    },
};

use super::{custom::CustomVersion, metrics};
use crate::store::Collection;

/// A part of an object that has its own path.
#[derive(Clone, Debug)]
pub(crate) struct Subresource {
    /// The last part of the path: `status`.
    pub(crate) name: String,
    /// The kind that is spoken there.
    pub(crate) kind: GroupVersionKind,
    /// What can be done.
    pub(crate) verbs: Vec<String>,
}

/// A resource in one of its versions.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Group and plural name.
    pub(crate) name: GroupResource,
    /// Group, version and kind of its objects.
    pub(crate) kind: GroupVersionKind,
    /// Kind of its lists.
    pub(crate) list_kind: String,
    /// Singular name.
    pub(crate) singular: String,
    /// Whether objects live in namespaces.
    pub(crate) namespaced: bool,
    /// Short names for the command line.
    pub(crate) short_names: Vec<String>,
    /// Categories such as `all`.
    pub(crate) categories: Vec<String>,
    /// What can be done.
    pub(crate) verbs: Vec<String>,
    /// What lies below an object.
    pub(crate) subresources: Vec<Subresource>,
    /// Where its objects are kept.
    pub(crate) collection: Collection,
    /// The `apiVersion` that its objects are kept in.
    pub(crate) stored_as: String,
    /// The shape of its objects.
    pub(crate) schema: SchemaRef,
    /// What a definition says about it; `None` for built-in kinds.
    pub(crate) custom: Option<Arc<CustomVersion>>,
}

impl Resource {
    /// Whether the resource has this verb.
    pub(crate) fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }

    /// The subresource with this name.
    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|own| own.name == name)
    }

    /// `group/version`, or the version alone for the core group.
    pub(crate) fn api_version(&self) -> String {
        self.kind.api_version()
    }

    /// The key under which a real server keeps an object, as some errors show it.
    pub(crate) fn registry_key(&self, namespace: &str, name: &str) -> String {
        let place = match (self.name.group.as_str(), self.name.resource.as_str()) {
            ("", "services") => "services/specs".to_owned(),
            ("", "endpoints") => "services/endpoints".to_owned(),
            ("", "nodes") => "minions".to_owned(),
            ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
            ("apiextensions.k8s.io" | "apiregistration.k8s.io", resource) => {
                format!("{}/{resource}", self.name.group)
            }
            (group, resource) if self.custom.is_some() => format!("{group}/{resource}"),
            (_, resource) => resource.to_owned(),
        };
        format!("/registry/{place}/{}", self.key(namespace, name))
    }

    /// Whether it is `resource` of `group`.
    pub(crate) fn is(&self, group: &str, resource: &str) -> bool {
        self.name.group == group && self.name.resource == resource
    }

    /// The key of an object in its collection.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> crate::store::Key {
        if self.namespaced {
            format!("{namespace}/{name}").into()
        } else {
            name.into()
        }
    }
}

/// The name of the collection of a resource.
pub(crate) fn collection(group: &str, resource: &str) -> Collection {
    match (group, resource) {
        // One kind of object under two APIs.
        ("events.k8s.io", "events") => "/events".into(),
        _ => format!("{group}/{resource}").into(),
    }
}

/// The resources of one version of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    /// `v1`
    pub(crate) name: String,
    /// In the order of discovery.
    pub(crate) resources: Vec<Arc<Resource>>,
    by_name: HashMap<String, usize>,
}

impl Version {
    fn add(&mut self, resource: Arc<Resource>) {
        self.by_name
            .insert(resource.name.resource.clone(), self.resources.len());
        self.resources.push(resource);
    }

    /// The resource with this plural name.
    pub(crate) fn find(&self, resource: &str) -> Option<&Arc<Resource>> {
        self.by_name.get(resource).map(|&at| &self.resources[at])
    }
}

/// A group with its versions, the preferred one first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// `apps`, empty for the core group.
    pub(crate) name: String,
    /// The preferred version first.
    pub(crate) versions: Vec<Version>,
}

impl Group {
    /// A group of one version.
    pub(crate) fn of(
        name: &str,
        version: &str,
        resources: impl IntoIterator<Item = Arc<Resource>>,
    ) -> Self {
        let mut group = Self {
            name: name.to_owned(),
            versions: Vec::new(),
        };
        for resource in resources {
            group.version_mut(version).add(resource);
        }
        group
    }

    fn version_mut(&mut self, name: &str) -> &mut Version {
        let at = self
            .versions
            .iter()
            .position(|version| version.name == name)
            .unwrap_or_else(|| {
                self.versions.push(Version {
                    name: name.to_owned(),
                    ..Version::default()
                });
                self.versions.len() - 1
            });
        &mut self.versions[at]
    }

    /// The version with this name.
    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }
}

/// Everything that is served at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    custom: BTreeMap<String, Group>,
    /// What nodes and pods use.
    measured: Option<&'static Group>,
    infos: Arc<Vec<ResourceInfo>>,
    kind_schemas: Vec<KindSchema>,
    revision: u64,
}

impl Default for Registry {
    fn default() -> Self {
        Self::with([], false, 0)
    }
}

static BUILT_IN: LazyLock<Vec<Group>> = LazyLock::new(|| {
    let mut groups: Vec<Group> = Vec::new();
    for info in builtin::resources() {
        let at = groups
            .iter()
            .position(|group| group.name == info.group)
            .unwrap_or_else(|| {
                groups.push(Group {
                    name: info.group.clone(),
                    ..Group::default()
                });
                groups.len() - 1
            });
        groups[at]
            .version_mut(&info.version)
            .add(Arc::new(built_in(info)));
    }
    groups
});

fn built_in(info: &builtin::ResourceInfo) -> Resource {
    let stored_as = match (info.group.as_str(), info.resource.as_str()) {
        ("autoscaling", _) => "autoscaling/v2".to_owned(),
        ("events.k8s.io", "events") => "v1".to_owned(),
        _ => info.gvk().api_version(),
    };
    Resource {
        name: GroupResource::new(&info.group, &info.resource),
        kind: info.gvk(),
        list_kind: format!("{}List", info.kind),
        singular: info.singular.clone(),
        namespaced: info.namespaced,
        short_names: info.short_names.clone(),
        categories: info.categories.clone(),
        verbs: info.verbs.clone(),
        subresources: info
            .subresources
            .iter()
            .map(|sub| Subresource {
                name: sub.name.clone(),
                kind: GroupVersionKind::new(&sub.group, &sub.version, &sub.kind),
                verbs: sub.verbs.clone(),
            })
            .collect(),
        collection: collection(&info.group, &info.resource),
        stored_as,
        schema: builtin::schema(&info.gvk())
            .unwrap_or_else(|| SchemaRef::new(simcluster_machinery::schema::Schema::default())),
        custom: None,
    }
}

impl Registry {
    /// The built-in resources, these custom ones, and what is used if that is measured; the revision tells
    /// successive states apart.
    pub(crate) fn with(
        resources: impl IntoIterator<Item = Arc<Resource>>,
        measured: bool,
        revision: u64,
    ) -> Self {
        let mut custom: BTreeMap<String, Group> = BTreeMap::new();
        for resource in resources {
            let group = custom
                .entry(resource.name.group.clone())
                .or_insert_with(|| Group {
                    name: resource.name.group.clone(),
                    ..Group::default()
                });
            group
                .version_mut(&resource.kind.version)
                .add(resource.clone());
        }
        for group in custom.values_mut() {
            group
                .versions
                .sort_by_key(|version| std::cmp::Reverse(version_priority(&version.name)));
            for version in &mut group.versions {
                version.resources.sort_by(|a, b| a.name.cmp(&b.name));
                version.by_name = (version.resources.iter().enumerate())
                    .map(|(at, resource)| (resource.name.resource.clone(), at))
                    .collect();
            }
        }
        let measured = measured.then_some(&*metrics::SERVED);
        let infos = if custom.is_empty() && measured.is_none() {
            static BUILT_IN_INFOS: LazyLock<Arc<Vec<ResourceInfo>>> =
                LazyLock::new(|| Arc::new(builtin::resources().to_vec()));
            Arc::clone(&BUILT_IN_INFOS)
        } else {
            let mut infos = builtin::resources().to_vec();
            infos.extend(custom_resources(&custom).map(info));
            let measured = measured.iter().flat_map(|group| &group.versions);
            infos.extend(measured.flat_map(|version| &version.resources).map(info));
            Arc::new(infos)
        };
        let kind_schemas = custom_resources(&custom)
            .filter_map(|resource| resource.custom.as_ref())
            .map(|version| version.kind_schema.clone())
            .collect();
        Self {
            custom,
            measured,
            infos,
            kind_schemas,
            // A state with it and one without are two.
            revision: revision | u64::from(measured.is_some()) << 63,
        }
    }

    /// All resources as discovery documents need them.
    pub(crate) fn infos(&self) -> &[ResourceInfo] {
        &self.infos
    }

    /// The schemas of custom kinds, for OpenAPI documents.
    pub(crate) fn kind_schemas(&self) -> &[KindSchema] {
        &self.kind_schemas
    }

    /// Changes when what is served does.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the group is one of Kubernetes' own.
    pub(crate) fn is_built_in(group: &str) -> bool {
        BUILT_IN.iter().any(|own| own.name == group)
    }

    /// All groups: the core group, the other built-in ones, custom ones by name.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        BUILT_IN
            .iter()
            .chain(self.custom.values())
            .chain(self.measured)
    }

    /// The group with this name.
    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        BUILT_IN
            .iter()
            .find(|group| group.name == name)
            .or_else(|| self.custom.get(name))
            .or_else(|| self.measured.filter(|group| group.name == name))
    }

    /// The resource with this plural name.
    pub(crate) fn find(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Resource>> {
        self.group(group)?.version(version)?.find(resource).cloned()
    }
}

fn custom_resources(custom: &BTreeMap<String, Group>) -> impl Iterator<Item = &Arc<Resource>> {
    custom
        .values()
        .flat_map(|group| &group.versions)
        .flat_map(|version| &version.resources)
}

fn info(resource: &Arc<Resource>) -> ResourceInfo {
    ResourceInfo {
        group: resource.name.group.clone(),
        version: resource.kind.version.clone(),
        resource: resource.name.resource.clone(),
        singular: resource.singular.clone(),
        kind: resource.kind.kind.clone(),
        namespaced: resource.namespaced,
        short_names: resource.short_names.clone(),
        categories: resource.categories.clone(),
        verbs: resource.verbs.clone(),
        subresources: (resource.subresources.iter())
            .map(|sub| builtin::SubresourceInfo {
                name: sub.name.clone(),
                group: sub.kind.group.clone(),
                version: sub.kind.version.clone(),
                kind: sub.kind.kind.clone(),
                verbs: sub.verbs.clone(),
            })
            .collect(),
    }
}

/// Kubernetes' order of versions: `v2 > v1 > v1beta2 > v1alpha1 > foo`, others by name backwards.
pub(crate) fn version_priority(version: &str) -> (u8, u32, u32, std::cmp::Reverse<String>) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        let stability = &rest[digits..];
        if stability.is_empty() {
            return Some((3, major, 0));
        }
        let (rank, minor) = stability
            .strip_prefix("beta")
            .map(|minor| (2, minor))
            .or_else(|| stability.strip_prefix("alpha").map(|minor| (1, minor)))?;
        Some((rank, major, minor.parse().ok()?))
    };
    let (rank, major, minor) = parse().unwrap_or((0, 0, 0));
    (rank, major, minor, std::cmp::Reverse(version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_resources_are_found_by_path() {
        let registry = Registry::default();
        let deployments = registry.find("apps", "v1", "deployments").unwrap();
        assert_eq!(deployments.list_kind, "DeploymentList");
        assert!(deployments.subresource("scale").is_some());
        assert!(registry.find("apps", "v1", "pods").is_none());
    }

    #[test]
    fn versions_are_ordered_by_maturity() {
        let mut versions = [
            "v1alpha1", "foo", "v1", "v10", "v2beta1", "v2", "v1beta2", "bar",
        ];
        versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        assert_eq!(
            versions,
            [
                "v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "bar", "foo"
            ]
        );
    }
}
