//! What expressions of a scenario see, and what is made of files and resources with them.

use std::path::{Path, PathBuf};

use kube::api::DynamicObject;
use serde_json::{Map, Value};

use super::Engine;
use crate::{
    Failure,
    scenario::{
        assertion::{Difference, differences},
        expression::{Bindings, evaluated},
        model::{Binding, Output},
        parse, wildcard,
    },
};

/// The input of expressions that are about bindings only. Not null: on null, JMESPath makes no lists.
pub(super) fn nothing() -> Value {
    Value::Object(Map::new())
}

impl Engine<'_, '_> {
    /// Gives values names, each seen by those after it.
    pub(super) async fn bind(&mut self, bindings: &[Binding]) -> Result<(), Failure> {
        for binding in bindings {
            let name = self.name_of(&binding.name)?;
            let seen = self.bindings.with_compiler(binding.compiler);
            let value = self.asked(&seen, &binding.value, &nothing()).await?;
            self.bindings.insert(name, value);
        }
        Ok(())
    }

    /// Keeps the outputs of a result.
    pub(super) async fn keep(&mut self, outputs: &[Output], result: &Value) -> Result<(), Failure> {
        for output in outputs {
            if let Some(pattern) = &output.r#match
                && !self
                    .compared(pattern, result, &self.bindings)
                    .await?
                    .is_empty()
            {
                continue;
            }
            let name = self.name_of(&output.name)?;
            let seen = self.bindings.with_compiler(output.compiler);
            let value = self.asked(&seen, &output.value, result).await?;
            self.bindings.insert(name, value);
        }
        Ok(())
    }

    /// The name of a binding, which may be computed.
    fn name_of(&self, name: &str) -> Result<String, Failure> {
        let computed = self.text(name)?;
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if computed.is_empty() || !computed.chars().all(is_name) {
            return Err(format!(
                "{name:?} gives the name {computed:?}, but names are letters, digits and _"
            )
            .into());
        }
        Ok(computed)
    }

    /// A value with its `(expressions)` replaced by their values; the cluster is asked where one wants it.
    pub(super) async fn asked(
        &self,
        bindings: &Bindings,
        value: &Value,
        input: &Value,
    ) -> Result<Value, Failure> {
        let mut seen = bindings.without_answers();
        loop {
            match evaluated(value, input, &seen) {
                Ok(value) => return Ok(value),
                Err(error) => self.learn(error, &mut seen).await?,
            }
        }
    }

    /// As [`differences`]; the cluster is asked where an expression wants it.
    pub(super) async fn compared(
        &self,
        expected: &Value,
        actual: &Value,
        bindings: &Bindings,
    ) -> Result<Vec<Difference>, Failure> {
        let mut seen = bindings.without_answers();
        loop {
            match differences(expected, actual, &seen) {
                Ok(found) => return Ok(found),
                Err(error) => self.learn(error, &mut seen).await?,
            }
        }
    }

    /// A text that may be an expression about bindings.
    pub(super) fn text(&self, text: &str) -> Result<String, Failure> {
        let value = evaluated(&Value::from(text), &nothing(), &self.bindings)?;
        Ok(match value {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// The same for a text that need not be there.
    pub(super) fn optional_text(&self, text: Option<&String>) -> Result<Option<String>, Failure> {
        text.map(|text| self.text(text)).transpose()
    }

    /// Refuses to work on any cluster but the scenario's.
    pub(super) fn only_our_cluster(&self, cluster: Option<&String>) -> Result<(), Failure> {
        match self.optional_text(cluster)? {
            Some(name) if !name.is_empty() => Err(format!(
                "it wants the cluster {name:?}, but a scenario has one cluster only: its own"
            )
            .into()),
            _ => Ok(()),
        }
    }

    /// The documents of a file, of all files that a pattern means, or of a resource; a List's items are
    /// documents of their own.
    pub(super) fn documents(
        &self,
        file: Option<&String>,
        resource: Option<&Value>,
    ) -> Result<Vec<Value>, Failure> {
        if let Some(resource) = resource {
            return Ok(items_of(resource.clone()));
        }
        let file = file.ok_or("neither `file` nor `resource` is given")?;
        let mut all = Vec::new();
        for path in files(&self.folder, &self.text(file)?)? {
            let documents: Vec<Value> = parse::documents(&path, &parse::read(&path)?)?;
            all.extend(documents.into_iter().flat_map(items_of));
        }
        Ok(all)
    }

    /// A resource as an object of the API.
    pub(super) fn object(
        &self,
        resource: &Value,
        template: bool,
    ) -> Result<DynamicObject, Failure> {
        let resource = if template {
            evaluated(resource, &nothing(), &self.bindings)?
        } else {
            resource.clone()
        };
        let kind = resource["kind"].as_str().unwrap_or_default().to_owned();
        Ok(serde_json::from_value(resource)
            .map_err(|error| format!("the resource of kind {kind:?} is no object: {error}"))?)
    }
}

/// What a `List` holds; anything else is itself.
fn items_of(document: Value) -> Vec<Value> {
    match (document["kind"].as_str(), document["items"].as_array()) {
        (Some("List"), Some(items)) => items.clone(),
        _ => vec![document],
    }
}

/// The files that a name means: one, or those of a folder that fit a pattern, in order.
pub(in crate::scenario) fn files(folder: &Path, name: &str) -> Result<Vec<PathBuf>, Failure> {
    let path = folder.join(name);
    let last = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if path.exists() || !last.contains(['*', '?']) {
        return Ok(vec![path]);
    }
    let around = path.parent().unwrap_or(folder);
    let unreadable = |error| format!("{}: cannot be read: {error}", around.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(around).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if wildcard::matches(&last, &entry.file_name().to_string_lossy()) && entry.path().is_file()
        {
            found.push(entry.path());
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(format!("no file is called as {}", path.display()).into());
    }
    Ok(found)
}
