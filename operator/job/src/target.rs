//! Whether a database may be restored into. Pure: what was seen goes in, what to do comes out.
//!
//! A restore begins and ends with a mark on the server (the schema [`MARKER`]) and a record on the
//! backup volume. Whatever the moment of a crash, the next attempt can tell its own half-done work from
//! somebody's rows.

use crate::report::Failure;

/// This schema exists on the server while a restore is under way.
pub const MARKER: &str = "_otus_restore";

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four facts that do not depend on one another"
)]
pub struct Seen {
    /// The database has tables, views, routines or events.
    pub occupied: bool,
    /// A restore was begun on this server and not ended.
    pub marked: bool,
    /// The backup volume says that this instance has been restored.
    pub recorded: bool,
    /// The data volume was taken over together with its rows.
    pub adopted: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is there: restore.
    Restore,
    /// Our own unfinished attempt is there: remove it and restore.
    Redo,
    /// It has been done; at most the mark is still to be removed.
    Done,
    /// Rows are there that came with the volume: leave them.
    Keep,
}

/// Decides.
pub fn judge(database: &str, seen: Seen) -> Result<Verdict, Failure> {
    match seen {
        Seen {
            recorded: true,
            occupied: true,
            ..
        } => Ok(Verdict::Done),
        Seen { marked: true, .. } => Ok(Verdict::Redo),
        // Recorded and yet empty: the data volume was lost since, so its rows are to come back again.
        Seen {
            occupied: false, ..
        } => Ok(Verdict::Restore),
        Seen { adopted: true, .. } => Ok(Verdict::Keep),
        Seen { adopted: false, .. } => Err(Failure::permanent(
            "TargetNotEmpty",
            format!(
                "the database {database:?} has content that no restore of ours has put there; \
                 nothing was changed. To keep what is there, annotate the resource with \
                 otus.homework/restore=skip; to restore, empty the database first"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Seen = Seen {
        occupied: false,
        marked: false,
        recorded: false,
        adopted: false,
    };
    const OCCUPIED: Seen = Seen {
        occupied: true,
        ..NOTHING
    };

    fn verdict(seen: Seen) -> Option<Verdict> {
        judge("db", seen).ok()
    }

    #[test]
    fn only_an_empty_database_or_our_own_attempt_is_restored_into() {
        assert_eq!(verdict(NOTHING), Some(Verdict::Restore));
        assert_eq!(
            verdict(Seen {
                marked: true,
                ..OCCUPIED
            }),
            Some(Verdict::Redo)
        );
        assert_eq!(
            verdict(Seen {
                marked: true,
                ..NOTHING
            }),
            Some(Verdict::Redo)
        );
        assert_eq!(verdict(OCCUPIED), None);
    }

    #[test]
    fn a_restore_that_was_recorded_is_not_repeated_over_rows() {
        let recorded = Seen {
            recorded: true,
            ..OCCUPIED
        };
        assert_eq!(verdict(recorded), Some(Verdict::Done));
        assert_eq!(
            verdict(Seen {
                marked: true,
                ..recorded
            }),
            Some(Verdict::Done)
        );
        assert_eq!(
            verdict(Seen {
                recorded: true,
                ..NOTHING
            }),
            Some(Verdict::Restore)
        );
    }

    #[test]
    fn rows_of_a_volume_that_was_taken_over_stay() {
        assert_eq!(
            verdict(Seen {
                adopted: true,
                ..OCCUPIED
            }),
            Some(Verdict::Keep)
        );
    }
}
