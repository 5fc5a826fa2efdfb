//! What an admin asks about API keys. A key is shown once, when it is made.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;

use super::arguments::{ApiKeyCommand, Expiry};
use super::client::Client;
use super::commands::{get, json, send};
use super::failure::Failure;
use super::output::Output;
use super::show::keys as show;
use crate::api::messages::{CreateKeyRequest, RotateKeyRequest};
use crate::database::ApiKey;
use crate::gateway::{KeyMade, KeyRevoked};

pub(super) async fn key(client: Client, command: ApiKeyCommand, output: &Output) -> Result<(), Failure> {
    match command {
        ApiKeyCommand::Create { principal, role, expires } => {
            let body = json(&CreateKeyRequest { principal, role, expires: moment(expires)? })?;
            made(client, send(Method::POST, "/v1/keys", body)?, output).await
        }
        ApiKeyCommand::Rotate { key, expires } => {
            let body = json(&RotateKeyRequest { expires: moment(expires)? })?;
            made(client, send(Method::POST, &format!("/v1/keys/{key}/rotate"), body)?, output).await
        }
        ApiKeyCommand::List => {
            let keys: Vec<ApiKey> = client.document(get("/v1/keys")?).await?;
            output.answer(&keys, |keys| show::list(keys, Timestamp::now()))
        }
        ApiKeyCommand::Revoke { key } => {
            let request = send(Method::DELETE, &format!("/v1/keys/{key}"), Bytes::new())?;
            let revoked: KeyRevoked = client.document(request).await?;
            output.answer(&revoked, show::revoked)
        }
    }
}

/// The key alone goes to stdout, so that it can be put where it is needed; the rest is for people.
async fn made(
    client: Client,
    request: http::Request<crate::api::Body>,
    output: &Output,
) -> Result<(), Failure> {
    let made: KeyMade = client.document(request).await?;
    output.answer(&made, |made| made.token.clone())?;
    if !output.json {
        output.note(&show::made(&made));
    }
    Ok(())
}

fn moment(expires: Option<Expiry>) -> Result<Option<Timestamp>, Failure> {
    let Some(expires) = expires else { return Ok(None) };
    // To the second, as people write it.
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let moment = expires.moment(now);
    moment.map(Some).ok_or_else(|| Failure::input("the key would end beyond the end of time"))
}
