//! The other ways to install the operator agree with `deploy/*.yml`, which the scenarios prove.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::PathBuf, process::Command};

use scenarios::{deploy, images};
use serde::Deserialize as _;
use serde_json::Value;

/// What installs the operator, without the example resources.
const INSTALLED: [&str; 5] = [
    "crd.yml",
    "service-account.yml",
    "role.yml",
    "role-binding.yml",
    "deploy-operator.yml",
];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name)
}

fn read(path: &str) -> String {
    let path = folder(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of `deploy/` itself.
fn plain() -> BTreeMap<String, String> {
    deploy::directory()
        .expect("deploy/ can be read")
        .into_iter()
        .filter(|(name, _)| INSTALLED.contains(&name.as_str()))
        .collect()
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect()
}

#[test]
fn kustomize_has_the_same_files() {
    let kustomization = &documents(&read("kustomize/kustomization.yaml"))[0];
    let listed: Vec<&str> = kustomization["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(listed, INSTALLED);
    for (name, text) in plain() {
        let copy = read(&format!("kustomize/{name}"));
        assert!(
            copy == text,
            "deploy/kustomize/{name} differs from deploy/{name}: cp deploy/{name} deploy/kustomize/"
        );
    }
}

/// Numbers as one type: kustomize writes 1 for 1.0.
fn plain_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Number(number), Value::from),
        Value::Array(items) => items.into_iter().map(plain_numbers).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, plain_numbers(value)))
            .collect(),
        other => other,
    }
}

/// Documents by kind and name: kustomize orders them as it likes.
fn by_name(text: &str) -> BTreeMap<(String, String), Value> {
    let named = documents(text).into_iter().map(|document| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (text(&document["kind"]), text(&document["metadata"]["name"]));
        (key, plain_numbers(document))
    });
    named.collect()
}

#[test]
fn what_kubectl_makes_of_the_kustomization_is_what_the_files_say() {
    let made = match Command::new("kubectl")
        .arg("kustomize")
        .arg(folder("kustomize"))
        .output()
    {
        Ok(made) => made,
        // Only who installs with kustomize needs kubectl.
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => panic!("kubectl: {error}"),
    };
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let files: Vec<String> = plain().into_values().collect();
    assert_eq!(
        by_name(&String::from_utf8_lossy(&made.stdout)),
        by_name(&files.join("\n---\n"))
    );
}

#[test]
fn the_chart_with_its_own_values_gives_the_same_objects() {
    let values = &documents(&read("helm/mysql-operator/values.yaml"))[0];
    for (name, text) in plain() {
        let rendered = if name == "crd.yml" {
            read("helm/mysql-operator/crds/crd.yml")
        } else {
            render(
                &read(&format!("helm/mysql-operator/templates/{name}")),
                values,
            )
        };
        assert_eq!(documents(&rendered), documents(&text), "{name}");
    }
}

#[test]
fn every_value_of_the_chart_is_used() {
    let values = &documents(&read("helm/mysql-operator/values.yaml"))[0];
    let templates: String = INSTALLED[1..]
        .iter()
        .map(|name| read(&format!("helm/mysql-operator/templates/{name}")))
        .collect();
    for path in leaves(values, ".Values") {
        assert!(templates.contains(&format!("{{{{ {path} }}}}")), "{path}");
    }
}

fn leaves(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| leaves(value, &format!("{path}.{key}")))
            .collect(),
        _ => vec![path.to_owned()],
    }
}

/// The part of Helm's language that the chart uses: `{{ .Values.a.b }}` and `{{ .Release.Namespace }}`.
fn render(template: &str, values: &Value) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, behind) = after.split_once("}}").expect("a closed expression");
        text.push_str(before);
        text.push_str(&evaluate(expression.trim(), values));
        rest = behind;
    }
    text + rest
}

fn evaluate(expression: &str, values: &Value) -> String {
    if expression == ".Release.Namespace" {
        return "default".to_owned();
    }
    let path = expression.strip_prefix(".Values.").unwrap_or_else(|| {
        panic!("the chart may not use {expression}: this test does not know it")
    });
    let value = path.split('.').fold(values, |value, key| &value[key]);
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => panic!("{expression} is {other}"),
    }
}

#[test]
fn the_image_that_is_deployed_is_the_one_that_jobs_use() {
    for text in [
        plain()
            .remove("deploy-operator.yml")
            .expect("the Deployment"),
        read("helm/mysql-operator/templates/deploy-operator.yml"),
    ] {
        let image = line_after(&text, "image: ");
        assert_eq!(
            line_after(&text, "- name: OPERATOR_IMAGE\n          value: "),
            image
        );
    }
}

#[tokio::test]
async fn the_image_is_an_archive_that_another_store_can_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let archive = directory.path().join("mysql-operator.tar");
    images::write_archive(images::Profile::Dev, &archive)
        .await
        .expect("the archive is written");
    let config = simcluster::StoreConfig {
        cache_dir: Some(directory.path().join("cache")),
        packages: false,
        ..simcluster::StoreConfig::default()
    };
    let store = simcluster::ImageStore::open(config).expect("a store");
    store.import(&archive, None).expect("the archive is read");
    let image = store
        .ensure(images::OPERATOR_IMAGE, &())
        .await
        .expect("the image is in it");
    assert_eq!(image.config.entrypoint, ["/mysql-operator"]);
    assert_eq!(image.config.user, "65532:65532");
    for program in ["mysql-operator", "mysql-job"] {
        assert!(
            image
                .layers
                .iter()
                .any(|layer| layer.join(program).is_file())
        );
    }
}

fn line_after<'a>(text: &'a str, words: &str) -> &'a str {
    let (_, rest) = text
        .split_once(words)
        .unwrap_or_else(|| panic!("no {words:?}"));
    rest.lines().next().unwrap_or_default()
}
