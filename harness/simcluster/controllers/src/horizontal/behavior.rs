//! From what metrics ask for to what is done: windows in which recommendations are kept, rates, least and most. Pure.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// A replica count that metrics once asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recommendation {
    replicas: i32,
    at: Timestamp,
}

/// A change that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    /// How many came or went.
    count: i32,
    at: Timestamp,
}

/// What an autoscaler remembers between its turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recommendations: VecDeque<Recommendation>,
    ups: VecDeque<Change>,
    downs: VecDeque<Change>,
}

/// Nothing is remembered longer: the API allows no longer window or period.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

impl Memory {
    /// At first sight, what is there counts as asked for.
    pub(super) fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push_back(Recommendation {
                replicas: current,
                at: now,
            });
        }
    }

    /// A change was made; it counts for the rates.
    pub(super) fn changed(&mut self, from: i32, to: i32, now: Timestamp) {
        let change = Change {
            count: (to - from).abs(),
            at: now,
        };
        if to > from {
            self.ups.push_back(change);
        } else {
            self.downs.push_back(change);
        }
        for changes in [&mut self.ups, &mut self.downs] {
            changes.retain(|change| change.at + LONGEST > now);
        }
    }

    fn remember(&mut self, replicas: i32, now: Timestamp) {
        self.recommendations.retain(|one| one.at + LONGEST > now);
        self.recommendations
            .push_back(Recommendation { replicas, at: now });
    }

    /// The recommendations of the last so many seconds.
    fn since(&self, seconds: i32, now: Timestamp) -> impl Iterator<Item = i32> {
        let window = SignedDuration::from_secs(seconds.into());
        let recent = self.recommendations.iter();
        recent
            .filter(move |one| one.at + window > now)
            .map(|one| one.replicas)
    }
}

/// A reason with its sentence, for a condition.
pub(super) type Reason = (&'static str, &'static str);

/// What is to be, and why it is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Normalized {
    pub(super) replicas: i32,
    /// `AbleToScale`
    pub(super) able: Reason,
    /// `ScalingLimited`: whether it is.
    pub(super) limited: (bool, Reason),
}

/// The frame of a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) current: i32,
    pub(super) desired: i32,
    pub(super) least: i32,
    pub(super) most: i32,
    /// Where the autoscaler says nothing itself.
    pub(super) downscale_window_seconds: i32,
    pub(super) now: Timestamp,
}

const READY: Reason = ("ReadyForNewScale", "recommended size matches current size");
const UP_STABILIZED: Reason = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN_STABILIZED: Reason = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const WITHIN: Reason = (
    "DesiredWithinRange",
    "the desired count is within the acceptable range",
);
const TOO_MANY: Reason = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
);
const TOO_FEW: Reason = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
);
const UP_LIMIT: Reason = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
);
const DOWN_LIMIT: Reason = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);

/// Keeps what metrics ask for within what is allowed.
pub(super) fn normalize(
    memory: &mut Memory,
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    frame: Frame,
) -> Normalized {
    let (stabilized, able) = stabilize(memory, behavior, frame);
    memory.remember(frame.desired, frame.now);
    let frame = Frame {
        desired: stabilized,
        ..frame
    };
    let (replicas, reason) = match behavior {
        None => limit(frame),
        Some(behavior) => limit_rate(memory, behavior, frame),
    };
    Normalized {
        replicas,
        able: able.unwrap_or(READY),
        limited: (replicas != stabilized, reason),
    }
}

fn stabilize(
    memory: &Memory,
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    frame: Frame,
) -> (i32, Option<Reason>) {
    let Frame {
        current,
        desired,
        now,
        downscale_window_seconds: usual,
        ..
    } = frame;
    let Some(behavior) = behavior else {
        let highest = memory.since(usual, now).fold(desired, i32::max);
        return (highest, (highest != desired).then_some(DOWN_STABILIZED));
    };
    let window = |rules: Option<&HPAScalingRules>| rules?.stabilization_window_seconds;
    let up = window(behavior.scale_up.as_ref()).unwrap_or(0);
    let down = window(behavior.scale_down.as_ref()).unwrap_or(usual);
    let lowest = memory.since(up, now).fold(desired, i32::min);
    let highest = memory.since(down, now).fold(desired, i32::max);
    let stabilized = current.max(lowest).min(highest);
    let reason = if desired >= current {
        UP_STABILIZED
    } else {
        DOWN_STABILIZED
    };
    (stabilized, (stabilized != desired).then_some(reason))
}

/// Without rules of the autoscaler's own: at most twice as many at a time, or four.
fn limit(frame: Frame) -> (i32, Reason) {
    let fastest = frame.current.saturating_mul(2).max(4);
    let (most, reason) = if frame.most > fastest {
        (fastest, UP_LIMIT)
    } else {
        (frame.most, TOO_MANY)
    };
    if frame.desired < frame.least {
        (frame.least, TOO_FEW)
    } else if frame.desired > most {
        (most, reason)
    } else {
        (frame.desired, WITHIN)
    }
}

fn limit_rate(
    memory: &Memory,
    behavior: &HorizontalPodAutoscalerBehavior,
    frame: Frame,
) -> (i32, Reason) {
    let Frame {
        current, desired, ..
    } = frame;
    if desired > current {
        let fastest = rate(memory, behavior.scale_up.as_ref(), frame, Way::Up).max(current);
        let (most, reason) = if frame.most > fastest {
            (fastest, UP_LIMIT)
        } else {
            (frame.most, TOO_MANY)
        };
        if desired > most {
            return (most, reason);
        }
    } else if desired < current {
        let fastest = rate(memory, behavior.scale_down.as_ref(), frame, Way::Down).min(current);
        let (least, reason) = if frame.least < fastest {
            (fastest, DOWN_LIMIT)
        } else {
            (frame.least, TOO_FEW)
        };
        if desired < least {
            return (least, reason);
        }
    }
    (desired, WITHIN)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// How far one may go at once, by policies that look at what was changed lately.
fn rate(memory: &Memory, rules: Option<&HPAScalingRules>, frame: Frame, way: Way) -> i32 {
    let Some(rules) = rules else {
        return match way {
            Way::Up => frame.current.saturating_mul(2).max(frame.current + 4),
            Way::Down => 0,
        };
    };
    let select = rules.select_policy.as_deref().unwrap_or("Max");
    if select == "Disabled" {
        return frame.current;
    }
    let changed = |changes: &VecDeque<Change>, seconds: i32| -> i32 {
        let period = SignedDuration::from_secs(seconds.into());
        let recent = changes.iter().filter(|one| one.at + period > frame.now);
        recent.map(|one| one.count).sum()
    };
    let proposals = rules.policies.iter().flatten().map(|policy| {
        let (ups, downs) = (&memory.ups, &memory.downs);
        let seconds = policy.period_seconds;
        let began = frame.current - changed(ups, seconds) + changed(downs, seconds);
        let percent = f64::from(policy.value) / 100.0;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "towards fewer, what is left is rounded down"
        )]
        match (way, policy.type_.as_str()) {
            (Way::Up, "Pods") => began.saturating_add(policy.value),
            (Way::Up, _) => (f64::from(began) * (1.0 + percent)).ceil() as i32,
            (Way::Down, "Pods") => began.saturating_sub(policy.value),
            (Way::Down, _) => (f64::from(began) * (1.0 - percent)) as i32,
        }
    });
    // The policy that changes most, or least.
    let farthest = match (way, select) {
        (Way::Up, "Min") | (Way::Down, "Max") => proposals.min(),
        _ => proposals.max(),
    };
    farthest.unwrap_or(frame.current)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn frame(current: i32, desired: i32, seconds: i64) -> Frame {
        Frame {
            current,
            desired,
            least: 1,
            most: 100,
            downscale_window_seconds: 300,
            now: at(seconds),
        }
    }

    fn behavior(value: Value) -> HorizontalPodAutoscalerBehavior {
        serde_json::from_value(value).unwrap()
    }

    /// Replicas, why able, why limited.
    fn said(normalized: &Normalized) -> (i32, &str, bool, &str) {
        let (limited, (reason, _)) = normalized.limited;
        (normalized.replicas, normalized.able.0, limited, reason)
    }

    #[test]
    fn without_rules_it_doubles_at_most_and_shrinks_after_five_minutes() {
        let mut memory = Memory::default();
        memory.begin(2, at(0));
        let up = normalize(&mut memory, None, frame(2, 50, 15));
        assert_eq!(said(&up), (4, "ReadyForNewScale", true, "ScaleUpLimit"));
        let down = normalize(&mut memory, None, frame(4, 1, 30));
        assert_eq!(
            said(&down),
            (8, "ScaleDownStabilized", true, "ScaleUpLimit")
        );
        let kept = normalize(
            &mut memory,
            None,
            Frame {
                most: 4,
                ..frame(4, 1, 45)
            },
        );
        assert_eq!(
            said(&kept),
            (4, "ScaleDownStabilized", true, "TooManyReplicas")
        );
        let later = normalize(&mut memory, None, frame(4, 1, 316));
        assert_eq!(
            said(&later),
            (1, "ReadyForNewScale", false, "DesiredWithinRange")
        );
        let least = normalize(
            &mut memory,
            None,
            Frame {
                least: 2,
                ..frame(4, 1, 700)
            },
        );
        assert_eq!(
            said(&least),
            (2, "ReadyForNewScale", true, "TooFewReplicas")
        );
    }

    #[test]
    fn windows_hold_back_growth_and_shrinking() {
        let rules = behavior(json!({
            "scaleUp": {"stabilizationWindowSeconds": 60, "policies":
                [{"type": "Percent", "value": 900, "periodSeconds": 15}]},
            "scaleDown": {"stabilizationWindowSeconds": 120, "policies":
                [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
        }));
        let mut memory = Memory::default();
        memory.begin(3, at(0));
        let up = normalize(&mut memory, Some(&rules), frame(3, 9, 15));
        assert_eq!(
            said(&up),
            (3, "ScaleUpStabilized", false, "DesiredWithinRange")
        );
        let up = normalize(&mut memory, Some(&rules), frame(3, 8, 75));
        assert_eq!(
            said(&up),
            (8, "ReadyForNewScale", false, "DesiredWithinRange")
        );
        let down = normalize(&mut memory, Some(&rules), frame(8, 2, 90));
        assert_eq!(
            said(&down),
            (8, "ScaleDownStabilized", false, "DesiredWithinRange")
        );
        let down = normalize(&mut memory, Some(&rules), frame(8, 2, 200));
        assert_eq!(
            said(&down),
            (2, "ReadyForNewScale", false, "DesiredWithinRange")
        );
    }

    #[test]
    fn policies_limit_the_rate_by_what_was_changed_lately() {
        let rules = |select: &str| {
            behavior(json!({
                "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": select, "policies": [
                    {"type": "Pods", "value": 3, "periodSeconds": 60},
                    {"type": "Percent", "value": 50, "periodSeconds": 60}]},
                "scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": select, "policies": [
                    {"type": "Pods", "value": 3, "periodSeconds": 60},
                    {"type": "Percent", "value": 50, "periodSeconds": 60}]},
            }))
        };
        let fresh = Memory::default;
        for (select, current, desired, expected) in [
            ("Max", 4, 20, 7),
            ("Min", 4, 20, 6),
            ("Disabled", 4, 20, 4),
            ("Max", 20, 90, 30),
            ("Max", 10, 1, 5),
            ("Min", 10, 1, 7),
            ("Disabled", 10, 1, 10),
            ("Max", 4, 6, 6),
        ] {
            let done = normalize(
                &mut fresh(),
                Some(&rules(select)),
                frame(current, desired, 0),
            );
            assert_eq!(done.replicas, expected, "{select} {current} {desired}");
        }
        let mut memory = fresh();
        memory.changed(4, 7, at(0));
        let again = normalize(&mut memory, Some(&rules("Max")), frame(7, 20, 30));
        assert_eq!(said(&again), (7, "ReadyForNewScale", true, "ScaleUpLimit"));
        let later = normalize(&mut memory, Some(&rules("Max")), frame(7, 20, 61));
        assert_eq!(later.replicas, 11, "half of seven more, rounded up");
        memory.changed(7, 11, at(61));
        let down = normalize(&mut memory, Some(&rules("Max")), frame(11, 1, 90));
        assert_eq!(said(&down), (3, "ReadyForNewScale", true, "ScaleDownLimit"));
    }
}
