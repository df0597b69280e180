//! "Did you mean": the known names closest to a misspelt one.

/// Most suggestions in one answer.
const SUGGESTIONS_MAX: usize = 3;
/// Longer inputs are no misspelt names.
const NAME_CHARS_MAX: usize = 64;

/// The known names closest to `name`, best first, at most three; empty where none is close. Upper
/// and lower case, spaces, dashes and underscores do not count.
pub fn closest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let wanted = folded(name);
    if wanted.is_empty() || wanted.len() > NAME_CHARS_MAX {
        return Vec::new();
    }
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in known {
        let folded = folded(candidate);
        let limit = (wanted.len().max(folded.len()) / 3).max(1);
        let distance = if wanted.len() >= 3 && folded.starts_with(&wanted) {
            1
        } else if wanted.len().abs_diff(folded.len()) > limit {
            continue;
        } else {
            distance(&wanted, &folded)
        };
        // Nothing in common is never close, however short the names are.
        let alike = distance <= limit && distance < folded.len();
        if alike && !found.iter().any(|(_, name)| *name == candidate) {
            found.push((distance, candidate));
        }
    }
    found.sort();
    // A near miss makes far ones noise.
    let limit = found.first().map_or(0, |(distance, _)| distance + 1);
    found.retain(|(distance, _)| *distance <= limit);
    found.truncate(SUGGESTIONS_MAX);
    found.into_iter().map(|(_, name)| name).collect()
}

/// The closest known name, where one is close.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    closest(name, known).first().copied()
}

/// `; did you mean `a` or `b`?`, empty where nothing is close: the end of an error sentence.
pub fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<String> = closest(name, known)
        .iter()
        .map(|n| format!("`{n}`"))
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// Two names that differ only in case, spaces, dashes and underscores.
pub fn same_name(a: &str, b: &str) -> bool {
    significant(a).eq(significant(b))
}

fn folded(name: &str) -> Vec<char> {
    significant(name).take(NAME_CHARS_MAX + 1).collect()
}

fn significant(name: &str) -> impl Iterator<Item = char> {
    let chars = name.chars().filter(|c| !matches!(c, ' ' | '-' | '_'));
    chars.flat_map(char::to_lowercase)
}

/// Optimal string alignment distance: insertions, deletions, substitutions, swapped neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y))
                .min(above[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let fields = ["username", "password", "manufacturer", "ip", "port"];
        assert_eq!(closest("pasword", fields), ["password"]);
        assert_eq!(closest("Manufacturre", fields), ["manufacturer"]);
        assert_eq!(closest("user", fields), ["username"]);
        assert_eq!(closest("tp link", ["tplink", "hikvision"]), ["tplink"]);
        assert!(closest("zzzzzz", fields).is_empty());
        assert!(closest("", fields).is_empty());
        assert!(closest("4", ["5"]).is_empty());
        assert!(closest(&"a".repeat(5000), fields).is_empty());
    }

    #[test]
    fn says_it_as_the_end_of_a_sentence() {
        assert_eq!(
            did_you_mean("hikvison", ["hikvision"]),
            "; did you mean `hikvision`?"
        );
        assert_eq!(did_you_mean("xyz", ["hikvision"]), "");
    }

    #[test]
    fn distance_counts_edits() {
        let d = |a: &str, b: &str| distance(&folded(a), &folded(b));
        assert_eq!(d("kitten", "sitting"), 3);
        assert_eq!(d("dahau", "dahua"), 1);
        assert_eq!(d("", "abc"), 3);
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_closest_to_itself(name in "[a-z0-9]{1,20}", other in "\\PC{0,30}") {
            let found = closest(&name, [other.as_str(), name.as_str()]);
            proptest::prop_assert!(found.contains(&name.as_str()));
        }
    }
}
