//! What records say of how the host is served, and to whom.

use serde::{Deserialize, Serialize};

use crate::ids::{IssuerName, PrincipalId};

/// When the settings by which the host is served were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingsCause {
    /// The host began to serve by them.
    Started,
    /// They were put in the place of others, beside running calls.
    Reloaded,
    /// They can't be kept: those before them stay in force.
    Refused,
}

impl SettingsCause {
    /// All of them.
    pub const ALL: [SettingsCause; 3] =
        [SettingsCause::Started, SettingsCause::Reloaded, SettingsCause::Refused];

    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            SettingsCause::Started => "started",
            SettingsCause::Reloaded => "reloaded",
            SettingsCause::Refused => "refused",
        }
    }
}

/// The settings by which the host is served were read, or refused. What is in force after it: whose tokens and
/// certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServeSettingsRead {
    /// When.
    pub cause: SettingsCause,
    /// The SHA-256 of `serve.toml`, in hex; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The issuers whose tokens let in.
    pub issuers: Vec<IssuerName>,
    /// How many `[[client_certificate]]` there are.
    pub certificates: u64,
    /// Why they were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who did it: whoever can write the file and send the process a signal.
    pub by: PrincipalId,
}
