//! Makes text that nobody trusts safe to show: a description, a line of a guest's output, an excerpt in an error.
//!
//! Plain functions over strings. It never decides what may be shown, and never escapes for HTML or JSON:
//! that is the job of whoever writes those.

/// What stands at the end of a text that was cut.
pub(crate) const CUT: &str = "… [cut]";

/// Returns `text` without what could act on a terminal or hide from a reader, in at most `max_bytes` bytes.
///
/// Kept: letters, marks, symbols, emoji, spaces, newlines and tabs. Removed: ANSI escape sequences with their
/// payload (CSI, OSC, DCS and the others, also in their 8-bit form), all other control characters (`\r\n` and
/// a lone `\r` become `\n`), marks that change the direction of writing, Unicode tags, invisible fillers and the
/// variation selectors that can carry hidden bytes.
///
/// A text that is longer is cut between characters and ends with `… [cut]`, which counts towards
/// `max_bytes`; where even the mark does not fit, the text is cut without it. Takes time linear in the
/// text, and stops reading at the cut.
pub fn clean(text: &str, max_bytes: usize) -> String {
    collect(text, max_bytes, |character| character)
}

/// Like [`clean`], on one line: newlines and tabs become spaces.
pub fn clean_line(text: &str, max_bytes: usize) -> String {
    collect(text, max_bytes, |character| if matches!(character, '\n' | '\t') { ' ' } else { character })
}

fn collect(text: &str, max_bytes: usize, map: fn(char) -> char) -> String {
    let mut kept = String::new();
    // Where the text ends if the mark must follow it.
    let mut cut_at = 0;
    for character in (Visible { rest: text }) {
        let character = map(character);
        if kept.len() + character.len_utf8() > max_bytes {
            if max_bytes >= CUT.len() {
                kept.truncate(cut_at);
                kept.push_str(CUT);
            }
            return kept;
        }
        kept.push(character);
        if kept.len() + CUT.len() <= max_bytes {
            cut_at = kept.len();
        }
    }
    kept
}

/// The characters of a text that are kept.
struct Visible<'a> {
    rest: &'a str,
}

impl Iterator for Visible<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            let mut characters = self.rest.chars();
            let character = characters.next()?;
            self.rest = characters.as_str();
            match character {
                '\u{1b}' => self.rest = after_escape(self.rest),
                '\u{9b}' => self.rest = after_control_sequence(self.rest),
                // DCS, SOS, OSC, PM, APC in their 8-bit form.
                '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => self.rest = after_string(self.rest),
                '\r' => {
                    self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
                    return Some('\n');
                }
                '\n' | '\t' => return Some(character),
                '\u{2028}' | '\u{2029}' => return Some('\n'),
                _ if character.is_control() || is_hidden(character) => {}
                _ => return Some(character),
            }
        }
    }
}

/// What follows an escape sequence whose ESC was read (ECMA-48, 5.3 and 8.3).
fn after_escape(rest: &str) -> &str {
    let mut characters = rest.chars();
    match characters.next() {
        Some('[') => after_control_sequence(characters.as_str()),
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(characters.as_str()),
        // Intermediate bytes, then one final byte.
        Some(' '..='/') => {
            let rest = rest.trim_start_matches(|c| matches!(c, ' '..='/'));
            rest.strip_prefix(|c| matches!(c, '0'..='~')).unwrap_or(rest)
        }
        Some('0'..='~') => characters.as_str(),
        Some(_) | None => rest,
    }
}

/// What follows a control sequence: parameters, intermediates, one final byte. A broken one ends where it breaks.
fn after_control_sequence(rest: &str) -> &str {
    let rest = rest.trim_start_matches(|c| matches!(c, '0'..='?'));
    let rest = rest.trim_start_matches(|c| matches!(c, ' '..='/'));
    rest.strip_prefix(|c| matches!(c, '@'..='~')).unwrap_or(rest)
}

/// What follows a control string (an OSC 52 that writes the clipboard is one): it ends with BEL or ST.
///
/// One that is not ended stops at the end of its line, so that it can't swallow what others write.
fn after_string(rest: &str) -> &str {
    let end = rest.find(['\u{7}', '\u{9c}', '\u{1b}', '\n', '\r']).unwrap_or(rest.len());
    let rest = &rest[end..];
    let ended = rest.strip_prefix('\u{7}').or_else(|| rest.strip_prefix('\u{9c}'));
    ended.or_else(|| rest.strip_prefix("\u{1b}\\")).unwrap_or(rest)
}

/// Characters that a reader does not see, or that change what the reader sees around them.
fn is_hidden(character: char) -> bool {
    matches!(character,
        // Direction of writing: embeddings, overrides, isolates, marks, and the deprecated shapers.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        // Invisible spaces, joiners that join nothing, fillers, annotation anchors. The joiners
        // U+200C and U+200D stay: Persian and emoji need them.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        // Variation selectors, but for the two that choose between text and emoji.
        | '\u{fe00}'..='\u{fe0d}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        // Tags, and the supplementary variation selectors.
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Threat 69: what is shown to people can't act on their terminal or hide from them.
    #[test]
    fn removes_what_acts_on_a_terminal_or_hides() {
        for (dirty, shown) in [
            (
                "plain text, ümläut, 日本語, 👩‍🔬, ❤\u{fe0f}\n\ttab",
                "plain text, ümläut, 日本語, 👩‍🔬, ❤\u{fe0f}\n\ttab",
            ),
            ("\u{1b}[31;1mred\u{1b}[0m", "red"),
            ("\u{1b}]52;c;aGk=\u{7}clipboard", "clipboard"),
            ("\u{1b}]0;title\u{1b}\\text", "text"),
            ("\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]52;c;not ended\nnext line", "\nnext line"),
            ("\u{1b}P1$r0m\u{1b}\\dcs", "dcs"),
            ("\u{1b}(0charset\u{1b}c", "charset"),
            ("\u{1b}[2J\u{1b}[H\u{1b}", ""),
            ("\u{1b}\u{1b}[31m!", "!"),
            ("\u{1b}[31\u{1b}[32mnested", "nested"),
            ("\u{9b}31mC1\u{9d}0;t\u{9c}!", "C1!"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("a\u{0}\u{8}\u{7f}\u{85}b", "ab"),
            ("\u{202e}cod.exe\u{202c}\u{2066}x\u{2069}\u{200f}", "cod.exex"),
            ("\u{e0041}\u{e0042}tag\u{e007f}", "tag"),
            ("a\u{e0100}\u{e01ef}\u{fe00}b", "ab"),
            ("zero\u{200b}\u{2060}\u{feff}\u{ad}width", "zerowidth"),
            ("line\u{2028}separator", "line\nseparator"),
        ] {
            assert_eq!(clean(dirty, 1000), shown, "{dirty:?}");
        }
    }

    #[test]
    fn cuts_between_characters_and_marks_the_cut() {
        assert_eq!(clean("0123456789", 10), "0123456789");
        assert_eq!(clean("0123456789a", 10), "0… [cut]");
        assert_eq!(clean("ééééééééé", 12), "é… [cut]");
        assert_eq!(clean("0123456789", 4), "0123");
        assert_eq!(clean("0123456789", 0), "");
        assert_eq!(clean_line("a\nb\tc\r\nd", 100), "a b c d");
    }

    #[test]
    fn takes_linear_time_on_a_flood_of_open_sequences() {
        let flood = "\u{1b}]\u{9d}\u{1b}[\u{9b}".repeat(1 << 20);
        let started = std::time::Instant::now();
        assert_eq!(clean(&flood, 100), "");
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn stays_within_the_bound_and_is_stable(text in ".{0,60}", max in 0_usize..80) {
            let once = clean(&text, max);
            prop_assert!(once.len() <= max);
            prop_assert!(!once.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || is_hidden(c)));
            prop_assert_eq!(clean(&once, max), once);
        }
    }
}
