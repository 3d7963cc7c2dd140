//! What the cluster adds to a new pod: its service account and token, tolerations, its priority.

use serde_json::{Value, json};

use crate::read::{Fill, Read};

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_VOLUME: &str = "kube-api-access-";
/// A little more than an hour, so that tokens from here are told apart from those users ask for.
const TOKEN_SECONDS: i64 = 3607;
const TOLERATED_TAINTS: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];
const TOLERATION_SECONDS: i64 = 300;

/// The name of the pod's service account, filled in when the pod names none.
pub fn service_account_name(pod: &mut Value) -> String {
    pod.fill("spec.serviceAccountName", "default");
    let name = pod.text("spec.serviceAccountName").to_owned();
    pod.put("spec.serviceAccount", name.as_str());
    name
}

/// What the pod gets from its service account: pull secrets, and a token in every container.
/// `suffix` ends the name of the token's volume; the server draws it.
pub fn service_account(pod: &mut Value, account: &Value, suffix: &str) {
    if pod.lacks("spec.imagePullSecrets") && !account.lacks("imagePullSecrets") {
        let secrets = account["imagePullSecrets"].clone();
        pod.put("spec.imagePullSecrets", secrets);
    }
    let automount = pod
        .at("spec.automountServiceAccountToken")
        .or_else(|| account.at("automountServiceAccountToken"))
        .is_none_or(|flag| *flag != false);
    if automount {
        mount_token(&mut pod["spec"], suffix);
    }
}

fn mount_token(spec: &mut Value, suffix: &str) {
    let existing = spec
        .list("volumes")
        .iter()
        .map(|volume| volume.text("name"));
    let existing = existing.filter(|name| name.starts_with(TOKEN_VOLUME)).max();
    let is_new = existing.is_none();
    let volume = existing.map_or_else(|| format!("{TOKEN_VOLUME}{suffix}"), str::to_owned);
    let mounted = |container: &Value| {
        container
            .list("volumeMounts")
            .iter()
            .any(|mount| mount.text("mountPath") == TOKEN_PATH)
    };
    let lists = ["initContainers", "containers"];
    let needed = lists
        .iter()
        .flat_map(|list| spec.list(list))
        .any(|one| !mounted(one));
    if !needed {
        return;
    }
    let mount = json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH});
    for list in lists {
        for container in spec.items(list) {
            if !mounted(container) {
                push(container, "volumeMounts", mount.clone());
            }
        }
    }
    if is_new {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn push(value: &mut Value, list: &str, entry: Value) {
    match value.inner(list) {
        Some(Value::Array(items)) => items.push(entry),
        _ => value.put(list, vec![entry]),
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    })
}

/// A pod bears a node that is not ready or not reachable for five minutes, unless it says
/// otherwise. Runs on updates too.
pub fn default_tolerations(pod: &mut Value) {
    for taint in TOLERATED_TAINTS {
        let covered = pod.list("spec.tolerations").iter().any(|toleration| {
            matches!(toleration.text("key"), "") | (toleration.text("key") == taint)
                && matches!(toleration.text("effect"), "" | "NoExecute")
        });
        if !covered {
            let toleration = json!({
                "key": taint,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS,
            });
            push(&mut pod["spec"], "tolerations", toleration);
        }
    }
}

/// The pod's priority, from the class it names or from the cluster's default among `classes`.
pub fn priority<'a>(
    pod: &mut Value,
    classes: impl IntoIterator<Item = &'a Value>,
) -> Result<(), String> {
    let wanted = pod.text("spec.priorityClassName");
    let mut classes = classes.into_iter();
    let class = if wanted.is_empty() {
        // The lowest of several defaults is the safest.
        classes
            .filter(|class| class.flag("globalDefault"))
            .min_by_key(|class| class.integer("value"))
    } else {
        let found = classes.find(|class| class.text("metadata.name") == wanted);
        Some(found.ok_or_else(|| format!("no PriorityClass with name {wanted} was found"))?)
    };
    let value = class.and_then(|class| class.integer("value")).unwrap_or(0);
    if let Some(given) = pod.integer("spec.priority").filter(|given| *given != value) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        ));
    }
    if let Some(class) = class {
        pod.put("spec.priorityClassName", class.text("metadata.name"));
    }
    pod.put("spec.priority", value);
    let policy = class.map_or("", |class| class.text("preemptionPolicy"));
    let policy = if policy.is_empty() {
        "PreemptLowerPriority"
    } else {
        policy
    };
    let given = pod.text("spec.preemptionPolicy");
    if !given.is_empty() && given != policy {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        ));
    }
    pod.fill("spec.preemptionPolicy", policy);
    Ok(())
}
