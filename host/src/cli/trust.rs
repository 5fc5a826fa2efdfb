//! `portcullis trust`: whose signatures packages need. One request each.

use std::path::PathBuf;

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
use crate::policy::parse::TRUST_FILE_BYTES_MAX;

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

async fn apply(client: Client, file: PathBuf, output: &Output) -> Result<(), Failure> {
    let name = file.display().to_string();
    let source = TrustSource { file: name, text: input::text(file, TRUST_FILE_BYTES_MAX).await? };
    let request = send(Method::PUT, "/v1/trust", json(&source)?)?;
    let changed: Result<TrustChanged, Failure> = client.document(request).await;
    let changed = changed.map_err(|failure| failure.about(source.file, source.text))?;
    output.answer(&changed, |changed| show::trust::changed(changed, "the trust policy is in force"))
}
