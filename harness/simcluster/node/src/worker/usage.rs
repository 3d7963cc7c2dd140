//! Watches that the emptyDirs of a pod stay within their `sizeLimit`; one that does not evicts the pod.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Worker;
use crate::{pod::Event, quantity, volumes::setup::volumes};

/// How often volumes with a limit are measured.
const PERIOD: Duration = Duration::from_secs(5);
/// What `stat` counts blocks in.
const BLOCK: u64 = 512;

/// A volume with a limit.
struct Limited {
    name: String,
    path: PathBuf,
    limit: String,
    bytes: u64,
}

impl Worker {
    pub(super) fn watch_usage(&mut self) {
        let pod = self.pod.borrow().clone();
        let limited: Vec<Limited> = volumes(&pod)
            .filter_map(|volume| {
                let limit = volume.empty_dir.as_ref()?.size_limit.clone()?.0;
                let bytes = quantity::divide(&limit, "1").filter(|bytes| *bytes > 0)?;
                Some(Limited {
                    name: volume.name.clone(),
                    path: self.placed.get(&volume.name)?.path.clone(),
                    limit,
                    bytes: u64::try_from(bytes).ok()?,
                })
            })
            .collect();
        if limited.is_empty() {
            return;
        }
        let events = self.handle.events.clone();
        self.spawn(async move {
            let mut limited = limited;
            loop {
                tokio::time::sleep(PERIOD).await;
                let measured = tokio::task::spawn_blocking(move || {
                    let over = limited
                        .iter()
                        .find(|volume| usage(&volume.path).is_ok_and(|used| used > volume.bytes))
                        .map(|volume| {
                            format!(
                                "Usage of EmptyDir volume {:?} exceeds the limit {:?}. ",
                                volume.name, volume.limit
                            )
                        });
                    (limited, over)
                });
                let Ok((again, over)) = measured.await else {
                    return;
                };
                limited = again;
                if let Some(message) = over {
                    let _ = events.send(Event::Evicted { message });
                    return;
                }
            }
        });
    }
}

/// The disk space that a directory takes.
fn usage(path: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // What vanishes while it is counted is not counted.
        let Ok(meta) = entry.metadata() else { continue };
        total += meta.blocks() * BLOCK;
        if meta.is_dir() {
            total += usage(&entry.path()).unwrap_or_default();
        }
    }
    Ok(total)
}
