//! Names that are near a mistyped one.

/// The known names that are nearest to `name`: a letter or two apart, or one within the other. The nearest first, three at most.
pub fn nearest(name: &str, known: &[&str]) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut ranked: Vec<(usize, &str)> = known
        .iter()
        .filter_map(|candidate| {
            let have = candidate.to_lowercase();
            // Under compose names are given without their project.
            let without_project = have.split_once('_').map_or(usize::MAX, |(_, short)| distance(&wanted, short) + 1);
            let apart = distance(&wanted, &have).min(without_project);
            let is_part = wanted.len() >= 3 && (have.contains(&wanted) || wanted.contains(&have));
            let is_near = apart <= 1 + wanted.len() / 4;
            (is_near || is_part).then_some((if is_near { apart } else { NEAR_ENOUGH }, *candidate))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// How many letters have to be changed, added or removed (Levenshtein), of the first 64 of each.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(LETTERS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().take(LETTERS_MAX).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&b) {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The rank of a name that only contains the wanted one.
const NEAR_ENOUGH: usize = 8;

const LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_letters() {
        for (a, b, apart) in
            [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("", "abc", 3), ("spark-net", "sparknet", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (apart, apart), "{a} {b}");
        }
    }

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let known = ["bridge", "host", "lab_spark-net", "spark-net", "spark-net-2"];
        assert_eq!(nearest("spark-nett", &known), ["spark-net", "lab_spark-net", "spark-net-2"]);
        assert_eq!(nearest("spark-nte", &["bridge", "lab_spark-net"]), ["lab_spark-net"]);
        assert_eq!(nearest("Spark", &known), ["lab_spark-net", "spark-net", "spark-net-2"]);
        assert_eq!(nearest("bride", &known), ["bridge"]);
        assert_eq!(nearest("zzz", &known), Vec::<String>::new());
    }
}
