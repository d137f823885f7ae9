//! The order in which models are computed, and the cycles that prevent one.
//!
//! Invariant: pure functions over names; the order depends on names alone, never on the order of files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::TableName;

/// Which models every model reads.
pub(crate) type Reads = BTreeMap<TableName, BTreeSet<TableName>>;

/// Models in an order in which all that one reads comes before it, and those for which there is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Every model after all that it reads; of those that could be next the smallest name comes first.
    pub(crate) ordered: Vec<TableName>,
    /// One shortest cycle for each group of models that read one another, its first model not repeated.
    pub(crate) cycles: Vec<Vec<TableName>>,
}

/// Orders models; names in `reads` that are no models themselves do not matter.
pub(crate) fn order_models(reads: &Reads) -> Order {
    let mut readers: BTreeMap<&TableName, Vec<&TableName>> = BTreeMap::new();
    let mut waits_for: BTreeMap<&TableName, usize> = BTreeMap::new();
    for (model, inputs) in reads {
        let inputs: Vec<&TableName> = inputs.iter().filter(|input| reads.contains_key(*input)).collect();
        waits_for.insert(model, inputs.len());
        for input in inputs {
            readers.entry(input).or_default().push(model);
        }
    }
    let mut ready: BTreeSet<&TableName> =
        waits_for.iter().filter(|(_, count)| **count == 0).map(|(model, _)| *model).collect();
    let mut ordered = Vec::with_capacity(reads.len());
    while let Some(model) = ready.pop_first() {
        waits_for.remove(model);
        ordered.push(model.clone());
        for reader in readers.get(model).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(reader) {
                *count -= 1;
                if *count == 0 {
                    ready.insert(*reader);
                }
            }
        }
    }
    Order { ordered, cycles: find_cycles(reads, waits_for.into_keys().collect()) }
}

/// What is left is in a cycle, or reads from one.
fn find_cycles(reads: &Reads, left: BTreeSet<&TableName>) -> Vec<Vec<TableName>> {
    let mut cycles = Vec::new();
    let mut done: BTreeSet<&TableName> = BTreeSet::new();
    for start in &left {
        if done.contains(start) {
            continue;
        }
        let Some(cycle) = shortest_cycle(reads, &left, start) else {
            continue;
        };
        // Of a group of models that read one another one cycle is told: most often it is the only one.
        let upstream = reachable(start, |model| reads.get(model).into_iter().flatten());
        done.extend(left.iter().filter(|model| {
            upstream.contains(**model)
                && reachable(model, |model| reads.get(model).into_iter().flatten()).contains(start)
        }));
        cycles.push(cycle);
    }
    cycles
}

fn shortest_cycle(reads: &Reads, left: &BTreeSet<&TableName>, start: &TableName) -> Option<Vec<TableName>> {
    let mut came_from: BTreeMap<&TableName, &TableName> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(model) = queue.pop_front() {
        for input in reads.get(model)?.iter().filter(|input| left.contains(*input)) {
            if input == start {
                let mut path = vec![model];
                while let Some(previous) = path.last().and_then(|last| came_from.get(last)) {
                    path.push(previous);
                }
                return Some(path.into_iter().rev().cloned().collect());
            }
            if !came_from.contains_key(input) {
                came_from.insert(input, model);
                queue.push_back(input);
            }
        }
    }
    None
}

/// Gives everything that can be reached from `start` in one step or more.
pub(crate) fn reachable<'a, I: IntoIterator<Item = &'a TableName>>(
    start: &'a TableName,
    next: impl Fn(&'a TableName) -> I,
) -> BTreeSet<&'a TableName> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(model) = open.pop() {
        for neighbour in next(model) {
            if found.insert(neighbour) {
                open.push(neighbour);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(table: &str) -> TableName {
        TableName::new("z", table).unwrap()
    }

    fn graph(edges: &[(&str, &[&str])]) -> Reads {
        edges.iter().map(|(model, inputs)| (name(model), inputs.iter().map(|input| name(input)).collect())).collect()
    }

    fn texts(names: &[TableName]) -> Vec<&str> {
        names.iter().map(TableName::table).collect()
    }

    #[test]
    fn inputs_come_first_and_equals_are_ordered_by_name() {
        let order = order_models(&graph(&[("a", &["d"]), ("c", &[]), ("b", &[]), ("d", &["c", "source"])]));
        assert_eq!(texts(&order.ordered), ["b", "c", "d", "a"]);
        assert!(order.cycles.is_empty());
    }

    #[test]
    fn every_group_of_models_that_read_one_another_gives_its_shortest_cycle_once() {
        let order = order_models(&graph(&[
            ("a", &["b"]),
            ("b", &["c", "a"]),
            ("c", &["a"]),
            ("x", &["y", "a"]),
            ("y", &["x"]),
            ("self", &["self"]),
            ("reader", &["y"]),
            ("free", &[]),
        ]));
        assert_eq!(texts(&order.ordered), ["free"]);
        let cycles: Vec<Vec<&str>> = order.cycles.iter().map(|cycle| texts(cycle)).collect();
        assert_eq!(cycles, [vec!["a", "b"], vec!["self"], vec!["x", "y"]]);
    }

    proptest! {
        #[test]
        fn any_graph_is_ordered_or_has_a_cycle(edges in proptest::collection::vec((0_u8..12, 0_u8..12), 0..30)) {
            let mut reads = Reads::new();
            for (from, to) in &edges {
                reads.entry(name(&format!("m{to}"))).or_default();
                reads.entry(name(&format!("m{from}"))).or_default().insert(name(&format!("m{to}")));
            }
            let order = order_models(&reads);
            for (index, model) in order.ordered.iter().enumerate() {
                prop_assert!(reads[model].iter().all(|input| order.ordered[..index].contains(input)));
            }
            prop_assert_eq!(order.ordered.len() < reads.len(), !order.cycles.is_empty());
            for cycle in &order.cycles {
                for (index, model) in cycle.iter().enumerate() {
                    prop_assert!(reads[model].contains(&cycle[(index + 1) % cycle.len()]));
                }
            }
        }
    }
}
