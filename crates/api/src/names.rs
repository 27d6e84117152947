//! Names that are near to a misspelt one, and names that are shown.

/// Up to three of `candidates` that a person may have meant by `query`, nearest first.
pub fn nearest(query: &str, candidates: &[String]) -> Vec<String> {
    let query = query.to_lowercase();
    let mut scored: Vec<(f64, &String)> =
        candidates.iter().map(|name| (likeness(&query, &name.to_lowercase()), name)).filter(|(score, _)| *score > 0.75).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

/// From 0 to 1. Two letters that changed places, and one that is missing, count as near in short names too.
fn likeness(query: &str, name: &str) -> f64 {
    let likeness = strsim::jaro_winkler(query, name);
    let one_slip = query.chars().count() >= 3 && strsim::osa_distance(query, name) == 1;
    if one_slip { likeness.max(0.9) } else { likeness }
}

#[cfg(test)]
mod tests {
    #[test]
    fn slips_are_near_and_others_are_not() {
        let names = ["Two", "alice", "bob", "a", "b"].map(str::to_owned);
        for (query, near) in [("Tow", "Two"), ("alcie", "alice"), ("ailce", "alice"), ("bo", "bob"), ("ALICE", "alice")] {
            assert_eq!(super::nearest(query, &names).first().map(String::as_str), Some(near), "{query}");
        }
        assert_eq!(super::nearest("zebra", &names), [""; 0]);
        assert_eq!(super::nearest("c", &names), [""; 0]);
    }
}
