//! A restore test: whether a generation would come back, tried on a server that nobody uses and that goes
//! with the Job's pod. The instance itself is not touched, and nothing is recorded on the backup volume.

use crate::arguments::Restore;
use crate::choice;
use crate::report::{Failure, Success};
use crate::restore;
use crate::server;
use crate::volume::Volume;

/// The whole operation.
pub fn rehearse(task: &Restore) -> Result<Success, Failure> {
    let volume = Volume::open(&task.backups, task.job.patience)?;
    let source = choice::choose(&volume, task)?.ok_or_else(|| {
        Failure::permanent(
            "NoBackup",
            format!(
                "the backup volume of {} has no backup to try; ask for one first",
                task.job.instance
            ),
        )
    })?;
    let mut server = server::connect(&task.job)?;
    restore::check_server(&source, &server, task)?;
    // The server is new, so whatever is there is of an earlier attempt of this very Job.
    let filled = restore::fill(&volume, &source, &mut server, task, true)?;
    let restored = filled.restored;
    Ok(Success {
        reason: "Restorable".to_owned(),
        detail: format!(
            "{} was restored into an empty server: {} tables, {} rows{}",
            restored.generation, restored.tables, restored.rows, filled.remarks
        ),
        generation: Some(restored.generation),
        tables: Some(restored.tables),
        rows: Some(restored.rows),
        server: Some(server.facts.text()),
        ..Success::default()
    })
}
