//! Who makes a request: a client certificate, a bearer token, nobody; or somebody they act for.

use http::{HeaderMap, header};
use serde_json::Value;
use simcluster_auth::{rbac::Attributes, token::Claims};
use simcluster_http::Peer;
use simcluster_machinery::{kind::GroupResource, status::Status};

use super::{
    Failure, Inner,
    identity::{AUTHENTICATED, Identity, SERVICE_ACCOUNT_PREFIX},
    query::decode,
};

/// The audience of tokens that this server accepts, and its issuer.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Finds out who asks, impersonation included.
pub(crate) fn identify(
    server: &Inner,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<Identity, Failure> {
    let caller = caller(server, headers, peer)?;
    impersonated(server, headers, caller)
}

fn caller(server: &Inner, headers: &HeaderMap, peer: Peer) -> Result<Identity, Failure> {
    if let Some(user) = peer.user {
        let groups: Vec<&str> = user.groups.iter().map(String::as_str).collect();
        return Ok(if user.name == super::identity::ANONYMOUS {
            Identity::anonymous()
        } else {
            Identity::member(&user.name, &groups)
        });
    }
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return Ok(Identity::anonymous());
    };
    let token = authorization
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match token {
        // Other schemes are as good as no credentials.
        None => Ok(Identity::anonymous()),
        Some(token) => token_identity(server, token)
            .map(|(identity, _)| identity)
            .ok_or_else(|| Box::new(Status::unauthorized())),
    }
}

/// Whom a token stands for, if it is good and what it is bound to still exists.
pub(crate) fn token_identity(server: &Inner, token: &str) -> Option<(Identity, Claims)> {
    let now = server.config.clock.now().as_second();
    let claims = server.signer.verify(token, now).ok()?;
    let bound = &claims.kubernetes;
    let store = server.store.read();
    let lives = |collection: &str, name: &str, uid: &str| {
        store
            .get(collection, &format!("{}/{name}", bound.namespace))
            .is_some_and(|object| object.uid() == uid)
    };
    let account = &bound.serviceaccount;
    if !lives("/serviceaccounts", &account.name, &account.uid) {
        return None;
    }
    let mut identity = Identity::service_account(&bound.namespace, &account.name);
    identity.uid.clone_from(&account.uid);
    if let Some(pod) = &bound.pod {
        if !lives("/pods", &pod.name, &pod.uid) {
            return None;
        }
        let mut say = |key: &str, value: &str| {
            let key = format!("authentication.kubernetes.io/{key}");
            identity.extra.insert(key, vec![value.to_owned()]);
        };
        say("pod-name", &pod.name);
        say("pod-uid", &pod.uid);
    }
    if let Some(secret) = &bound.secret
        && !lives("/secrets", &secret.name, &secret.uid)
    {
        return None;
    }
    Some((identity, claims))
}

fn impersonated(
    server: &Inner,
    headers: &HeaderMap,
    caller: Identity,
) -> Result<Identity, Failure> {
    let all = |name: &str| -> Vec<String> {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    let user = all("impersonate-user")
        .into_iter()
        .next()
        .unwrap_or_default();
    let uid = all("impersonate-uid")
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut groups = all("impersonate-group");
    let mut extra: std::collections::BTreeMap<String, Vec<String>> =
        std::collections::BTreeMap::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix("impersonate-extra-") {
            extra.insert(decode(key, false), all(name.as_str()));
        }
    }
    if user.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(caller);
        }
        let message = "requested [{UID  }] without impersonating a user";
        return Err(Box::new(Status::internal(message)));
    }

    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        may_impersonate(
            server,
            &caller,
            group,
            resource,
            subresource,
            namespace,
            name,
        )
    };
    match account(&user) {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name)?,
        None => ask("", "users", "", "", &user)?,
    }
    for group in &groups {
        ask("", "groups", "", "", group)?;
    }
    for (key, values) in &extra {
        for value in values {
            ask("authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    if !uid.is_empty() {
        ask("authentication.k8s.io", "uids", "", "", &uid)?;
    }

    if let Some((namespace, _)) = account(&user)
        && groups.is_empty()
    {
        groups = Identity::service_account(namespace, "").groups;
    }
    if user == super::identity::ANONYMOUS {
        if !groups
            .iter()
            .any(|group| group == super::identity::UNAUTHENTICATED)
        {
            groups.push(super::identity::UNAUTHENTICATED.to_owned());
        }
    } else if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    Ok(Identity {
        user,
        uid,
        groups,
        extra,
    })
}

fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')
}

fn may_impersonate(
    server: &Inner,
    caller: &Identity,
    group: &str,
    resource: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Result<(), Failure> {
    let asked = Attributes {
        user: caller.user.clone(),
        groups: caller.groups.clone(),
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        path: None,
    };
    if server.policy.current(&server.store).allows(&asked) {
        return Ok(());
    }
    let shown = GroupResource::new(group, resource);
    Err(Box::new(Status::forbidden(
        &shown,
        name,
        &asked.to_string(),
    )))
}

/// The `status` of a TokenReview.
pub(crate) fn review(server: &Inner, token: &str, audiences: &[&str]) -> Value {
    let accepted = |claims: &Claims| -> Vec<String> {
        let wanted = if audiences.is_empty() {
            vec![ISSUER]
        } else {
            audiences.to_vec()
        };
        claims
            .aud
            .iter()
            .filter(|own| wanted.contains(&own.as_str()))
            .cloned()
            .collect()
    };
    match token_identity(server, token) {
        Some((identity, claims)) if !accepted(&claims).is_empty() => serde_json::json!({
            "authenticated": true,
            "user": identity.user_info(),
            "audiences": accepted(&claims),
        }),
        _ => serde_json::json!({
            "user": {},
            "error": "[invalid bearer token, token lookup failed]",
        }),
    }
}
