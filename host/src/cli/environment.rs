//! What the environment says: the data folder, what to keep free on its disk, the key of stored secrets,
//! a host in the network and its API key,
//! colour, how much to log, which program this is, the service manager, where authors' libraries are, and docker's configuration.
//! Nothing else of it is read.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::authoring::build::Surroundings;
use crate::gateway::DISK_RESERVE_BYTES_DEFAULT;
use crate::policy::parse_size;
use crate::secrets::{KeyOrigin, SecretsKey};

/// What is kept free on the disk of the data folder.
const DISK_RESERVE: &str = "PORTCULLIS_DISK_RESERVE";

/// The key of stored secrets: an age identity.
const SECRETS_KEY: &str = "PORTCULLIS_SECRETS_KEY";

/// The URL of a host in the network.
const SERVER: &str = "PORTCULLIS_SERVER";

/// The API key that it lets in.
const API_KEY: &str = "PORTCULLIS_KEY";

/// The most toolchains that are looked at.
const TOOLCHAINS_MAX: usize = 64;

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The data folder when no option names one; none if the environment does not say where home is.
pub(super) fn data_folder() -> Option<PathBuf> {
    choose_data_folder(variable)
}

/// What a credential helper finds in its environment: what it needs to reach a keyring, and nothing that this program
/// is told its secrets by. Helpers that are configured by variables of their own (`AWS_PROFILE`) find none of them.
const HELPER_VARIABLES: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "GPG_TTY",
    "PASSWORD_STORE_DIR",
];

/// The variables that a credential helper is started with.
pub(super) fn for_helper() -> Vec<(&'static str, OsString)> {
    HELPER_VARIABLES.into_iter().filter_map(|name| Some((name, variable(name)?))).collect()
}

/// The folders that programs are looked for in: absolute ones only, so that none is found where somebody happens to be.
pub(super) fn search_path() -> Vec<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

/// Docker's configuration; none if the environment does not say where home is.
pub(super) fn docker_config() -> Option<PathBuf> {
    let folder = variable("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".docker")))?;
    Some(folder.join("config.json"))
}

fn choose_data_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(folder) = variable("PORTCULLIS_DATA_DIR") {
        return Some(folder.into());
    }
    // A relative path is to be ignored (XDG Base Directory Specification 0.8).
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/share")))?;
    Some(data.join("portcullis"))
}

/// This very program, even if another was installed at its path since it was started.
pub(super) fn own_program() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}

/// The data folder that an option names, else the environment.
pub(super) fn chosen(named: Option<PathBuf>) -> Result<PathBuf, Failure> {
    named.or_else(data_folder).ok_or_else(|| {
        Failure::input("there is no home folder to keep data in; name a data folder with --data-dir")
    })
}

/// What is to be kept free on the data folder's disk.
pub(super) fn disk_reserve_bytes() -> Result<u64, Failure> {
    let Some(reserve) = variable(DISK_RESERVE) else { return Ok(DISK_RESERVE_BYTES_DEFAULT) };
    let size = parse_size(&reserve.to_string_lossy());
    size.map_err(|error| Failure::input(format!("${DISK_RESERVE}: {error}")))
}

/// The key of stored secrets, if it is not the data folder's.
pub(super) fn secrets_key() -> Result<Option<SecretsKey>, Failure> {
    let Some(key) = variable(SECRETS_KEY) else { return Ok(None) };
    let key = SecretsKey::parse(&key.to_string_lossy(), KeyOrigin::Given("$PORTCULLIS_SECRETS_KEY"));
    key.map(Some).map_err(|error| Failure::input(error.to_string()))
}

/// The host that commands are sent to, if it is not the owner of a data folder.
pub(super) fn server() -> Option<String> {
    variable(SERVER)?.into_string().ok()
}

/// The API key that it lets in.
pub(super) fn api_key() -> Option<Zeroizing<String>> {
    variable(API_KEY)?.into_string().ok().map(Zeroizing::new)
}

/// Where the service manager wants to be told that the program is ready (`sd_notify(3)`).
pub(super) fn notify_socket() -> Option<OsString> {
    variable("NOTIFY_SOCKET")
}

/// Where the libraries of Rust's targets may be: of rustup's toolchains, and of the system's.
pub(super) fn rust_libraries() -> Vec<PathBuf> {
    let home = variable("HOME").map(|home| PathBuf::from(home).join(".rustup"));
    let rustup = variable("RUSTUP_HOME").map(PathBuf::from).or(home);
    let toolchains = rustup.and_then(|rustup| std::fs::read_dir(rustup.join("toolchains")).ok());
    let of_rustup = toolchains.into_iter().flatten().take(TOOLCHAINS_MAX);
    let mut libraries: Vec<PathBuf> =
        of_rustup.filter_map(|entry| Some(entry.ok()?.path().join("lib/rustlib"))).collect();
    libraries.push("/usr/lib/rustlib".into());
    libraries
}

/// Variables that a cargo which runs this program has set for itself. One for another target must not see them.
const CARGO_LEFTOVERS: [&str; 6] =
    ["CARGO_ENCODED_RUSTFLAGS", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PROFILE_", "RUSTC", "RUSTFLAGS"];

/// What a build finds: the path, and what is not to be handed on.
pub(super) fn surroundings() -> Surroundings {
    let is_leftover = |name: &OsString| {
        let name = name.as_encoded_bytes();
        CARGO_LEFTOVERS.iter().any(|leftover| name.starts_with(leftover.as_bytes()))
    };
    let leftovers = std::env::vars_os().map(|(name, _)| name).filter(is_leftover).collect();
    Surroundings { path: variable("PATH").unwrap_or_default(), leftovers }
}

/// Whether text for people has colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Never,
    OnTerminals,
    Always,
}

/// What is said about colour: `NO_COLOR` (no-color.org) before all, then `CLICOLOR_FORCE` and `CLICOLOR`
/// (bixense.com/clicolors), then `TERM`. The parser of arguments keeps to the same.
pub(super) fn color() -> Color {
    choose_color(variable)
}

fn choose_color(variable: impl Fn(&str) -> Option<OsString>) -> Color {
    if variable("NO_COLOR").is_some() {
        Color::Never
    } else if variable("CLICOLOR_FORCE").is_some_and(|force| force != "0") {
        Color::Always
    } else if variable("CLICOLOR").is_some_and(|color| color == "0")
        || variable("TERM").is_some_and(|term| term == "dumb")
    {
        Color::Never
    } else {
        Color::OnTerminals
    }
}

/// Whether the terminal understands nothing but text.
pub(super) fn terminal_is_dumb() -> bool {
    variable("TERM").is_some_and(|term| term == "dumb")
}

/// Warnings go to stderr, and what `PORTCULLIS_LOG` asks for. What rmcp says must be asked for by its name: it says
/// what clients do wrong, and of their messages all that is in them.
pub(super) fn init_logging() {
    let wanted = variable("PORTCULLIS_LOG").and_then(|wanted| wanted.into_string().ok());
    let wanted = wanted.unwrap_or_else(|| "warn".to_owned());
    let quiet = if wanted.contains("rmcp") { wanted } else { format!("{wanted},rmcp=off") };
    let filter = EnvFilter::new(quiet);
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // One that is set already (in a test) stays.
    let _ = subscriber.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_as_the_conventions_have_it() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            choose_color(move |wanted| {
                set.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.into())
            })
        };
        let all = [("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0")];
        assert_eq!(with(&all), Color::Never);
        assert_eq!(with(&all[1..]), Color::Always);
        assert_eq!(with(&all[2..]), Color::Never);
        assert_eq!(with(&[("CLICOLOR_FORCE", "0"), ("CLICOLOR", "0")]), Color::Never);
    }

    #[test]
    fn the_data_folder_is_the_first_that_is_named() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            choose_data_folder(move |wanted| {
                set.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.into())
            })
        };
        let all = [("PORTCULLIS_DATA_DIR", "d"), ("XDG_DATA_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(with(&all), Some("d".into()));
        assert_eq!(with(&all[1..]), Some("/x/portcullis".into()));
        assert_eq!(with(&all[2..]), Some("/h/.local/share/portcullis".into()));
        assert_eq!(
            with(&[("XDG_DATA_HOME", "x"), ("HOME", "/h")]),
            Some("/h/.local/share/portcullis".into()),
            "a relative XDG folder is ignored"
        );
        assert_eq!(with(&[]), None);
    }
}
