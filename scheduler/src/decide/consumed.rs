//! How a listing compares with what a table has consumed of it.

use std::collections::BTreeMap;

use lakewright_lake::{RawObject, state::Unit};

/// A listing against a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Objects whose keys are not in the ledger, sorted by key.
    pub(crate) added: Vec<RawObject>,
    /// Keys that are in both with another identity.
    pub(crate) changed: Vec<String>,
    /// Keys that only the ledger has, without those that it knows to have gone.
    pub(crate) lost: Vec<String>,
    /// Number of objects in the ledger that have not gone before.
    pub(crate) known: usize,
}

/// Compares the listing of the source `input` with the ledger of a table.
pub(crate) fn difference(input: &str, listing: &[RawObject], ledger: &[Unit]) -> Difference {
    // Later segments add to what earlier ones say about a key: that it has gone.
    let mut consumed: BTreeMap<&str, (&Unit, bool)> = BTreeMap::new();
    for unit in ledger.iter().filter(|unit| unit.input == input) {
        consumed.entry(&unit.key).and_modify(|(_, gone)| *gone |= unit.gone).or_insert((unit, unit.gone));
    }
    let mut difference = Difference::default();
    for object in listing {
        match consumed.get(object.key.as_str()) {
            None => difference.added.push(object.clone()),
            Some((unit, _)) if !is_same(unit, object) => difference.changed.push(object.key.clone()),
            Some(_) => {}
        }
    }
    let listed: std::collections::BTreeSet<&str> = listing.iter().map(|object| object.key.as_str()).collect();
    for (key, (_, gone)) in consumed {
        if !gone {
            difference.known += 1;
            if !listed.contains(key) {
                difference.lost.push(key.to_owned());
            }
        }
    }
    difference
}

/// Identity: key, size, and the ETag where both have one, else the time of the last change.
pub(crate) fn is_same(unit: &Unit, object: &RawObject) -> bool {
    unit.size_bytes == object.size_bytes
        && match (&unit.etag, &object.etag) {
            (Some(left), Some(right)) => left == right,
            _ => unit.modified_us == object.modified_us,
        }
}
