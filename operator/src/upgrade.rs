//! Whether a server may take over the data of another one. Pure; the rules are the servers' own.
//!
//! MySQL goes one release series at a time (5.7 → 8.0 → 8.4 → 9.x, and from one innovation release to any later
//! one of the same major version) and never back; not even a patch release of 8.0 back. MariaDB goes to any
//! later version and never back to an earlier major one. The two do not read each other's data.

use mysql_job::server::{Facts, Flavour};

/// `Err` says why not.
pub fn allowed(from: &str, to: &str) -> Result<(), String> {
    let (Some(from), Some(to)) = (facts(from), facts(to)) else {
        // A server whose version nobody has recorded: all that can be done is what the user wants.
        return Ok(());
    };
    if from.flavour != to.flavour {
        return Err(format!(
            "{} cannot read the data of {}; make another instance and load the data into it",
            to.text(),
            from.text()
        ));
    }
    let (old, new) = (from.number(), to.number());
    let back = match from.flavour {
        Flavour::MySql => new < old,
        Flavour::MariaDb => (new.0, new.1) < (old.0, old.1),
    };
    if back {
        return Err(format!(
            "{} cannot read the data of {}, which is newer",
            to.text(),
            from.text()
        ));
    }
    if from.flavour == Flavour::MySql && series(new) > series(old) + 1 {
        return Err(format!(
            "the data of {} cannot go to {} in one step; the series are 5.7, 8.0, 8.4, 9.x: take the next one first",
            from.text(),
            to.text()
        ));
    }
    Ok(())
}

/// MySQL's release series, in order.
fn series((major, minor, _): (u32, u32, u32)) -> u32 {
    match (major, minor) {
        (..=4, _) => 0,
        (5, ..=6) => 1,
        (5, _) => 2,
        (6..=8, 0) => 3,
        (6..=8, _) => 4,
        (major, _) => major - 4,
    }
}

/// From the text that reports have: `mysql 9.7.4`.
fn facts(text: &str) -> Option<Facts> {
    let (flavour, version) = text.split_once(' ')?;
    let facts = Facts::from_version(version);
    let flavour = match flavour {
        "mysql" => Flavour::MySql,
        "mariadb" => Flavour::MariaDb,
        _ => return None,
    };
    Some(Facts { flavour, ..facts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_go_forward_one_series_at_a_time_and_never_back() {
        for (from, to, expected) in [
            ("mysql 5.7.44", "mysql 5.7.44", true),
            ("mysql 5.7.44", "mysql 8.0.36", true),
            ("mysql 5.7.44", "mysql 8.4.0", false),
            ("mysql 8.0.36", "mysql 8.4.2", true),
            ("mysql 8.0.36", "mysql 9.7.4", false),
            ("mysql 8.4.2", "mysql 9.7.4", true),
            ("mysql 9.1.0", "mysql 9.7.4", true),
            ("mysql 9.7.4", "mysql 9.7.2", false),
            ("mysql 8.0.36", "mysql 8.0.35", false),
            ("mysql 8.0.36", "mysql 5.7.44", false),
            ("mysql 9.7.4", "mariadb 11.4.2-MariaDB", false),
            ("mariadb 10.11.19-MariaDB", "mysql 8.0.36", false),
            ("mariadb 10.6.1-MariaDB", "mariadb 11.4.2-MariaDB", true),
            ("mariadb 10.11.19-MariaDB", "mariadb 10.11.2-MariaDB", true),
            ("mariadb 11.4.2-MariaDB", "mariadb 10.11.2-MariaDB", false),
            ("unknown", "mysql 8.0.36", true),
        ] {
            assert_eq!(allowed(from, to).is_ok(), expected, "{from} -> {to}");
        }
    }
}
