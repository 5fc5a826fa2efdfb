//! `portcullis trust`: whose signatures packages need. One request each.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::Method;

use super::arguments::TrustCommand;
use super::client::Client;
use super::commands::{get, json, send};
use super::failure::Failure;
use super::input;
use super::output::Output;
use super::show;
use crate::gateway::{TrustChanged, TrustSource, TrustStatus};
use crate::policy::parse::{TRUST_FILE_BYTES_MAX, trusted_root_file};
use crate::signing::TRUST_ROOT_BYTES_MAX;

pub(super) async fn trust(client: Client, command: TrustCommand, output: &Output) -> Result<(), Failure> {
    match command {
        TrustCommand::Apply { file } => apply(client, file, output).await,
        TrustCommand::Show => {
            let status: TrustStatus = client.document(get("/v1/trust")?).await?;
            output.answer(&status, show::trust::status)
        }
        TrustCommand::Remove => {
            let request = send(Method::DELETE, "/v1/trust", Bytes::new())?;
            let changed: TrustChanged = client.document(request).await?;
            output.answer(&changed, |changed| {
                show::trust::changed(
                    changed,
                    "there is no trust policy: packages need an admin's approval, and no signature",
                )
            })
        }
    }
}

/// The policy with the trust root of Sigstore in the place of its file's name: what is in force is one text, which says
/// all of it. On one line, so that each line is where it was.
async fn with_root(policy: &Path, text: String) -> Result<String, Failure> {
    let Some((place, name)) = trusted_root_file(&text) else { return Ok(text) };
    let file = policy.parent().unwrap_or(Path::new(".")).join(&name);
    let root = input::text(file, TRUST_ROOT_BYTES_MAX).await?;
    let wrong = |reason: String| Failure::input(format!("the trust root {name}: {reason}"));
    let json: serde_json::Value = serde_json::from_str(&root).map_err(|error| wrong(error.to_string()))?;
    let line = json.to_string();
    if line.contains("'''") {
        return Err(wrong("it has three apostrophes in a row".to_owned()));
    }
    Ok(format!("{}'''{line}'''{}", &text[..place.start], &text[place.end..]))
}

async fn apply(client: Client, file: PathBuf, output: &Output) -> Result<(), Failure> {
    let name = file.display().to_string();
    let text = input::text(file.clone(), TRUST_FILE_BYTES_MAX).await?;
    let source = TrustSource { file: name, text: with_root(&file, text).await? };
    let request = send(Method::PUT, "/v1/trust", json(&source)?)?;
    let changed: Result<TrustChanged, Failure> = client.document(request).await;
    let changed = changed.map_err(|failure| failure.about(source.file, source.text))?;
    output.answer(&changed, |changed| show::trust::changed(changed, "the trust policy is in force"))
}
