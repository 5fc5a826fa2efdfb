//! What an admin asks about stored secrets. A value passes through on its way in, and never comes back.

use bytes::Bytes;
use http::Method;

use super::arguments::SecretCommand;
use super::client::Client;
use super::commands::{get, send};
use super::failure::Failure;
use super::input;
use super::output::Output;
use super::show::secrets as show;
use crate::database::StoredSecret;
use crate::gateway::SecretChanged;

pub(super) async fn secret(client: Client, command: SecretCommand, output: &Output) -> Result<(), Failure> {
    match command {
        SecretCommand::Set { name, file } => {
            let prompt = format!("value of secret {name} (it is not shown): ");
            let value = input::secret(file, &prompt).await?;
            let request = send(Method::PUT, &format!("/v1/secrets/{name}"), value)?;
            let changed: SecretChanged = client.document(request).await?;
            output.answer(&changed, show::set)
        }
        SecretCommand::List => {
            let secrets: Vec<StoredSecret> = client.document(get("/v1/secrets")?).await?;
            output.answer(&secrets, |secrets| show::list(secrets))
        }
        SecretCommand::Remove { name } => {
            let request = send(Method::DELETE, &format!("/v1/secrets/{name}"), Bytes::new())?;
            let changed: SecretChanged = client.document(request).await?;
            output.answer(&changed, show::removed)
        }
    }
}
