//! Sets of half-open ranges of time: which intervals a table holds, and which a run computes.
//!
//! Invariant: ranges are sorted, not empty, and apart from one another, so that equal sets are equal values. Pure.

use lakewright_compiler::{IntervalUnit, TimeRange};

/// 0001-01-01T00:00:00Z: before it there is no time. In microseconds since 1970-01-01T00:00:00Z.
pub(crate) const BEGINNING_US: i64 = -62_135_596_800_000_000;

/// Ranges beyond which one that spans them all is computed instead: a condition of more would only cost time.
const RANGES_MAX: usize = 200;

/// A set of instants, as half-open ranges in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// The set that ranges make together, in whatever order.
    pub(crate) fn new(ranges: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut sorted: Vec<(i64, i64)> = ranges.into_iter().filter(|(from, to)| from < to).collect();
        sorted.sort_unstable();
        let mut spans: Vec<(i64, i64)> = Vec::with_capacity(sorted.len());
        for (from, to) in sorted {
            match spans.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => spans.push((from, to)),
            }
        }
        Self(spans)
    }

    pub(crate) fn ranges(&self) -> &[(i64, i64)] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From the first instant to the last one, the latter exclusive.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).copied())
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|left| other.0.iter().map(move |right| (left, right)));
        Self::new(pairs.map(|(left, right)| (left.0.max(right.0), left.1.min(right.1))))
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for &(from, to) in &self.0 {
            let mut at = from;
            for &(cut_from, cut_to) in &other.0 {
                if cut_to > at && cut_from < to {
                    left.push((at, cut_from));
                    at = at.max(cut_to);
                }
            }
            left.push((at, to));
        }
        Self::new(left)
    }

    /// The same, or one range that holds all of it where there are too many.
    pub(crate) fn bounded(self) -> Self {
        if self.0.len() <= RANGES_MAX { self } else { Self::new(self.bounds()) }
    }
}

/// What a table may hold at a time: from its start to the end of the last whole interval.
pub(crate) fn horizon(range: &TimeRange, now_us: i64) -> Spans {
    Spans::new([(range.start_us.unwrap_or(BEGINNING_US), range.unit.floor(now_us))])
}

/// The whole intervals that a window touches; a side that is `None` is open.
pub(crate) fn window(unit: IntervalUnit, (start_us, end_us): (Option<i64>, Option<i64>)) -> Spans {
    let from = start_us.map_or(BEGINNING_US, |start_us| unit.floor(start_us));
    let to = end_us.map_or(i64::MAX, |end_us| match unit.floor(end_us) {
        floor if floor == end_us => floor,
        _ => unit.at(end_us, 1),
    });
    Spans::new([(from, to)])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: i64 = 7;

    fn instants(spans: &Spans) -> Vec<bool> {
        (0..LAST).map(|at| spans.0.iter().any(|(from, to)| *from <= at && at < *to)).collect()
    }

    /// Every set of the instants there are.
    fn all() -> Vec<Spans> {
        let of = |bits: i64| (0..LAST).filter(move |at| bits >> at & 1 == 1).map(|at| (at, at + 1));
        (0..1 << LAST).map(|bits| Spans::new(of(bits))).collect()
    }

    #[test]
    fn sets_are_what_their_instants_say() {
        for left in all() {
            for right in all() {
                let both = |of: &dyn Fn(bool, bool) -> bool| -> Vec<bool> {
                    instants(&left).into_iter().zip(instants(&right)).map(|(left, right)| of(left, right)).collect()
                };
                assert_eq!(instants(&left.union(&right)), both(&|left, right| left || right));
                assert_eq!(instants(&left.intersection(&right)), both(&|left, right| left && right));
                assert_eq!(instants(&left.without(&right)), both(&|left, right| left && !right));
                assert_eq!(left.without(&right).union(&left.intersection(&right)), left);
            }
        }
    }

    #[test]
    fn windows_are_rounded_outwards_to_whole_intervals() {
        const DAY: i64 = 86_400_000_000;
        assert_eq!(window(IntervalUnit::Day, (Some(DAY + 5), Some(3 * DAY))).ranges(), [(DAY, 3 * DAY)]);
        assert_eq!(window(IntervalUnit::Day, (None, Some(3 * DAY + 1))).ranges(), [(BEGINNING_US, 4 * DAY)]);
        let january = 1_514_764_800_000_000;
        assert_eq!(
            window(IntervalUnit::Month, (Some(january + 1), Some(january + 2))).ranges(),
            [(january, january + 31 * DAY)]
        );
        assert_eq!(IntervalUnit::Year.at(january + 1, -1), january - 365 * DAY);
    }
}
