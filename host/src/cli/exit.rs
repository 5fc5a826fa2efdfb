//! Exit codes: a promise to scripts, so they never change their meaning.

use std::process::ExitCode;

use crate::api::ErrorKind;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Ok = 0,
    /// The host or its machine failed.
    HostFault = 1,
    /// What was given can't be used.
    BadInput = 2,
    /// Not allowed, or not any more.
    Denied = 3,
    /// A limit ended the call.
    LimitReached = 4,
    /// The tool failed.
    ToolError = 5,
    /// Try again.
    Busy = 6,
    /// `grant diff` found differences, a case of `test` failed, or `inspect --diff` widened.
    Differs = 7,
    /// The log, a receipt, a proof or a signature is not what was signed.
    NotVerified = 8,
    /// A signal ended it: 128 and the number of SIGINT, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::BadInput
            | ErrorKind::NotFound
            | ErrorKind::MethodNotAllowed
            | ErrorKind::TooLarge
            | ErrorKind::UnsupportedMediaType
            | ErrorKind::TooSlow
            | ErrorKind::Conflict
            | ErrorKind::InvalidPackage
            | ErrorKind::InvalidGrants
            | ErrorKind::InvalidSettings
            | ErrorKind::KeyReused
            | ErrorKind::Gone => Exit::BadInput,
            ErrorKind::Denied
            | ErrorKind::Stopped
            | ErrorKind::Cancelled
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden => Exit::Denied,
            ErrorKind::LimitReached => Exit::LimitReached,
            ErrorKind::ToolError | ErrorKind::Withheld => Exit::ToolError,
            ErrorKind::Busy | ErrorKind::TooManyRequests | ErrorKind::KeyInUse => Exit::Busy,
            ErrorKind::GrantUnusable
            | ErrorKind::LogUnavailable
            | ErrorKind::DiskLow
            | ErrorKind::Interrupted
            | ErrorKind::HostFault => Exit::HostFault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_code() {
        let codes: Vec<String> =
            ErrorKind::ALL.map(|kind| format!("{kind:?} {}", Exit::from(kind) as u8)).to_vec();
        insta::assert_snapshot!(codes.join("\n"), @r##"
        BadInput 2
        NotFound 2
        MethodNotAllowed 2
        TooLarge 2
        UnsupportedMediaType 2
        TooSlow 2
        Conflict 2
        InvalidPackage 2
        InvalidGrants 2
        InvalidSettings 2
        Denied 3
        Stopped 3
        Cancelled 3
        Unauthenticated 3
        Forbidden 3
        TooManyRequests 6
        Interrupted 1
        Gone 2
        KeyInUse 6
        KeyReused 2
        LimitReached 4
        ToolError 5
        Withheld 5
        Busy 6
        GrantUnusable 1
        LogUnavailable 1
        DiskLow 1
        HostFault 1
        "##);
    }
}
