//! What is due by the clock. Pure.

use jiff::Timestamp;

use crate::controller::plan::View;
use crate::ledger::Ledger;
use crate::schedule::Schedule;

/// Clocks of two machines may differ by this much.
const SKEW_SECONDS: i64 = 300;

/// A schedule counts from when it was first seen, the password check from when the instance was filled.
pub(super) fn begin(view: View<'_>, ledger: &mut Ledger) {
    let upkeep = &mut ledger.record.upkeep;
    if upkeep.schedule != view.validated.schedule {
        upkeep.schedule.clone_from(&view.validated.schedule);
        upkeep.scheduled = upkeep.schedule.as_ref().map(|_| view.now.as_second());
    }
    // A clock that was set forward and back again must not keep the operator waiting until it is there again.
    let now = view.now.as_second();
    let latest = now.saturating_add(SKEW_SECONDS);
    upkeep.scheduled = upkeep
        .scheduled
        .map(|at| if at > latest { now } else { at });
    upkeep.password_checked = upkeep
        .password_checked
        .map(|at| if at > latest { now } else { at });
    if upkeep.password_checked.is_none() && view.settings.password_check.is_some() {
        upkeep.password_checked = Some(view.now.as_second());
    }
}

fn schedule(ledger: &Ledger) -> Option<(Schedule, Timestamp)> {
    let upkeep = &ledger.record.upkeep;
    // One that cannot be read was told by the validation.
    let schedule = Schedule::parse(upkeep.schedule.as_deref()?).ok()?;
    let since = Timestamp::from_second(upkeep.scheduled?).ok()?;
    Some((schedule, since))
}

/// When a backup by the schedule was due that was not seen to.
pub(super) fn due_backup(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    let (schedule, since) = schedule(ledger)?;
    schedule.due(since, view.now)
}

/// When the next scheduled backup is due.
pub fn next_backup(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    schedule(ledger)?.0.next(view.now)
}

/// When root's password is to be looked after again.
pub(super) fn password_check_due(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    let last = Timestamp::from_second(ledger.record.upkeep.password_checked?).ok()?;
    last.checked_add(view.settings.password_check?).ok()
}

/// When to look again for what is due by the clock.
pub(super) fn next_moment(view: View<'_>, ledger: &Ledger) -> Option<Timestamp> {
    let check = password_check_due(view, ledger).filter(|due| *due > view.now);
    [next_backup(view, ledger), check]
        .into_iter()
        .flatten()
        .min()
}
