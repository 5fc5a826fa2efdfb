//! What an admin asks about the state that packages keep.

use bytes::Bytes;
use http::Method;

use super::arguments::StateCommand;
use super::client::Client;
use super::commands::{get, send};
use super::failure::Failure;
use super::output::Output;
use super::show::state as show;
use crate::database::HeldStores;
use crate::gateway::StateCleared;

pub(super) async fn state(client: Client, command: StateCommand, output: &Output) -> Result<(), Failure> {
    match command {
        StateCommand::List { package } => {
            let of_package = package.map_or_else(String::new, |package| format!("?package={package}"));
            let stores: HeldStores = client.document(get(&format!("/v1/state{of_package}"))?).await?;
            output.answer(&stores, show::list)
        }
        StateCommand::Clear { package, store, agent } => {
            let of_agent = agent.map_or_else(String::new, |agent| format!("?agent={agent}"));
            let path = format!("/v1/state/{package}/{store}{of_agent}");
            let cleared: StateCleared = client.document(send(Method::DELETE, &path, Bytes::new())?).await?;
            output.answer(&cleared, show::cleared)
        }
    }
}
