//! A container's environment from all its sources, as Kubernetes orders and overrides them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Pod};

use super::{
    expansion::expand,
    fields::{self, Facts},
    references::{Found, config_map_data, secret_data},
};

/// Everything a container's environment is made of.
pub(crate) struct Inputs<'a> {
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// The container.
    pub(crate) container: &'a Container,
    /// The objects it refers to, as far as they exist.
    pub(crate) found: &'a Found,
    /// What the pod may learn of itself.
    pub(crate) facts: &'a Facts,
    /// The variables that tell of Services.
    pub(crate) services: &'a BTreeMap<String, String>,
}

/// The variables, without those of the image. The error is what `CreateContainerConfigError` says.
pub(crate) fn variables(inputs: &Inputs<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    from_whole_objects(inputs, &mut all)?;
    for variable in inputs.container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => {
                let lookup = |name: &str| all.get(name).or(inputs.services.get(name)).cloned();
                Some(expand(text, lookup))
            }
            (_, Some(source)) => from_source(inputs, variable, source)?,
            (_, None) => Some(String::new()),
        };
        if let Some(value) = value {
            all.insert(variable.name.clone(), value);
        }
    }
    for (name, value) in inputs.services {
        all.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(all)
}

fn from_whole_objects(
    inputs: &Inputs<'_>,
    all: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for source in inputs.container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut take = |data: BTreeMap<&str, &[u8]>| {
            for (key, value) in data {
                let name = format!("{prefix}{key}");
                if !name.is_empty() && !name.contains('=') {
                    all.insert(name, text(value));
                }
            }
        };
        if let Some(reference) = &source.config_map_ref {
            match inputs.found.config_maps.get(&reference.name) {
                Some(map) => take(config_map_data(map)),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", reference.name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match inputs.found.secrets.get(&reference.name) {
                Some(secret) => take(secret_data(secret)),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", reference.name)),
            }
        }
    }
    Ok(())
}

/// The value of one `valueFrom`; `None` leaves the variable out.
fn from_source(
    inputs: &Inputs<'_>,
    variable: &EnvVar,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    let namespace = inputs.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(selector) = &source.field_ref {
        return fields::field(inputs.pod, inputs.facts, selector).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return fields::resource(inputs.pod, inputs.facts, Some(inputs.container), selector)
            .map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let (name, key) = (&selector.name, selector.key.as_str());
        let optional = selector.optional == Some(true);
        return match inputs.found.config_maps.get(name).map(config_map_data) {
            Some(data) => match data.get(key) {
                Some(value) => Ok(Some(text(value))),
                None if optional => Ok(None),
                None => Err(format!(
                    "couldn't find key {key} in ConfigMap {namespace}/{name}"
                )),
            },
            None if optional => Ok(None),
            None => Err(format!("configmap {name:?} not found")),
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let (name, key) = (&selector.name, selector.key.as_str());
        let optional = selector.optional == Some(true);
        return match inputs.found.secrets.get(name).map(secret_data) {
            Some(data) => match data.get(key) {
                Some(value) => Ok(Some(text(value))),
                None if optional => Ok(None),
                None => Err(format!(
                    "couldn't find key {key} in Secret {namespace}/{name}"
                )),
            },
            None if optional => Ok(None),
            None => Err(format!("secret {name:?} not found")),
        };
    }
    Err(format!(
        "the source of the environment variable {} is not supported by this node",
        variable.name
    ))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::json;

    fn build(container: serde_json::Value) -> Result<BTreeMap<String, String>, String> {
        let container: Container = serde_json::from_value(container).unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "env", "namespace": "ns", "labels": {"l": "v"}},
            "spec": {"containers": []},
        }))
        .unwrap();
        let map: ConfigMap = serde_json::from_value(json!({"data": {"A": "1", "B": "2"}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({"data": {"pw": "aGlkZGVu"}})).unwrap();
        let found = Found {
            config_maps: [("cm".to_owned(), map)].into(),
            secrets: [("se".to_owned(), secret)].into(),
        };
        let services = [("DB_SERVICE_HOST".to_owned(), "10.43.0.9".to_owned())].into();
        variables(&Inputs {
            pod: &pod,
            container: &container,
            found: &found,
            facts: &Facts::default(),
            services: &services,
        })
    }

    #[test]
    fn every_source_is_read_and_later_ones_win() {
        let env = build(json!({
            "name": "c",
            "envFrom": [
                {"configMapRef": {"name": "cm"}},
                {"prefix": "P_", "configMapRef": {"name": "absent", "optional": true}},
                {"prefix": "S_", "secretRef": {"name": "se"}},
            ],
            "env": [
                {"name": "B", "value": "own"},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "se", "key": "pw"}}},
                {"name": "MISS", "valueFrom":
                    {"configMapKeyRef": {"name": "cm", "key": "zz", "optional": true}}},
                {"name": "DEP", "value": "$(B)-$(NAME)-$$(NAME)-$(NOPE)-$(DB_SERVICE_HOST)"},
            ],
        }))
        .unwrap();
        assert_eq!(env["A"], "1");
        assert_eq!(env["B"], "own");
        assert_eq!(env["S_pw"], "hidden");
        assert_eq!(env["PW"], "hidden");
        assert_eq!(env["DEP"], "own-env-$(NAME)-$(NOPE)-10.43.0.9");
        assert!(!env.contains_key("MISS"));
        assert_eq!(env["DB_SERVICE_HOST"], "10.43.0.9");
    }

    #[test]
    fn what_is_missing_is_named() {
        let from = |source: serde_json::Value| {
            build(json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]})).unwrap_err()
        };
        assert_eq!(
            from(json!({"secretKeyRef": {"name": "se", "key": "zz"}})),
            "couldn't find key zz in Secret ns/se"
        );
        assert_eq!(
            from(json!({"secretKeyRef": {"name": "no", "key": "zz"}})),
            "secret \"no\" not found"
        );
        assert_eq!(
            from(json!({"configMapKeyRef": {"name": "cm", "key": "zz"}})),
            "couldn't find key zz in ConfigMap ns/cm"
        );
    }
}
