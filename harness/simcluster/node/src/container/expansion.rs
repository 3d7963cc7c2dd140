//! `$(NAME)` in environment values, commands and arguments. Pure.

/// Replaces each `$(NAME)` for which `lookup` knows a value; `$$` is a plain `$`; the rest stays.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            if let Some(value) = lookup(name) {
                out.push_str(&value);
            } else {
                out.push_str("$(");
                out.push_str(name);
                out.push(')');
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_replaced_and_everything_else_stays() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        let cases = [
            ("$(A)-$(A)", "1-1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(B) $A $(A", "$(B) $A $(A"),
            ("100$", "100$"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
