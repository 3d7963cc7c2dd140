//! Whether another image may take over. Pure.
//!
//! It does not look into the image: that is an errand.

use super::{Errand, Task, operation};
use crate::controller::plan::{Failure, Plan, State, View};
use crate::ledger::{Ledger, Record};
use crate::upgrade;

/// Lets another image be the instance's, once nothing speaks against it; gives the state if something does.
pub fn upgrade(view: View<'_>, plan: &mut Plan) -> Option<State> {
    let wanted = &view.validated.wanted_image;
    let record = &mut plan.ledger.record;
    if *wanted == record.image {
        // Asked for and taken back.
        record.upkeep.upgrade = None;
        return None;
    }
    if view.validated.force_upgrade {
        record.image.clone_from(wanted);
        record.upkeep.upgrade = None;
        record.server = None;
        return None;
    }
    let prepared = record
        .upkeep
        .upgrade
        .clone()
        .filter(|prepared| prepared.image == *wanted);
    let Some(prepared) = prepared else {
        record.upkeep.upgrade = None;
        return Some(State::Upgrading);
    };
    let running = record.server.clone().or_else(|| {
        let restored = record.restored.as_ref()?;
        restored.server.clone()
    });
    if let Err(why) = upgrade::allowed(running.as_deref().unwrap_or_default(), &prepared.server) {
        let failure = Failure {
            reason: "DowngradeNotSupported".to_owned(),
            detail: format!(
                "{} still runs: {why}. To start {wanted} all the same, annotate the resource with \
                 otus.homework/upgrade=force",
                record.image
            ),
        };
        return Some(State::UpgradeRefused(failure));
    }
    if !prepared.backed_up {
        return Some(State::Upgrading);
    }
    record.image = prepared.image;
    record.server = Some(prepared.server);
    record.upkeep.upgrade = None;
    None
}

fn is_allowed(record: &Record, new: &str) -> bool {
    let restored = record.restored.as_ref();
    let running = record
        .server
        .as_deref()
        .or_else(|| restored.and_then(|restored| restored.server.as_deref()));
    upgrade::allowed(running.unwrap_or_default(), new).is_ok()
}

/// What is to be done before another image can take over.
pub(super) fn errand(view: View<'_>, ledger: &Ledger) -> Option<Errand> {
    let record = &ledger.record;
    let wanted = &view.validated.wanted_image;
    if *wanted == record.image {
        return None;
    }
    match &record.upkeep.upgrade {
        None => Some(Errand {
            operation: operation::probe(view, wanted),
            task: Task::Probe,
            image: wanted.clone(),
        }),
        Some(prepared) if !prepared.backed_up && is_allowed(record, &prepared.server) => {
            Some(Errand {
                operation: operation::upgrade(&prepared.image),
                task: Task::Backup {
                    before_upgrade: true,
                },
                image: record.image.clone(),
            })
        }
        Some(_) => None,
    }
}
