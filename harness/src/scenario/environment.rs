//! Pure but for the environment itself: `$NAME` in texts that no shell reads.

/// The text with the values of this process's environment.
pub(super) fn of_process(text: &str) -> String {
    expanded(text, |name| std::env::var(name).ok())
}

/// `$NAME` and `${NAME}` by their values, nothing where there is none: no shell does it for a `command`.
pub(super) fn expanded(text: &str, value_of: impl Fn(&str) -> Option<String>) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, left) = match after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            Some(braced) => braced,
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        if name.is_empty() {
            whole.push('$');
        } else {
            whole.push_str(&value_of(name).unwrap_or_default());
        }
        rest = left;
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_arguments_are_expanded_as_a_shell_would() {
        let value_of = |name: &str| (name == "NAMESPACE").then(|| "shop".to_owned());
        let of = |text| expanded(text, value_of);
        assert_eq!(of("-n=$NAMESPACE,${NAMESPACE}x$NONE."), "-n=shop,shopx.");
        assert_eq!(of("5$ and $"), "5$ and $");
    }
}
