//! The manifests of `deploy/`, as users apply them.

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

/// Name of the canonical instance.
pub const INSTANCE: &str = "mysql-instance";
/// Database of the canonical instance.
pub const DATABASE: &str = "otus-database";
/// Password in [`CR`].
pub const PASSWORD: &str = "otuspassword";
/// Password in [`CR_PASSWD`].
pub const NEW_PASSWORD: &str = "newpassword";
