//! What the environment says: the data folder, colour, how much to log, which program this is. Nothing else
//! of it is read.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The data folder when no option names one; none if the environment does not say where home is.
pub(super) fn data_folder() -> Option<PathBuf> {
    choose_data_folder(variable)
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

/// Whether colour may be used on a terminal (no-color.org).
pub(super) fn allows_color() -> bool {
    variable("NO_COLOR").is_none() && variable("TERM").is_none_or(|term| term != "dumb")
}

/// Warnings go to stderr, and what `PORTCULLIS_LOG` asks for.
pub(super) fn init_logging() {
    let wanted = variable("PORTCULLIS_LOG").and_then(|wanted| wanted.into_string().ok());
    let filter = wanted.map_or_else(|| EnvFilter::new("warn"), EnvFilter::new);
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // One that is set already (in a test) stays.
    let _ = subscriber.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

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
