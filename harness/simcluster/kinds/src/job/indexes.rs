//! Indexes of an indexed job as its status and its success policy write them: `1,3-5,7`.

/// How many indexes a text names; what is wrong with it.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    let mut last = None;
    let mut total = 0;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!(
                "non-increasing order, previous: {last}, current: {first}"
            ));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// What is wrong with failed indexes that are completed, too.
pub(super) fn overlap(completed: &str, failed: &str, completions: i64) -> Option<String> {
    let parsed = |text: &str| -> Vec<(i64, i64)> {
        let parts = text.split(',').filter(|_| !text.is_empty());
        // What cannot be read is told of where the format is looked at.
        parts
            .filter_map(|part| interval(part, completions).ok())
            .collect()
    };
    let (completed, failed) = (parsed(completed), parsed(failed));
    let first = completed.iter().find_map(|(from, to)| {
        let other = failed
            .iter()
            .find(|(start, end)| from <= end && start <= to);
        other.map(|(start, _)| *from.max(start))
    });
    first.map(|index| format!("failedIndexes and completedIndexes overlap at index: {index}"))
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let parts: Vec<&str> = text.split('-').collect();
    let index = |part: &str| -> Result<i64, String> {
        let number = part
            .parse::<i64>()
            .map_err(|_| format!("cannot convert string to integer for index: {part:?}"))?;
        if number >= completions {
            return Err(format!("too large index: {part:?}"));
        }
        Ok(number)
    };
    match parts.as_slice() {
        [only] => index(only).map(|one| (one, one)),
        [first, last] => {
            let (first, last) = (index(first)?, index(last)?);
            if first >= last {
                return Err(format!(
                    "non-increasing order, previous: {first}, current: {last}"
                ));
            }
            Ok((first, last))
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at \
             most two parts separated by '-'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_counted_and_their_order_is_kept() {
        assert_eq!(count("", 3), Ok(0));
        assert_eq!(count("0,2-4", 5), Ok(4));
        assert_eq!(
            count("2,1", 5),
            Err("non-increasing order, previous: 2, current: 1".to_owned())
        );
        assert_eq!(count("1-5", 5), Err("too large index: \"5\"".to_owned()));
        assert_eq!(
            count("a", 5),
            Err("cannot convert string to integer for index: \"a\"".to_owned())
        );
        assert_eq!(
            overlap("0-2,6", "2-3", 9).as_deref(),
            Some("failedIndexes and completedIndexes overlap at index: 2")
        );
        assert_eq!(overlap("0,2", "1,3", 4), None);
    }
}
