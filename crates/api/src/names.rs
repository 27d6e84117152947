//! Names that are near to a misspelt one, and names that are shown.

/// Up to three of `candidates` that a person may have meant by `query`, nearest first.
pub fn nearest(query: &str, candidates: &[String]) -> Vec<String> {
    let query = query.to_lowercase();
    let mut scored: Vec<(f64, &String)> = candidates
        .iter()
        .map(|name| (strsim::jaro_winkler(&query, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}
