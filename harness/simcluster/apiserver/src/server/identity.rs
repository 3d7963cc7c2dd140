//! Who makes a request, as authentication found out.
//!
//! Does not judge what they may do (see [`super::authorize`]).

use std::collections::BTreeMap;

/// The group whose members may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of everybody who has a name.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody who has none.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of somebody without credentials.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// What user names of service accounts begin with.
pub(crate) const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// A user, in the API's sense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The name: a person's, a component's, or `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// Tells successive users of one name apart; often empty.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
    /// More that the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// The administrator: a member of `system:masters`.
    pub fn admin() -> Self {
        Self::member("kubernetes-admin", &[MASTERS])
    }

    /// A user who is in no group but that of everybody.
    pub fn user(name: &str) -> Self {
        Self::member(name, &[])
    }

    /// A user with groups; `system:authenticated` is added.
    pub fn member(name: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self {
            user: name.to_owned(),
            groups,
            ..Self::default()
        }
    }

    /// A service account, by its name alone (a token says more).
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::member(
            &format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"),
            &[
                "system:serviceaccounts",
                &format!("system:serviceaccounts:{namespace}"),
            ],
        )
    }

    /// Somebody without credentials.
    pub fn anonymous() -> Self {
        Self {
            user: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// Whether the user is in the group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The `UserInfo` of the API.
    pub fn user_info(&self) -> serde_json::Value {
        let mut info = serde_json::Map::new();
        if !self.user.is_empty() {
            info.insert("username".to_owned(), self.user.clone().into());
        }
        if !self.uid.is_empty() {
            info.insert("uid".to_owned(), self.uid.clone().into());
        }
        if !self.groups.is_empty() {
            info.insert("groups".to_owned(), self.groups.clone().into());
        }
        if !self.extra.is_empty() {
            info.insert("extra".to_owned(), serde_json::json!(self.extra));
        }
        info.into()
    }
}
