//! How signatures come over the API: in headers, or before the component in the body.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use super::trust::{apply, numbered, signed, with_keys};
use crate::door::Door;

#[test]
fn signatures_come_in_headers_or_in_the_body_and_are_bounded() {
    use base64::Engine as _;
    let cli = with_keys();
    apply(&cli, "");
    let bytes = numbered(1, "", "");
    signed(&cli, "tool.wasm", &bytes, &["alice", "mallory"]);
    let door = Door::serve(cli, &[]);
    let read = |name: &str| {
        let path = door.cli.path(&format!("tool.wasm.{name}.minisig"));
        std::fs::read_to_string(path).expect("a signature")
    };
    let (alice, mallory) = (read("alice"), read("mallory"));
    let ask = |query: &str, more: &str, list: &[u8]| {
        let target = format!("/v1/packages?name=tool&version=1.0.0{query}");
        door.admin.ask_with("POST", &target, more, &[list, &bytes[..]].concat())
    };
    let in_body = |texts: &[&str]| {
        let list = json!(texts).to_string().into_bytes();
        ask(&format!("&signature_bytes={}", list.len()), "", &list)
    };
    let outcome = |answer: crate::harness::client::Answer| -> Value {
        let lines = String::from_utf8(answer.expect(200).body).expect("text");
        serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON")
    };
    let is_denied = |answer: crate::harness::client::Answer| {
        let answer = outcome(answer);
        let kind = answer["error"]["type"].as_str().unwrap_or_default();
        assert!(kind.ends_with(":denied"), "{answer}");
    };
    let header = |text: &str| {
        format!("portcullis-signature: {}\r\n", base64::engine::general_purpose::STANDARD.encode(text))
    };
    // Nobody's, somebody's whom the policy does not know, and those of a list that is cut or none at all.
    is_denied(ask("", "", b""));
    is_denied(in_body(&[&mallory]));
    for (query, list, why) in [
        ("&signature_bytes=524289", &b"[]"[..], "at most 524288"),
        ("&signature_bytes=500000", b"[]", "the body has"),
        ("&signature_bytes=3", b"[] ", ""),
        ("&signature_bytes=2", b"{}", "not what it should be"),
        ("&signature_bytes=4", b"[\"\"]", "signature"),
        ("&signature_bytes=-1", b"[]", ""),
    ] {
        let answer = ask(query, "", list);
        if query.ends_with("=3") {
            // An empty list is none.
            is_denied(answer);
            continue;
        }
        let refused = answer.expect(400).json();
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{query}: {refused}");
    }
    in_body(&[alice.as_str(); 17]).expect(400);
    let sixteen = in_body(&[alice.as_str(); 16]);
    // The twins: either way, and both.
    for answer in [sixteen, ask("", &header(&alice), b""), in_body(&[&alice])] {
        let added = outcome(answer);
        assert_eq!(added["result"]["package"], json!("tool"), "{added}");
    }
    let list = json!([mallory]).to_string().into_bytes();
    let both = outcome(ask(&format!("&signature_bytes={}", list.len()), &header(&alice), &list));
    let signatures = both["result"]["trust"]["signatures"].as_array().map(Vec::len);
    assert_eq!(signatures, Some(2), "{both}");
    // A head is of 16 KiB, whatever is in it.
    let too_much = format!("x: {}\r\n", "y".repeat(17 << 10));
    let mut stream = door.admin.connect();
    let head = door.admin.head("GET", "/v1/packages", &too_much);
    // It may be refused before it is sent to its end.
    let _ = stream.write_all(head.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let is_refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 431");
    assert!(is_refused, "{}", String::from_utf8_lossy(&answer));
    let enough = format!("x: {}\r\n", "y".repeat(14 << 10));
    ask("", &enough, b"").expect(200);
}
