//! Kubeconfigs that lead to a listening server.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::Kubeconfig;
use serde_json::json;

use crate::Credentials;

/// How the kubeconfig's user proves who they are.
#[derive(Clone, Debug)]
pub enum Login {
    /// By a client certificate.
    Certificate(Credentials),
    /// By a bearer token.
    Token(String),
}

/// A kubeconfig with one cluster, one user and one context, all called `name`.
pub fn kubeconfig(name: &str, server: &str, ca: &str, login: &Login) -> Kubeconfig {
    let user = match login {
        Login::Certificate(credentials) => json!({
            "client-certificate-data": STANDARD.encode(&credentials.certificate),
            "client-key-data": STANDARD.encode(&credentials.key),
        }),
        Login::Token(token) => json!({ "token": token }),
    };
    let value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(ca),
        }}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {
            "cluster": name, "user": name, "namespace": "default",
        }}],
    });
    serde_json::from_value(value).expect("the fields are those of a kubeconfig")
}
