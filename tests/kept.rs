//! How the log is kept: by its settings or not at all; in segments that are closed, compressed and dropped; under a
//! key that is rotated.

use std::path::Path;
use std::time::Duration;

use crate::harness::process::{Cli, wait_until};

fn names(folder: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    entries.filter_map(|name| name.into_string().ok()).collect()
}

/// Case 105 for the log: settings that can't be kept are named with file, line and key, and nothing runs.
#[test]
fn settings_of_the_log_are_kept_or_refused_at_the_start() {
    let cli = Cli::new();
    cli.run(["package", "list"]).expect(0);
    let file = cli.data.join("audit.toml");
    for (text, line, told) in [
        ("durability = \"often\"\n", 1, "is not a durability"),
        ("durability = \"strict\"\nretain = \"1d\"\n", 2, "unknown key retain"),
        ("[segments]\nbytes = 1\n", 2, "65536"),
        ("[retention]\nage = 5\n", 2, "expected a string"),
    ] {
        std::fs::write(&file, text).expect("written");
        cli.run(["package", "list"]).expect(2).says(told).says(&format!("audit.toml:{line}:"));
        let problem = cli.run(["package", "list", "--json"]).expect(2).problem();
        assert_eq!(problem["type"], "urn:portcullis:error:invalid-settings");
        assert_eq!(problem["diagnostics"][0]["line"], line, "{problem}");
    }
    std::fs::write(&file, "durability = \"strict\"\n").expect("written");
    cli.run(["package", "list"]).expect(0);
}

/// A host that runs while its segments are closed, compressed and dropped; and whose key is rotated meanwhile.
#[test]
fn a_log_in_segments_under_two_keys_is_verified_with_the_first() {
    let cli = Cli::new();
    cli.run(["package", "list"]).expect(0);
    let first_key = cli.file("first.pub", std::fs::read(cli.data.join("audit.pub")).expect("a key"));
    let settings = "[segments]\nage = \"1s\"\n[retention]\nage = \"3s\"\n";
    std::fs::write(cli.data.join("audit.toml"), settings).expect("written");
    let audit = cli.data.join("audit");
    let serving = cli.serve();
    let rotated = cli.json(&["audit", "key", "rotate"]);
    assert_ne!(rotated["key"].as_str(), std::fs::read_to_string(&first_key).ok().as_deref().map(str::trim));
    // Each change is a record; the text of the first ones is old after a while.
    wait_until("text is compressed, and dropped", || {
        cli.run(["freeze", "--reason", "a test"]).expect(0);
        cli.run(["thaw"]).expect(0);
        std::thread::sleep(Duration::from_millis(300));
        let first = format!("{:020}.jsonl", 0);
        let kept = names(&audit);
        kept.iter().any(|name| name.ends_with(".jsonl.zst"))
            && !kept.iter().any(|name| name.starts_with(&first))
    });
    serving.interrupt().expect(0);
    let verified = cli.json(&["audit", "verify", "--key", &first_key]);
    assert_eq!(verified["rotations"], 1, "{verified}");
    assert!(verified["dropped"].as_u64().is_some_and(|dropped| dropped > 0), "{verified}");
    cli.run(["package", "list"]).expect(0);
    cli.run(["audit", "verify"]).expect(0);
    cli.run(["doctor"]).expect(0);
}
