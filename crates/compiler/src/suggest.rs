//! "Did you mean": the known name that is closest to an unknown one.

use strsim::damerau_levenshtein;

/// Longer names are not compared: the distance takes quadratic time.
const LENGTH_MAX: usize = 128;

/// Gives the candidate closest to `name` without regard to case, if one is close enough to be a slip of the pen.
///
/// Of equally close ones the first wins.
pub(crate) fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LENGTH_MAX {
        return None;
    }
    let name = name.to_lowercase();
    let distance_max = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LENGTH_MAX)
        .map(|candidate| (damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The help for an unknown name: the closest candidate, else all of them if they are few.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> Option<String> {
    const LISTED_MAX: usize = 16;
    let candidates = candidates.into_iter();
    if let Some(candidate) = closest(name, candidates.clone()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    let all: Vec<&str> = candidates.collect();
    (!all.is_empty() && all.len() <= LISTED_MAX).then(|| format!("known: {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_found_without_regard_to_case() {
        assert_eq!(closest("USERIDD", ["user", "userId", "ts"]), Some("userId"));
        assert_eq!(closest("multline", ["mode", "multiLine"]), Some("multiLine"));
        assert_eq!(closest("xy", ["userId", "ts"]), None);
    }

    #[test]
    fn without_a_close_name_all_are_listed_if_they_are_few() {
        assert_eq!(did_you_mean("zzzz", ["a", "b"]).as_deref(), Some("known: a, b"));
        assert_eq!(did_you_mean("zzzz", []), None);
        assert_eq!(did_you_mean(&"z".repeat(4096), ["a"]).as_deref(), Some("known: a"));
    }
}
