//! Times of a run as places in its picture, in percent of its width.

use jiff::Timestamp;

use crate::scenario::Run;

/// Where the run ends.
pub(super) const END: f64 = 100.0;

/// Time as a place in the picture.
pub(super) struct Scale {
    start: Timestamp,
    seconds: f64,
}

impl Scale {
    pub(super) fn of(run: &Run) -> Self {
        Self {
            start: run.started,
            seconds: run.took.as_secs_f64().max(0.1),
        }
    }

    pub(super) fn x(&self, seconds: f64) -> f64 {
        (seconds / self.seconds).clamp(0.0, 1.0) * END
    }

    pub(super) fn at(&self, time: &str) -> Option<f64> {
        let time: Timestamp = time.parse().ok()?;
        Some(self.x((time - self.start).total(jiff::Unit::Second).ok()?))
    }

    /// The time between two marks: a round one, and ten marks at the most.
    pub(super) fn step(&self) -> f64 {
        let mut step = 0.01;
        'found: for power in 0..8 {
            for factor in [1.0, 2.0, 5.0] {
                step = 0.01 * 10_f64.powi(power) * factor;
                if self.seconds / step <= 10.0 {
                    break 'found;
                }
            }
        }
        step
    }

    /// What stands at the marks.
    pub(super) fn marks(&self) -> Vec<(f64, String)> {
        let step = self.step();
        let mut marks = Vec::new();
        let mut time = 0.0;
        while time <= self.seconds && marks.len() < 12 {
            let text = if self.seconds < 2.0 {
                format!("{time:.2} s")
            } else {
                format!("{time:.0} s")
            };
            marks.push((self.x(time), text));
            time += step;
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few_however_long_a_run_is() {
        for seconds in [0.1, 0.9, 7.3, 23.5, 61.0, 3600.0, 90_000.0] {
            let scale = Scale {
                start: Timestamp::UNIX_EPOCH,
                seconds,
            };
            let marks = scale.marks();
            assert!((4..=12).contains(&marks.len()), "{seconds}: {marks:?}");
        }
    }
}
