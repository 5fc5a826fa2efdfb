//! Names that are different and read as one. Whoever approves, grants or calls goes by what is read.
//!
//! Names are ASCII, so that letters of other scripts are refused by their rules; what is left is case, and
//! the characters that many fonts draw alike: `0` and `O`, `1`, `l` and `I`.

use std::collections::HashMap;

/// Whether two names are different, and can be taken for each other.
pub(crate) fn are_alike(one: &str, other: &str) -> bool {
    one != other && (folded(one) == folded(other) || drawn(one) == drawn(other))
}

/// Names of one kind, no two of them alike.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    folded: HashMap<String, &'a str>,
    drawn: HashMap<String, &'a str>,
}

impl<'a> Names<'a> {
    /// Takes a name in. The name that it can be taken for, if there is one: then it is not taken in.
    pub(crate) fn insert(&mut self, name: &'a str) -> Option<&'a str> {
        let (folded, drawn) = (folded(name), drawn(name));
        let earlier = self.folded.get(&folded).or_else(|| self.drawn.get(&drawn)).copied();
        if earlier.is_none() {
            self.folded.insert(folded, name);
            self.drawn.insert(drawn, name);
        }
        earlier.filter(|earlier| *earlier != name)
    }
}

/// What is left of a name where case says nothing.
fn folded(name: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        '0' => 'o',
        '1' => 'l',
        other => other,
    };
    name.chars().map(letter).collect()
}

/// What is left of a name where only the drawing counts.
fn drawn(name: &str) -> String {
    let letter = |letter: char| match letter {
        '0' => 'O',
        '1' | 'I' => 'l',
        other => other,
    };
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_drawing_make_names_alike_and_nothing_else_does() {
        for (one, other) in [
            ("read", "Read"),
            ("READ", "read"),
            ("b0b", "bob"),
            ("b0b", "BOB"),
            ("al1", "all"),
            ("aIl", "all"),
        ] {
            assert!(are_alike(one, other) && are_alike(other, one), "{one} {other}");
            let mut names = Names::default();
            assert_eq!((names.insert(one), names.insert(other)), (None, Some(one)));
        }
        for (one, other) in
            [("read", "read"), ("read", "reads"), ("a-b", "a_b"), ("ali", "all"), ("v2", "v3")]
        {
            assert!(!are_alike(one, other), "{one} {other}");
            let mut names = Names::default();
            assert_eq!((names.insert(one), names.insert(other)), (None, None));
        }
    }
}
