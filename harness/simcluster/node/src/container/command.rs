//! What a container executes: the pod's command and arguments over the image's. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;
use simcluster_images::ImageConfig;

use super::expansion::expand;

/// Program and arguments. A command of the pod replaces the image's entrypoint *and* its default
/// arguments; arguments alone replace only the latter.
pub(crate) fn command(
    container: &Container,
    image: &ImageConfig,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let expanded = |texts: &[String]| -> Vec<String> {
        texts
            .iter()
            .map(|text| expand(text, |name| environment.get(name).cloned()))
            .collect()
    };
    let own = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let mut all = if own.is_empty() {
        image.entrypoint.clone()
    } else {
        expanded(own)
    };
    if args.is_empty() {
        if own.is_empty() {
            all.extend(image.cmd.iter().cloned());
        }
    } else {
        all.extend(expanded(args));
    }
    if all.is_empty() {
        return Err("no command specified".into());
    }
    Ok(all)
}

/// The image's variables under the pod's.
pub(crate) fn with_image_environment(
    image: &ImageConfig,
    own: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let of_image = image.env.iter().filter_map(|line| line.split_once('='));
    let mut all: BTreeMap<String, String> = of_image
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    all.extend(own);
    all.entry("PATH".into()).or_insert_with(|| {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(container: serde_json::Value) -> Result<Vec<String>, String> {
        let container: Container = serde_json::from_value(container).unwrap();
        let image = ImageConfig {
            entrypoint: vec!["entry".into()],
            cmd: vec!["default".into()],
            ..ImageConfig::default()
        };
        let environment = [("A".to_owned(), "1".to_owned())].into();
        command(&container, &image, &environment)
    }

    #[test]
    fn the_pods_words_replace_the_images_as_kubernetes_has_it() {
        assert_eq!(run(json!({"name": "c"})).unwrap(), ["entry", "default"]);
        assert_eq!(
            run(json!({"name": "c", "args": ["x$(A)"]})).unwrap(),
            ["entry", "x1"]
        );
        assert_eq!(
            run(json!({"name": "c", "command": ["own"]})).unwrap(),
            ["own"]
        );
        assert_eq!(
            run(json!({"name": "c", "command": ["own"], "args": ["y"]})).unwrap(),
            ["own", "y"]
        );
    }
}
