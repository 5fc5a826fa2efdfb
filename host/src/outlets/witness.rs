//! A witness of C2SP `tlog-witness`: it is shown that the log only grew, and cosigns the checkpoint.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::Surroundings;
use super::anchor::Refusal;
use super::ship::keep;
use super::web::Web;
use crate::audit::anchoring::{NewestCheckpoint, WitnessKey, consistency, size_of};
use crate::audit::read_note;
use crate::ids::OutletName;
use crate::text::clean_line;

/// How often a witness may say that it knows another size, before that is a failure.
const TRIES: usize = 3;

/// A witness, and what it cosigned last.
#[derive(Debug)]
pub(super) struct Witness {
    web: Web,
    key: WitnessKey,
    audit: PathBuf,
    /// The last cosigned checkpoint: the note with the witness's signature under the host's.
    kept: PathBuf,
    records: u64,
}

impl Witness {
    pub(super) fn new(
        web: Web,
        key: &str,
        name: &OutletName,
        surroundings: &Surroundings,
    ) -> Result<Self, String> {
        let key = WitnessKey::parse(key)?;
        let kept = surroundings.audit.join("anchors").join(format!("{name}.checkpoint"));
        let records = match read_note(&kept) {
            Ok(note) => size_of(&note).ok_or_else(|| {
                format!("{} is no checkpoint; delete it, and the witness says what it knows", kept.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(format!("{} can't be read: {error}", kept.display())),
        };
        Ok(Self { web, key, audit: surroundings.audit.clone(), kept, records })
    }

    /// How many records the checkpoint covers that it cosigned last.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Has a checkpoint cosigned, and keeps what it says.
    pub(super) async fn cosign(&mut self, newest: &NewestCheckpoint) -> Result<(), Refusal> {
        let mut old = self.records;
        for _ in 0..TRIES {
            if old > newest.size {
                return Err(Refusal::Disagrees(format!(
                    "the witness has cosigned {old} records of this log, which has {} now: its end is missing",
                    newest.size
                )));
            }
            let (audit, size) = (self.audit.clone(), newest.size);
            let proof = tokio::task::spawn_blocking(move || consistency(&audit, old, size)).await;
            let proof = proof.map_err(|error| error.to_string())??;
            let mut body = format!("old {old}\n");
            for hash in proof {
                body.push_str(&STANDARD.encode(hash));
                body.push('\n');
            }
            body.push('\n');
            let mut body = body.into_bytes();
            body.extend_from_slice(&newest.note);
            let (status, answer) = self.web.post("text/plain; charset=utf-8", body.into()).await?;
            let said = clean_line(&String::from_utf8_lossy(&answer), 200);
            match status {
                StatusCode::OK => return self.take(newest, &answer).await,
                StatusCode::CONFLICT => {
                    let Ok(known) = said.trim().parse::<u64>() else {
                        return Err(
                            format!("the witness knows another size, and says not which: {said}").into()
                        );
                    };
                    if known == old {
                        return Err(Refusal::Disagrees(format!(
                            "the witness has cosigned another log of {known} records under this name"
                        )));
                    }
                    old = known;
                }
                StatusCode::UNPROCESSABLE_ENTITY => {
                    return Err(Refusal::Disagrees(format!(
                        "the witness does not find the {old} records that it knows in the log of {size}: {said}"
                    )));
                }
                _ => return Err(format!("the witness answered {status}: {said}").into()),
            }
        }
        Err("the witness names another size each time".to_owned().into())
    }

    /// Checks the cosignature, and keeps it under the checkpoint.
    async fn take(&mut self, newest: &NewestCheckpoint, answer: &[u8]) -> Result<(), Refusal> {
        let line = self.key.check(&newest.note, answer)?;
        let mut note = newest.note.clone();
        note.extend_from_slice(line.as_bytes());
        let kept = self.kept.clone();
        let written = tokio::task::spawn_blocking(move || keep(&kept, &note)).await;
        let written = written.map_err(|error| error.to_string())?;
        written.map_err(|error| format!("{} can't be kept: {error}", self.kept.display()))?;
        self.records = newest.size;
        Ok(())
    }
}
