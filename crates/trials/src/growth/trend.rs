//! The line through noisy samples, and whether it is flat.

use std::fmt;

/// When a figure grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// What is looked at.
    pub(super) figure: &'static str,
    /// The limits are in this (bytes of a MiB, or 1).
    pub(super) unit: f64,
    /// A rise over all samples that the figure's own noise can make.
    pub(super) noise: f64,
    /// A rise in a day that is no growth.
    pub(super) a_day: f64,
}

/// How a figure went.
#[derive(Clone, Debug)]
pub(super) struct Trend {
    rule: Rule,
    median: f64,
    /// By the line, over all samples.
    rise: f64,
    a_day: f64,
}

const DAY: f64 = 86400.0;

impl Trend {
    /// Of samples, at seconds.
    pub(super) fn of(rule: Rule, points: &[(f64, f64)]) -> Self {
        let mut slopes: Vec<f64> = Vec::new();
        for (number, (at, value)) in points.iter().enumerate() {
            slopes.extend(points[number + 1..].iter().map(|(later, other)| (other - value) / (later - at)));
        }
        let slope = median(slopes) / rule.unit;
        let seconds = points.last().map_or(0.0, |last| last.0) - points.first().map_or(0.0, |first| first.0);
        let median = median(points.iter().map(|(_, value)| *value).collect()) / rule.unit;
        Self { rule, median, rise: slope * seconds, a_day: slope * DAY }
    }

    pub(super) fn is_flat(&self) -> bool {
        self.rise <= self.rule.noise || self.a_day <= self.rule.a_day
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, median, rise, a_day } = self;
        let unit = if rule.unit > 1.0 { " MiB" } else { "" };
        write!(f, "{} {median:.0}{unit} ({rise:+.1}{unit} over the samples, {a_day:+.0}{unit} a day)", rule.figure)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { figure: "memory", unit: 1.0, noise: 10.0, a_day: 100.0 };

    /// An hour, a sample each minute.
    fn is_flat(value: impl Fn(f64) -> f64) -> bool {
        let points: Vec<_> = (0..60).map(|minute| f64::from(minute) * 60.0).map(|at| (at, value(at))).collect();
        Trend::of(RULE, &points).is_flat()
    }

    #[test]
    fn growth_is_told_from_noise() {
        assert!(is_flat(|_| 500.0));
        assert!(is_flat(|at| 500.0 + 40.0 * (at * 1.7).sin()), "noise");
        assert!(is_flat(|at| if (600.0..700.0).contains(&at) { 5000.0 } else { 500.0 }), "a burst that goes again");
        assert!(is_flat(|at| 500.0 - at), "it shrinks");
        assert!(is_flat(|at| 500.0 + at * 90.0 / DAY), "less than the limit of a day");
        assert!(!is_flat(|at| 500.0 + at * 0.01 + 4.0 * (at * 1.7).sin()), "36 in an hour");
        let minute: Vec<_> = (0..60).map(f64::from).map(|at| (at, 500.0 + at * 0.1)).collect();
        assert!(Trend::of(RULE, &minute).is_flat(), "6 in a minute may be noise");
        let minute: Vec<_> = (0..60).map(f64::from).map(|at| (at, 500.0 + at)).collect();
        assert!(!Trend::of(RULE, &minute).is_flat(), "60 in a minute is growth");
    }
}
