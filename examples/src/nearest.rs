//! [`nearest`]: the known name that somebody probably meant.

/// The candidate most like `typed`, if one is like enough to be worth suggesting.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = typed.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(typed.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["path", "exclude", "transport"];
        assert_eq!(nearest("pth", known), Some("path"));
        assert_eq!(nearest("paths", known), Some("path"));
        assert_eq!(nearest("exlcude", known), Some("exclude"));
        assert_eq!(nearest("Transport", known), Some("transport"));
        assert_eq!(nearest("colour", known), None);
    }
}
