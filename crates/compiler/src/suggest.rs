//! "Did you mean": the known name that is closest to an unknown one.

use strsim::damerau_levenshtein;

/// Longer names are not compared: the distance takes quadratic time.
const LENGTH_MAX: usize = 128;

/// Gives the candidate closest to `name`, if one is close enough to be a slip of the pen.
///
/// Case and underscores count for nothing: `user_id` is `userId`. Where nothing is close, a candidate that contains the
/// name will do, or that is contained in it. Of equally close ones the first wins.
pub(crate) fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LENGTH_MAX {
        return None;
    }
    let name = fold(name);
    let length = name.chars().count();
    // Any two names of one letter are one slip apart.
    let distance_max = if length < 2 { 0 } else { (length / 3).clamp(1, 3) };
    let distances = candidates.into_iter().filter(|candidate| candidate.len() <= LENGTH_MAX).map(|candidate| {
        let folded = fold(candidate);
        let distance = damerau_levenshtein(&name, &folded);
        let is_part = length.min(folded.chars().count()) >= PART_LENGTH_MIN
            && (name.contains(folded.as_str()) || folded.contains(name.as_str()));
        (distance > distance_max, is_part, distance, candidate)
    });
    distances
        .filter(|(is_far, is_part, ..)| !is_far || *is_part)
        .min_by_key(|(is_far, _, distance, _)| (*is_far, *distance))
        .map(|(.., candidate)| candidate)
}

/// Shorter names are part of too many others.
const PART_LENGTH_MIN: usize = 4;

fn fold(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
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
    fn underscores_count_for_nothing_and_parts_are_found_last() {
        let names = ["userId", "sessionId", "userAgent", "page"];
        assert_eq!(closest("user_id", names), Some("userId"));
        assert_eq!(closest("agent", names), Some("userAgent"));
        assert_eq!(closest("pages", names), Some("page"));
        assert_eq!(closest("age", names), Some("page"));
    }

    #[test]
    fn without_a_close_name_all_are_listed_if_they_are_few() {
        assert_eq!(did_you_mean("zzzz", ["a", "b"]).as_deref(), Some("known: a, b"));
        assert_eq!(did_you_mean("zzzz", []), None);
        assert_eq!(did_you_mean(&"z".repeat(4096), ["a"]).as_deref(), Some("known: a"));
    }
}
