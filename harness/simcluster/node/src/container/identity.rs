//! Who a container runs as: user, groups, capabilities. Pure, given the image's passwd and group files.

use k8s_openapi::api::core::v1::{Capabilities, Container, Pod};
use simcluster_runtime::{capabilities, spec::User};

/// The image's account files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accounts<'a> {
    /// `/etc/passwd`
    pub(crate) passwd: &'a str,
    /// `/etc/group`
    pub(crate) group: &'a str,
}

/// The user and groups of a container; `image_user` is the image's `USER`. The error is what
/// `CreateContainerConfigError` says.
pub(crate) fn user(
    pod: &Pod,
    container: &Container,
    image_user: &str,
    accounts: Accounts<'_>,
) -> Result<User, String> {
    let of_pod = pod
        .spec
        .as_ref()
        .and_then(|s| s.security_context.clone())
        .unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let run_as_user = own.run_as_user.or(of_pod.run_as_user);
    let run_as_group = own.run_as_group.or(of_pod.run_as_group);
    let non_root = own
        .run_as_non_root
        .or(of_pod.run_as_non_root)
        .unwrap_or_default();
    let (image_name, image_group) = image_user.split_once(':').unwrap_or((image_user, ""));

    let whom = || {
        let meta = &pod.metadata;
        format!(
            "(pod: \"{}_{}({})\", container: {})",
            meta.name.as_deref().unwrap_or_default(),
            meta.namespace.as_deref().unwrap_or_default(),
            meta.uid.as_deref().unwrap_or_default(),
            container.name
        )
    };
    let account = match run_as_user {
        Some(uid) => find(accounts.passwd, &uid.to_string()),
        None => find(
            accounts.passwd,
            if image_name.is_empty() {
                "0"
            } else {
                image_name
            },
        ),
    };
    let uid = match (run_as_user, image_name, &account) {
        (Some(uid), _, _) => {
            u32::try_from(uid).map_err(|_| format!("runAsUser {uid} is no user id"))?
        }
        (None, "", _) => 0,
        (None, name, account) => match (name.parse(), account) {
            (Ok(uid), _) => uid,
            (Err(_), Some(account)) => {
                if non_root {
                    return Err(format!(
                        "container has runAsNonRoot and image has non-numeric user ({name}), cannot \
                         verify user is non-root {}",
                        whom()
                    ));
                }
                account.uid
            }
            (Err(_), None) => {
                return Err(format!(
                    "unable to find user {name}: no matching entries in passwd file"
                ));
            }
        },
    };
    if non_root && uid == 0 {
        return Err(match run_as_user {
            Some(_) => format!("container's runAsUser breaks non-root policy {}", whom()),
            None => format!(
                "container has runAsNonRoot and image will run as root {}",
                whom()
            ),
        });
    }
    let gid = match run_as_group {
        Some(gid) => u32::try_from(gid).map_err(|_| format!("runAsGroup {gid} is no group id"))?,
        None if run_as_user.is_none() && !image_group.is_empty() => {
            group_id(accounts.group, image_group).ok_or_else(|| {
                format!("unable to find group {image_group}: no matching entries in group file")
            })?
        }
        None => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut additional: Vec<u32> = of_pod
        .supplemental_groups
        .iter()
        .flatten()
        .chain(&of_pod.fs_group)
        .filter_map(|gid| u32::try_from(*gid).ok())
        .collect();
    if let Some(account) = &account
        && of_pod.supplemental_groups_policy.as_deref() != Some("Strict")
    {
        additional.extend(groups_of(accounts.group, account.name));
    }
    additional.retain(|group| *group != gid);
    additional.sort_unstable();
    additional.dedup();
    Ok(User {
        uid,
        gid,
        additional_gids: additional,
    })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// A line of a passwd file, by name or number.
fn find<'a>(passwd: &'a str, who: &str) -> Option<Account<'a>> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?;
        let gid = fields.next()?;
        (name == who || uid == who)
            .then(|| {
                Some(Account {
                    name,
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                })
            })
            .flatten()
    })
}

fn group_id(groups: &str, who: &str) -> Option<u32> {
    who.parse().ok().or_else(|| {
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == who)
                .then(|| fields.nth(1)?.parse().ok())
                .flatten()
        })
    })
}

fn groups_of<'a>(groups: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let gid = fields.nth(2)?.parse().ok()?;
        fields
            .next()?
            .split(',')
            .any(|member| member == user)
            .then_some(gid)
    })
}

/// The capabilities a container keeps, where its spec says anything about them. Naming one that the
/// kernel does not have is the runtime's to refuse.
pub(crate) fn kept_capabilities(asked: Option<&Capabilities>) -> Option<Vec<String>> {
    let asked = asked?;
    let bare = |name: &String| name.trim_start_matches("CAP_").to_uppercase();
    let add: Vec<String> = asked.add.iter().flatten().map(bare).collect();
    let drop: Vec<String> = asked.drop.iter().flatten().map(bare).collect();
    if add.is_empty() && drop.is_empty() {
        return None;
    }
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut kept: Vec<String> = if all(&add) {
        capabilities::ALL.map(str::to_owned).to_vec()
    } else if all(&drop) {
        Vec::new()
    } else {
        capabilities::DEFAULT.map(str::to_owned).to_vec()
    };
    kept.retain(|name| !drop.contains(name));
    kept.extend(add.into_iter().filter(|name| name != "ALL"));
    kept.sort_unstable();
    kept.dedup();
    Some(kept.into_iter().map(|name| format!("CAP_{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ACCOUNTS: Accounts<'static> = Accounts {
        passwd: "root:x:0:0::/:/bin/sh\nmysql:x:999:998::/:/bin/sh\n",
        group: "root:x:0:\nmysql:x:998:\nssl:x:110:other,mysql\n",
    };

    #[expect(clippy::needless_pass_by_value, reason = "json! makes values")]
    fn who(pod: Value, container: Value, image: &str) -> Result<User, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [], "securityContext": pod},
        }))
        .unwrap();
        let container: Container =
            serde_json::from_value(json!({"name": "c", "securityContext": container})).unwrap();
        user(&pod, &container, image, ACCOUNTS)
    }

    fn ids(user: &User) -> (u32, u32, &[u32]) {
        (user.uid, user.gid, &user.additional_gids)
    }

    #[test]
    fn the_images_user_is_looked_up_in_its_account_files() {
        assert_eq!(
            ids(&who(json!({}), json!({}), "mysql").unwrap()),
            (999, 998, &[110][..])
        );
        assert_eq!(
            ids(&who(json!({}), json!({}), "").unwrap()),
            (0, 0, &[][..])
        );
        assert_eq!(
            ids(&who(json!({}), json!({}), "5:mysql").unwrap()),
            (5, 998, &[][..])
        );
        assert!(
            who(json!({}), json!({}), "nobody")
                .unwrap_err()
                .contains("nobody")
        );
    }

    #[test]
    fn the_specs_ids_come_first_and_groups_add_up() {
        let pod = json!({"runAsUser": 1, "fsGroup": 7, "supplementalGroups": [8]});
        let user = who(pod, json!({"runAsUser": 999, "runAsGroup": 3}), "mysql").unwrap();
        assert_eq!(ids(&user), (999, 3, &[7, 8, 110][..]));
    }

    #[test]
    fn run_as_non_root_refuses_root_and_names_it_cannot_judge() {
        let refused = |container: Value, image: &str| {
            who(json!({"runAsNonRoot": true}), container, image).unwrap_err()
        };
        assert_eq!(
            refused(json!({}), ""),
            "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"
        );
        assert!(refused(json!({"runAsUser": 0}), "").starts_with("container's runAsUser breaks"));
        assert!(refused(json!({}), "mysql").contains("non-numeric user (mysql)"));
        assert!(who(json!({"runAsNonRoot": true}), json!({}), "999").is_ok());
    }

    #[test]
    fn capabilities_are_dropped_and_added_to_the_default_set() {
        let kept = |asked: Value| kept_capabilities(Some(&serde_json::from_value(asked).unwrap()));
        assert_eq!(kept(json!({})), None);
        assert_eq!(kept(json!({"drop": ["ALL"]})), Some(vec![]));
        let one = kept(json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}));
        assert_eq!(one, Some(vec!["CAP_NET_BIND_SERVICE".to_owned()]));
        let less = kept(json!({"drop": ["CHOWN"]})).unwrap();
        assert_eq!(less.len(), capabilities::DEFAULT.len() - 1);
    }
}
