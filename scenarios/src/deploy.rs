//! The manifests of `deploy/`, as users apply them.

use std::{fs, io, path::Path};

/// The CustomResourceDefinition.
pub const CRD: &str = include_str!("../../deploy/crd.yml");
/// The canonical instance.
pub const CR: &str = include_str!("../../deploy/cr.yml");
/// The canonical instance with another password.
pub const CR_PASSWD: &str = include_str!("../../deploy/cr-passwd.yml");
/// What runs the operator in the cluster, in the order in which the homework applies it.
pub const OPERATOR: [(&str, &str); 4] = [
    (
        "service-account.yml",
        include_str!("../../deploy/service-account.yml"),
    ),
    ("role.yml", include_str!("../../deploy/role.yml")),
    (
        "role-binding.yml",
        include_str!("../../deploy/role-binding.yml"),
    ),
    (
        "deploy-operator.yml",
        include_str!("../../deploy/deploy-operator.yml"),
    ),
];

/// Every file of `deploy/` itself, in the order in which `kubectl apply -f deploy/` takes them.
pub fn directory() -> io::Result<Vec<(String, String)>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_manifest = ["yml", "yaml", "json"]
            .iter()
            .any(|ending| path.extension().is_some_and(|found| found == *ending));
        if is_manifest && let Some(name) = path.file_name() {
            files.push((
                name.to_string_lossy().into_owned(),
                fs::read_to_string(&path)?,
            ));
        }
    }
    files.sort();
    Ok(files)
}

/// Name of the canonical instance.
pub const INSTANCE: &str = "mysql-instance";
/// Database of the canonical instance.
pub const DATABASE: &str = "otus-database";
/// Password in [`CR`].
pub const PASSWORD: &str = "otuspassword";
/// Password in [`CR_PASSWD`].
pub const NEW_PASSWORD: &str = "newpassword";
