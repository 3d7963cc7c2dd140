//! Secret.

mod tls;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;
use simcluster_machinery::{decode, go};

use crate::checks::immutable;
use crate::config_map::{SIZE_LIMIT, decoded_length, keep_immutable};
use crate::meta::complain;
use crate::read::{Fill, Read};
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const REDACTED: &str = "<secret contents redacted>";

pub(crate) struct Secret;

impl KindRules for Secret {
    /// `stringData` is for writing only: it becomes `data`.
    fn default(&self, secret: &mut Value) {
        secret.fill("type", "Opaque");
        let Some(Value::Object(texts)) = secret.take_field("stringData") else {
            return;
        };
        if let Some(data) = secret.object("data") {
            for (key, text) in texts {
                let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
                data.insert(key, json!(encoded));
            }
        }
        if secret.lacks("data") {
            secret.take_field("data");
        }
    }

    fn validate_create(&self, secret: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("data");
        let mut size = 0;
        for (key, value) in secret.map("data") {
            complain(&mut errors, &path.key(key), key, name::config_map_key(key));
            size += decoded_length(value);
        }
        if size > SIZE_LIMIT {
            errors.push(Error::too_long(&path, SIZE_LIMIT));
        }
        validate_type(secret, &path, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        immutable(new, old, &["type"], &Path::root(), &mut errors);
        keep_immutable(new, old, &["data"], &mut errors);
        errors.extend(self.validate_create(new));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        if new.text("type") != "kubernetes.io/tls" {
            return Vec::new();
        }
        let bytes = |key: &str| {
            let data = new.at("data").and_then(|data| data.get(key)?.as_str());
            let bytes = STANDARD.decode(data.unwrap_or_default());
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        tls::why_no_pair(&bytes("tls.crt"), &bytes("tls.key"))
            .into_iter()
            .collect()
    }

    fn selectable_fields(&self, secret: &Value) -> Vec<(&'static str, String)> {
        vec![("type", secret.text("type").to_owned())]
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Type"), Column::text("Data"), AGE] }
    }

    fn row(&self, secret: &Value, now: Timestamp) -> Row {
        Row::new(vec![
            table::name(secret),
            json!(secret.text("type")),
            json!(secret.map("data").count()),
            table::age(secret, now),
        ])
    }
}

fn validate_type(secret: &Value, path: &Path, errors: &mut Vec<Error>) {
    let value = |key: &str| {
        secret
            .map("data")
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    };
    let mut require = |keys: &[&str]| {
        errors.extend(keys.iter().map(|key| Error::required(&path.key(key), "")));
    };
    match secret.text("type") {
        "kubernetes.io/service-account-token" => {
            let annotations = secret.at("metadata.annotations");
            let account = annotations.and_then(|all| all.get(ACCOUNT_NAME)?.as_str());
            if account.is_none_or(str::is_empty) {
                let place = Path::new("metadata").child("annotations").key(ACCOUNT_NAME);
                errors.push(Error::required(&place, ""));
            }
        }
        kind @ ("kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson") => {
            let key = kind.replace("kubernetes.io/", ".");
            match value(&key) {
                None => require(&[&key]),
                Some(encoded) => {
                    let bytes = STANDARD.decode(encoded.as_str().unwrap_or_default());
                    let wrong = match decode::untyped(&bytes.unwrap_or_default()) {
                        Err(error) => Some(error.to_string()),
                        Ok(read) if read.value.is_object() || read.value.is_null() => None,
                        Ok(read) => Some(format!(
                            "json: cannot unmarshal {} into Go value of type \
                             map[string]interface {{}}",
                            go::json_kind(&read.value)
                        )),
                    };
                    if let Some(detail) = wrong {
                        errors.push(Error::invalid(&path.key(&key), REDACTED, detail));
                    }
                }
            }
        }
        "kubernetes.io/basic-auth"
            if value("username").is_none() && value("password").is_none() =>
        {
            require(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(|key| key == "") => {
            require(&["ssh-privatekey"]);
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if value(key).is_none() {
                    require(&[key]);
                }
            }
        }
        _ => {}
    }
}
