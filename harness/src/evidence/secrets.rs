//! What nobody should read in a report, and how it is hidden there.
//!
//! Two nets. Objects are redacted where they are shown: the data of Secrets, and values whose key speaks
//! of a password. And the values themselves are remembered and hidden in every text, in the spellings in
//! which they turn up: as they are, in base64, in JSON, in HTML, in an address. A secret that no object of
//! the cluster ever held is not known here.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{history::Version, scenario::Run};

const HIDDEN: &str = "<redacted>";
/// Shorter values are no secrets that one could hide: they are parts of other words.
const SHORTEST: usize = 5;
/// Entries of a service account's Secret that are public.
const PUBLIC: [&str; 2] = ["namespace", "ca.crt"];

/// The secret values of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Remembers those of an object.
    pub(crate) fn add(&mut self, object: &Value) {
        if object["kind"] == "Secret" {
            let entries = |part: &str| object[part].as_object().cloned().unwrap_or_default();
            let encoded = entries("data").into_iter().filter_map(|(key, value)| {
                let bytes = STANDARD.decode(value.as_str()?).ok()?;
                Some((key, String::from_utf8(bytes).ok()?))
            });
            let plain = entries("stringData")
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())));
            for (key, value) in encoded.chain(plain) {
                if !PUBLIC.contains(&key.as_str()) {
                    self.remember(&value);
                }
            }
        }
        self.add_passwords(object);
    }

    /// Remembers those of all versions.
    pub(crate) fn add_all(&mut self, versions: &[Version]) {
        for version in versions {
            self.0.extend(version.secrets.0.iter().cloned());
        }
    }

    fn add_passwords(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(text) = of_variable(map).and_then(Value::as_str) {
                    self.remember(text);
                }
                for (key, value) in map {
                    match value.as_str() {
                        Some(text) if is_a_password(key) => self.remember(text),
                        _ => self.add_passwords(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.add_passwords(item)),
            _ => {}
        }
    }

    fn remember(&mut self, value: &str) {
        let value = value.trim();
        if value.len() >= SHORTEST && value != HIDDEN {
            self.0.insert(value.to_owned());
        }
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // The longest first: one secret may be the beginning of another.
        let mut values: Vec<&String> = self.0.iter().collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        for value in values {
            for spelling in spellings(value) {
                if text.contains(&spelling) {
                    text = text.replace(&spelling, HIDDEN);
                }
            }
        }
        text
    }

    /// A run without them.
    #[must_use]
    pub fn hide_in_run(&self, mut run: Run) -> Run {
        use crate::scenario::Verdict;
        if let Verdict::Failed(why) = &mut run.verdict {
            *why = self.hide(why);
        }
        for operation in run.steps.iter_mut().flat_map(|step| &mut step.operations) {
            operation.subject = self.hide(&operation.subject);
            for text in [&mut operation.failure, &mut operation.output] {
                *text = text.take().map(|text| self.hide(&text));
            }
        }
        run
    }
}

fn spellings(value: &str) -> BTreeSet<String> {
    let in_json = Value::from(value).to_string();
    let in_html = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
    };
    let in_json = in_json.trim_matches('"');
    let in_address: String = value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect();
    BTreeSet::from([
        value.to_owned(),
        STANDARD.encode(value),
        in_json.to_owned(),
        in_html(value),
        in_html(in_json),
        in_address,
    ])
}

/// `rootPassword`, but not `passwordSequence`: what is hidden everywhere must be a password.
fn is_a_password(key: &str) -> bool {
    let key = key.to_lowercase();
    ["password", "passwd", "passphrase"]
        .iter()
        .any(|end| key.ends_with(end))
}

fn speaks_of_a_password(key: &str) -> bool {
    // `passwordSecret: name` speaks of where one is.
    let key = key.to_lowercase();
    key.contains("password") && !key.contains("secret")
}

/// The value of an environment variable whose name speaks of a password.
fn of_variable(map: &serde_json::Map<String, Value>) -> Option<&Value> {
    let name = map.get("name")?.as_str()?;
    map.get("value")
        .filter(|value| value.is_string() && is_a_password(name))
}

/// Replaces what nobody should read in a report.
pub(crate) fn redact(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            // Holds the whole object again, secrets included.
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    let is_secret = object["kind"] == "Secret";
    for part in ["data", "stringData"] {
        if let (true, Some(data)) = (
            is_secret,
            object.get_mut(part).and_then(Value::as_object_mut),
        ) {
            data.values_mut()
                .for_each(|value| *value = Value::from("<redacted>"));
        }
    }
    redact_passwords(object);
}

fn redact_passwords(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if of_variable(map).is_some() {
                map.insert("value".to_owned(), Value::from(HIDDEN));
            }
            for (key, value) in map {
                if value.is_string() && speaks_of_a_password(key) {
                    *value = Value::from("<redacted>");
                } else {
                    redact_passwords(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_passwords),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_passwords_are_redacted() {
        let mut object = serde_json::json!({
            "kind": "Secret", "data": {"k": "c2VjcmV0"},
            "spec": {"password": "secret", "list": [{"rootPassword": "secret"}],
                "env": [{"name": "MYSQL_ROOT_PASSWORD", "value": "secret"}]},
            "metadata": {"annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "secret"}},
        });
        redact(&mut object);
        assert!(!object.to_string().contains("secret"), "{object}");
        assert!(!object.to_string().contains("c2VjcmV0"), "{object}");
    }

    #[test]
    fn a_secret_is_hidden_in_every_text_however_it_is_spelt() {
        let mut secrets = Secrets::default();
        secrets.add(&serde_json::json!({"kind": "Secret", "data": {
            "token": STANDARD.encode("a\"b<c>&d"), "namespace": STANDARD.encode("default")}}));
        secrets.add(&serde_json::json!({"spec": {"password": "open sesame", "passwordSecret": "shop-keys"}}));
        let text = format!(
            "a\"b<c>&d {} a\\\"b<c>&d a&quot;b&lt;c&gt;&amp;d ?p=open%20sesame default shop-keys",
            STANDARD.encode("open sesame")
        );
        assert_eq!(
            secrets.hide(&text),
            "<redacted> <redacted> <redacted> <redacted> ?p=<redacted> default shop-keys"
        );
    }
}
