//! `portcullis completions`, `man` and `openapi`: what packagers install beside the program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::failure::Failure;
use super::output::Output;

const NAME: &str = "portcullis";

/// Writes a shell's completions to stdout.
pub(super) fn completions(shell: Shell, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    output.text(&String::from_utf8_lossy(&script))
}

/// Writes the description of the HTTP API to stdout.
pub(super) fn openapi(output: &Output) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&crate::api::openapi::document())
        .map_err(|error| Failure::host(format!("the description can't be written: {error}")))?;
    output.line(&text)
}

/// Writes the manual: its first page to stdout, or a page for each command into a folder.
pub(super) fn man(folder: Option<PathBuf>, output: &Output) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
        return output.text(&String::from_utf8_lossy(&page));
    };
    let failed = |error: std::io::Error| {
        Failure::input(format!("the manual can't be written into {}: {error}", folder.display()))
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), &folder).map_err(failed)?;
    let pages = pages(&folder).map_err(failed)?;
    output.answer(&pages, |pages| {
        format!(
            "{} pages are in {}; `man -l {}` shows the first",
            pages.len(),
            folder.display(),
            shown(&folder)
        )
    })
}

fn shown(folder: &Path) -> String {
    folder.join(format!("{NAME}.1")).display().to_string()
}

/// The pages in a folder, made readable to all: unlike everything else that the program writes, they are
/// for others.
fn pages(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(NAME) && name.ends_with(".1") {
            std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o644))?;
            pages.push(name);
        }
    }
    pages.sort();
    Ok(pages)
}
