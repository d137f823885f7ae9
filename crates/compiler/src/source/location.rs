//! The LOCATION of a source: a path or glob below the raw prefix.

/// Why a location cannot be used, and what to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLocation {
    pub(super) message: &'static str,
    pub(super) help: &'static str,
}

/// Checks that a location is relative, stays below the raw prefix, and holds only `* ** ? {}` as wildcards.
pub(super) fn check_location(location: &str) -> Result<(), BadLocation> {
    let bad = |message, help| Err(BadLocation { message, help });
    if location.trim().is_empty() {
        return bad(
            "the LOCATION is empty",
            "name a folder below the raw prefix, or write '**' for everything below it",
        );
    }
    if location.contains("://") {
        return bad(
            "the LOCATION is a URL",
            "it is relative to the raw prefix: set that with `raw` in job.toml or --raw, and name what is below it",
        );
    }
    let has_drive =
        location.as_bytes().get(1) == Some(&b':') && location.starts_with(|c: char| c.is_ascii_alphabetic());
    if location.starts_with(['/', '~']) || has_drive {
        return bad("the LOCATION is absolute", "it is relative to the raw prefix, which job.toml or --raw sets");
    }
    if location.chars().any(char::is_control) {
        return bad("the LOCATION holds a control character", "name a folder below the raw prefix");
    }
    if location.contains(['\\', '[', ']']) {
        return bad("the LOCATION holds `\\`, `[` or `]`", "wildcards are * ** ? {a,b}, and / separates folders");
    }
    let folders = location.strip_suffix('/').unwrap_or(location);
    for part in folders.split('/') {
        match part {
            "" => return bad("the LOCATION has an empty part between two /", "write one /"),
            "." | ".." => return bad("the LOCATION has a part . or ..", "name what is below the raw prefix"),
            "**" => {}
            part if part.contains("**") => return bad("`**` is not alone between two /", "write folder/**/*.json"),
            _ => {}
        }
    }
    if !are_braces_closed(location) {
        return bad("the braces of the LOCATION are not closed, or nested", "write {a,b}");
    }
    Ok(())
}

fn are_braces_closed(location: &str) -> bool {
    let mut open = false;
    for c in location.chars() {
        match c {
            '{' if !open => open = true,
            '}' if open => open = false,
            '{' | '}' => return false,
            _ => {}
        }
    }
    !open
}

#[cfg(test)]
mod tests {
    use super::check_location;

    #[test]
    fn locations_below_the_raw_prefix_are_taken() {
        for location in ["log_data/", "log_data", "a b/ü.json", "logs/2018-{11,12}/**/*.json", "**", "year=*/day=??/"]
        {
            assert_eq!(check_location(location), Ok(()), "{location}");
        }
    }

    #[test]
    fn locations_that_leave_the_raw_prefix_or_do_not_parse_are_refused() {
        for location in [
            "",
            "  ",
            "/data",
            "~/data",
            "C:/data",
            "s3://bucket/x",
            "../x",
            "a/../b",
            "./a",
            "a//b",
            "a/**b/c",
            "a{b",
            "a}b",
            "{a,{b,c}}",
            "a[0-9]",
            "a\\b",
            "a\nb",
            "//",
            "/",
        ] {
            assert!(check_location(location).is_err(), "{location}");
        }
    }
}
