//! What a bench found: comparisons of two contenders that took turns, and single figures. Serialised as it is.

use crate::load::Turn;
use crate::machine::Machine;
use crate::settings::SettingsFacts;
use serde::Serialize;

/// Everything a run found.
#[derive(Serialize)]
pub(crate) struct Run {
    pub(crate) machine: Machine,
    pub(crate) settings: SettingsFacts,
    pub(crate) benches: Vec<Report>,
}

/// What one bench found.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) bench: &'static str,
    pub(crate) title: &'static str,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) notes: Vec<String>,
}

/// Ours beside a reference, turn by turn.
#[derive(Serialize)]
pub(crate) struct Comparison {
    /// What was done.
    pub(crate) case: String,
    pub(crate) ours: Side,
    pub(crate) reference: Side,
    /// Our rate by the reference's of the same round.
    pub(crate) ratio: Spread,
    /// Least ratio to reach.
    pub(crate) required: Option<f64>,
}

/// One contender.
#[derive(Clone, Serialize)]
pub(crate) struct Side {
    pub(crate) name: String,
    /// Operations per second.
    pub(crate) per_second: Spread,
    pub(crate) p50_us: Option<Spread>,
    pub(crate) p99_us: Option<Spread>,
    /// CPU time of the process per operation.
    pub(crate) cpu_us: Option<Spread>,
    /// Share of its one core that the process used.
    pub(crate) busy: Option<Spread>,
}

/// A single figure.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) value: Spread,
    /// What its median must not exceed.
    pub(crate) required_at_most: Option<f64>,
}

/// The median of the rounds, and their least and most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one number; of an even count of them the median is the mean of the middle two.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (Some(&least), Some(&most)) = (numbers.first(), numbers.last()) else {
            return Self { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        };
        let middle = numbers.len() / 2;
        let median =
            if numbers.len() % 2 == 1 { numbers[middle] } else { (numbers[middle - 1] + numbers[middle]) / 2.0 };
        Self { median, least, most }
    }
}

impl Side {
    /// A server that took these turns.
    pub(crate) fn of_turns(name: impl Into<String>, turns: &[Turn]) -> Self {
        let spread = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
        Self {
            name: name.into(),
            per_second: spread(Turn::rate),
            p50_us: Some(spread(|turn| turn.latency.quantile_us(0.5))),
            p99_us: Some(spread(|turn| turn.latency.quantile_us(0.99))),
            cpu_us: Some(spread(Turn::cpu_us)),
            busy: Some(spread(Turn::busy)),
        }
    }

    /// Something that is known by its rates alone.
    pub(crate) fn of_rates(name: impl Into<String>, rates: &[f64]) -> Self {
        let per_second = Spread::of(rates.iter().copied());
        Self { name: name.into(), per_second, p50_us: None, p99_us: None, cpu_us: None, busy: None }
    }
}

impl Comparison {
    /// Compares `ours` with `reference`, whose rates by round are these.
    pub(crate) fn new(
        case: impl Into<String>,
        ours: (Side, &[f64]),
        reference: (Side, &[f64]),
        required: Option<f64>,
    ) -> Self {
        let ratio = Spread::of(ours.1.iter().zip(reference.1).map(|(ours, reference)| ours / reference));
        Self { case: case.into(), ours: ours.0, reference: reference.0, ratio, required }
    }
}

impl Figure {
    /// A figure to be known.
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, value: Spread) -> Self {
        Self { name: name.into(), unit, value, required_at_most: None }
    }

    /// With a bound that its median must keep to.
    #[must_use]
    pub(crate) fn at_most(self, most: f64) -> Self {
        Self { required_at_most: Some(most), ..self }
    }
}

impl Comparison {
    /// Whether the ratio is what it must be; `None` where nothing is required.
    pub(crate) fn reached(&self) -> Option<bool> {
        self.required.map(|least| self.ratio.median >= least)
    }
}

impl Figure {
    /// As [`Comparison::reached`].
    pub(crate) fn reached(&self) -> Option<bool> {
        self.required_at_most.map(|most| self.value.median <= most)
    }
}

impl Report {
    /// What was required and not reached.
    pub(crate) fn missed(&self) -> impl Iterator<Item = &str> {
        let comparisons = self.comparisons.iter().map(|comparison| (&*comparison.case, comparison.reached()));
        let figures = self.figures.iter().map(|figure| (&*figure.name, figure.reached()));
        comparisons.chain(figures).filter(|(_, reached)| *reached == Some(false)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_rounds_not_the_ratio_of_medians() {
        let side = |rates: &[f64]| Side::of_rates("x", rates);
        let (ours, reference) = ([10.0, 40.0, 90.0], [10.0, 80.0, 30.0]);
        let comparison = Comparison::new("case", (side(&ours), &ours), (side(&reference), &reference), Some(0.9));
        assert_eq!(comparison.ratio, Spread { median: 1.0, least: 0.5, most: 3.0 });
        assert_eq!(comparison.reached(), Some(true));
    }

    #[test]
    fn a_figure_over_its_bound_is_missed() {
        let figure = |most| Figure::new("f", "ms", Spread::of([4.0, 6.0])).at_most(most);
        let report =
            |figure| Report { bench: "b", title: "t", comparisons: vec![], figures: vec![figure], notes: vec![] };
        assert_eq!(report(figure(4.9)).missed().collect::<Vec<_>>(), ["f"]);
        assert_eq!(report(figure(5.0)).missed().count(), 0);
    }
}
