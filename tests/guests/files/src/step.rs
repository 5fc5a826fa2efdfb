//! The steps, as the tests write them. Plain data.

use serde::Deserialize;

/// One operation. `at` names the handle that it is called on.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Names the granted folders: `ok: /a /b`.
    Preopens,
    /// `open-at`; the handle is kept under `as`.
    Open {
        at: String,
        path: String,
        #[serde(default)]
        follow: bool,
        /// `create`, `directory`, `exclusive`, `truncate`.
        #[serde(default)]
        open: Vec<String>,
        /// `read`, `write`, `file-integrity-sync`, `data-integrity-sync`,
        /// `requested-write-sync`, `mutate-directory`; `read` unless said.
        #[serde(default = "read_only")]
        flags: Vec<String>,
        #[serde(rename = "as")]
        name: String,
    },
    /// Opens the same path `count` times and keeps all handles: `ok: COUNT`, or `error: CODE after COUNT`.
    OpenMany { at: String, path: String, count: u32 },
    /// Creates the files PREFIX0, PREFIX1, …: answers as `open-many` does.
    CreateMany { at: String, prefix: String, count: u32 },
    /// Drops a handle.
    Close { at: String },
    /// `read`: `ok: LENGTH bytes: START`.
    Read {
        at: String,
        length: u64,
        #[serde(default)]
        offset: u64,
    },
    /// `read-via-stream`, up to `length` bytes or the end: answers as `read` does.
    ReadStream {
        at: String,
        length: u64,
        #[serde(default)]
        offset: u64,
    },
    /// `write`: `ok: LENGTH`.
    Write {
        at: String,
        #[serde(flatten)]
        data: Data,
        #[serde(default)]
        offset: u64,
    },
    /// `write-via-stream`, flushed: `ok: LENGTH`, or `error: CODE after LENGTH`.
    WriteStream {
        at: String,
        #[serde(flatten)]
        data: Data,
        #[serde(default)]
        offset: u64,
    },
    /// `append-via-stream`, flushed: answers as `write-stream` does.
    AppendStream {
        at: String,
        #[serde(flatten)]
        data: Data,
    },
    /// `write-via-stream` with at most what `check-write` permits, then drops the stream at once,
    /// without waiting for the bytes: `ok: LENGTH`.
    WriteAndLeave {
        at: String,
        #[serde(flatten)]
        data: Data,
    },
    /// `set-size`.
    SetSize { at: String, size: u64 },
    /// `set-times`.
    SetTimes { at: String, accessed: When, modified: When },
    /// `set-times-at`.
    SetTimesAt {
        at: String,
        path: String,
        #[serde(default)]
        follow: bool,
        accessed: When,
        modified: When,
    },
    /// `sync`.
    Sync { at: String },
    /// `sync-data`.
    SyncData { at: String },
    /// `advise`: the whole file will be needed.
    Advise { at: String },
    /// `get-flags`: `ok: read write`.
    GetFlags { at: String },
    /// `get-type`: `ok: regular-file`.
    GetType { at: String },
    /// `stat`: `ok: TYPE size=N links=N accessed=S.NS modified=S.NS`, `-` for a time that is not told.
    Stat { at: String },
    /// `stat-at`: answers as `stat` does.
    StatAt {
        at: String,
        path: String,
        #[serde(default)]
        follow: bool,
    },
    /// `metadata-hash`: `ok: HEX`.
    MetadataHash { at: String },
    /// `metadata-hash-at`: `ok: HEX`.
    MetadataHashAt {
        at: String,
        path: String,
        #[serde(default)]
        follow: bool,
    },
    /// `is-same-object`: `ok: true`.
    IsSameObject { at: String, other: String },
    /// `read-directory`: `ok: COUNT: NAME:TYPE …` by name, or `error: CODE after COUNT`.
    ReadDirectory { at: String },
    /// `create-directory-at`.
    Mkdir { at: String, path: String },
    /// `remove-directory-at`.
    Rmdir { at: String, path: String },
    /// `unlink-file-at`.
    Unlink { at: String, path: String },
    /// `rename-at`.
    Rename { at: String, path: String, to: String, new_path: String },
    /// `link-at`.
    Link {
        at: String,
        path: String,
        #[serde(default)]
        follow: bool,
        to: String,
        new_path: String,
    },
    /// `symlink-at`: makes `path`, which leads to `target`.
    Symlink { at: String, target: String, path: String },
    /// `readlink-at`: `ok: TARGET`.
    Readlink { at: String, path: String },
}

/// What is written: `"data": "text"`, or `"fill": COUNT` for so many bytes of `x`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// The text's bytes.
    Data(String),
    /// So many bytes of `x`.
    Fill(usize),
}

impl Data {
    /// The bytes to write.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Data::Data(text) => text.into_bytes(),
            Data::Fill(count) => vec![b'x'; count],
        }
    }
}

/// A time to set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// `"no-change"`.
    NoChange,
    /// `"now"`.
    Now,
    /// `{"at": [SECONDS, NANOSECONDS]}`.
    At(u64, u32),
}

fn read_only() -> Vec<String> {
    vec!["read".to_owned()]
}

/// Parses a JSON array of steps. A step that can't be parsed is an error of its own.
pub fn parse(steps: &str) -> Result<Vec<Result<Step, String>>, String> {
    let steps: Vec<serde_json::Value> = serde_json::from_str(steps).map_err(|error| error.to_string())?;
    Ok(steps.into_iter().map(|step| serde_json::from_value(step).map_err(|e| e.to_string())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_parsed_one_by_one() {
        let steps = parse(
            r#"[{"op":"open","at":"/d","path":"a","open":["create"],"as":"f"},
                {"op":"write","at":"f","fill":3}, {"op":"write","at":"f","data":"x","offset":7},
                {"op":"set-times","at":"f","accessed":"now","modified":{"at":[1,2]}},
                {"op":"rename","at":"/d","path":"a","to":"/d","new_path":"b"},
                {"op":"no-such"}, {"op":"sync"}]"#,
        )
        .expect("an array");
        let parsed: Vec<bool> = steps.iter().map(Result::is_ok).collect();
        assert_eq!(parsed, [true, true, true, true, true, false, false], "{steps:?}");
        assert!(parse("{}").is_err());
    }
}
