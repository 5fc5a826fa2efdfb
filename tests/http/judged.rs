//! A share of what the fuzz target `host/fuzz` does, from a seed: texts made of parts that were trouble
//! somewhere.

use crate::harness::random::Random;

#[path = "../../host/fuzz/properties/egress.rs"]
mod judge;

const PARTS: &[&str] = &[
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "\\",
    "@",
    ":",
    "?",
    "#",
    ";",
    "&",
    "=",
    "%",
    "%25",
    "a",
    "B",
    "é",
    "ok.example",
    "127.1",
    "0x7f.1",
    "[::1]",
    "[::ffff:1.2.3.4]",
    ":80",
    ":443",
    "%41",
    "%00",
    "*",
    "**",
    "*.",
    "~",
    "\t",
    "\r\n",
    "\n",
    " ",
    "xn--",
    "\u{ff0e}",
    "\u{3002}",
    "10.0.0.1",
    "64:ff9b::1",
    "2002:7f00:1::",
    "::ffff:",
    "255",
    "0177",
    "\u{202e}",
    "_",
];

#[test]
fn what_must_hold_for_any_text_holds_for_many() {
    let mut random = Random::new(2_026);
    for _ in 0..40_000 {
        let count = random.below(24);
        let text: String = (0..count).map(|_| *random.pick(PARTS)).collect();
        judge::holds(text.as_bytes());
    }
    for _ in 0..10_000 {
        let count = random.index(64);
        judge::holds(&random.bytes(count));
    }
}
