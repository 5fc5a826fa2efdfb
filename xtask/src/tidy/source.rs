//! Rust source as a list of words, without comments, strings and tests' own quarrels with lexing.
//!
//! Not a parser: just enough to find paths such as `crate::policy::{Grant, authorize}`.

/// One word or sign of a source, with the line that it stands on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// Splits a source into identifiers and signs. `::` is one sign; literals are left out.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' | 'b' | 'c' if raw_string(&chars, at).is_some() => raw_string(&chars, at).unwrap_or(at + 1),
            '\'' => quote_end(&chars, at),
            c if is_word(c) => {
                let end = (at..chars.len()).find(|i| !is_word(chars[*i])).unwrap_or(chars.len());
                tokens.push(Token { text: chars[at..end].iter().collect(), line });
                end
            }
            ':' if chars.get(at + 1) == Some(&':') => {
                tokens.push(Token { text: "::".to_owned(), line });
                at + 2
            }
            c if c.is_whitespace() => at + 1,
            c => {
                tokens.push(Token { text: c.to_string(), line });
                at + 1
            }
        };
        let end = end.min(chars.len());
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_end(chars: &[char], start: usize) -> usize {
    (start..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of a raw string such as `r#"…"#` or `br"…"`, if one begins here.
fn raw_string(chars: &[char], start: usize) -> Option<usize> {
    if start > 0 && is_word(chars[start - 1]) {
        return None;
    }
    let marks = (start..chars.len()).find(|i| !matches!(chars[*i], 'r' | 'b' | 'c'))?;
    if chars[marks - 1] != 'r' || marks - start > 2 {
        return None;
    }
    let quote = (marks..chars.len()).find(|i| chars[*i] != '#')?;
    if chars[quote] != '"' {
        return None;
    }
    let hashes = quote - marks;
    (quote + 1..chars.len())
        .find(|i| {
            chars[*i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
        })
        .map(|end| end + 1 + hashes)
}

/// The end of a character such as `'"'`, or of the mark of a lifetime.
fn quote_end(chars: &[char], start: usize) -> usize {
    match (chars.get(start + 1), chars.get(start + 2)) {
        (Some('\\'), _) => {
            // The escaped sign may itself be a quote.
            (start + 3..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |end| end + 1)
        }
        (Some(_), Some('\'')) => start + 3,
        _ => start + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_are_left_out() {
        assert_eq!(texts("a // b\n/* c /* d */ e */ f"), ["a", "f"]);
        assert_eq!(texts(r##"a "b \" c" r#"d " e"# br"f" g"##), ["a", "g"]);
        assert_eq!(texts(r"a '\'' '\u{41}' 'x' b"), ["a", "b"]);
        assert_eq!(texts("&'a str"), ["&", "a", "str"]);
        assert_eq!(texts("bar crate::x"), ["bar", "crate", "::", "x"]);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let tokens = tokens("a\n\"x\ny\"\n/*\n*/ b");
        assert_eq!(tokens[1], Token { text: "b".to_owned(), line: 5 });
    }
}
