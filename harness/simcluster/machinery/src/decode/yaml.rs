//! YAML bodies, turned into JSON before anything else happens to them.

use serde_yaml::Value;

/// The JSON, or what Go says of text that is no YAML.
pub(super) fn to_json(body: &[u8]) -> Result<Vec<u8>, String> {
    let value: Value = serde_yaml::from_slice(body).map_err(|error| describe(&error))?;
    serde_json::to_vec(&value).map_err(|error| format!("yaml: {error}"))
}

fn describe(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let problem = text.split(" at line ").next().unwrap_or(&text);
    // The construct that was being read stands behind the problem.
    let problem = problem.split(", while").next().unwrap_or(problem);
    match error.location() {
        // Go counts an end of the text to the line that it ends.
        Some(location) => {
            let ended = location.column() == 1 && location.line() > 1;
            format!(
                "yaml: line {}: {problem}",
                location.line() - usize::from(ended)
            )
        }
        None => format!("yaml: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_becomes_json() {
        let json = to_json(b"a: [b, 1]\n2: true\n").unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json, serde_json::json!({"a": ["b", 1], "2": true}));
    }

    #[test]
    fn what_is_no_yaml_is_described_with_its_line() {
        assert_eq!(
            to_json(b"a: [b").unwrap_err(),
            "yaml: line 1: did not find expected ',' or ']'"
        );
    }
}
