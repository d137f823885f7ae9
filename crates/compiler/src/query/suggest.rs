//! "did you mean": the nearest of the names that would have been right.

/// Gives the candidate that `name` is most likely a misspelling of, or `None` if none is near.
///
/// Case, underscores and hyphens count for nothing: `user_id` is `userId`. Among equals the first in order is taken.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(name);
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let score = likeness(&folded, &fold(candidate));
        let is_better = match best {
            None => score > LIKENESS_MIN,
            Some((best_score, best_name)) => score > best_score || (score == best_score && candidate < best_name),
        };
        if is_better {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// A help text around [`nearest`].
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean {candidate}?"))
}

/// Below it two names have little in common; found by trying misspellings against the names of the reference job.
const LIKENESS_MIN: f64 = 0.6;

fn likeness(left: &str, right: &str) -> f64 {
    if left == right {
        return 1.0;
    }
    let edits = strsim::normalized_damerau_levenshtein(left, right);
    // A name that is part of the other (`user` for `user_agent`) is a likely slip, though many edits away.
    let shorter = left.len().min(right.len());
    let contained = shorter >= 3 && (left.contains(right) || right.contains(left));
    if contained { edits.max(0.65) } else { edits }
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_name() {
        let names = ["userId", "sessionId", "userAgent", "ts", "page", "artist", "length"];
        for (wrong, right) in [
            ("user_id", "userId"),
            ("usrId", "userId"),
            ("sesionid", "sessionId"),
            ("pgae", "page"),
            ("lenght", "length"),
            ("artists", "artist"),
            ("agent", "userAgent"),
        ] {
            assert_eq!(nearest(wrong, names), Some(right), "{wrong}");
        }
    }

    #[test]
    fn what_is_far_from_everything_gets_no_suggestion() {
        assert_eq!(nearest("zzz", ["userId", "ts"]), None);
        assert_eq!(nearest("x", ["ts"]), None);
    }
}
