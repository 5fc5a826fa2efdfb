//! The files of the demo: all in `target/demo`, made anew each time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::folders::Folders;
use crate::guests::hex;

/// What stands in the file beside the granted folders, and must never be seen.
pub(crate) const SECRET: &str = "this is not for tools";

/// Put beside the data, so that nothing but a folder of ours is ever removed.
const MARK: &str = "this-folder-is-made-by-cargo-xtask-demo";

const GRANTS: &str = r#"# Who may use what. `host_path` is relative to this file.
[[grant]]
package = "markdown"
agents = ["writer"]

[[grant]]
package = "dependency-report"
agents = ["auditor"]

[[grant.filesystem]]
host_path = "files/project"
guest_path = "/project"
access = "read"

[[grant]]
package = "notes"
agents = ["writer", "reader"]

[[grant.filesystem]]
host_path = "files/notes"
guest_path = "/notes"
access = "read-write"
quota = "4MiB"
files_max = 1_000

[[grant]]
package = "hostile"
agents = ["tester"]
limits = { wall_time = "2s", memory = "32MiB", host_calls = 10_000, output = "64KiB", stdio = "4KiB" }

[[grant.filesystem]]
host_path = "files/bait"
guest_path = "/data"
access = "read-write"
quota = "1MiB"

[[grant]]
package = "counter"
agents = ["analyst"]

[[grant.keyvalue]]
store = "counters"
scope = "package"
access = "read-write"
quota = "64KiB"

[grant.config]
step_max = "100"

[[grant]]
package = "csv-page"
agents = ["analyst", "writer"]

[[grant.invoke]]
package = "csv-report"
tools = ["summarise"]

[[grant.invoke]]
package = "markdown"
tools = ["render"]

[[grant]]
package = "csv-report"
agents = ["analyst"]
tools = ["summarise"]

[[grant]]
package = "markdown"
agents = ["analyst"]
tools = ["render"]
"#;

const WRONG_GRANTS: &str = r#"# The fourth line has a key that does not exist.
[[grant]]
package = "markdown"
acess = ["writer"]
"#;

/// A component without anything in it has these bytes; the second half of a module's are others.
const CORE_MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

/// The folder.
#[derive(Debug)]
pub(crate) struct DemoFolder {
    root: PathBuf,
    guests: PathBuf,
    data: PathBuf,
}

impl DemoFolder {
    /// Makes it, in the place of that of an earlier run.
    pub(crate) fn make(folders: &Folders) -> Result<Self> {
        let root = folders.target.join("demo");
        if root.exists() {
            if !root.join(MARK).is_file() {
                bail!("{} is there, and not ours to remove", root.display());
            }
            fs::remove_dir_all(&root).with_context(|| format!("removing {}", root.display()))?;
        }
        for folder in ["files/project", "files/notes", "files/bait", "input"] {
            fs::create_dir_all(root.join(folder)).with_context(|| format!("making {}", root.display()))?;
        }
        fs::write(root.join(MARK), "")?;
        fs::copy(folders.root.join("Cargo.lock"), root.join("files/project/Cargo.lock"))?;
        fs::write(root.join("files/secret.txt"), SECRET)?;
        fs::write(root.join("grants.toml"), GRANTS)?;
        Ok(Self { guests: folders.guests(), data: root.join("data"), root })
    }

    /// The host's data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The grants of the demo.
    pub(crate) fn grants(&self) -> PathBuf {
        self.root.join("grants.toml")
    }

    /// Grants with a mistake.
    pub(crate) fn wrong_grants(&self) -> Result<PathBuf> {
        self.input("wrong-grants.toml", WRONG_GRANTS.as_bytes())
    }

    /// A module that is no component.
    pub(crate) fn core_module(&self) -> Result<PathBuf> {
        self.input("module.wasm", &CORE_MODULE)
    }

    /// A file without bytes.
    pub(crate) fn empty(&self) -> Result<PathBuf> {
        self.input("empty.wasm", &[])
    }

    /// The first half of a component.
    pub(crate) fn truncated(&self) -> Result<PathBuf> {
        let whole = self.guest("markdown")?;
        self.input("truncated.wasm", &whole[..whole.len() / 2])
    }

    /// The component of the notes with one custom section more: other bytes, the same tools.
    pub(crate) fn changed_component(&self) -> Result<PathBuf> {
        self.input("changed-notes.wasm", &self.changed()?)
    }

    /// The hash of that.
    pub(crate) fn changed_digest(&self) -> Result<String> {
        Ok(format!("sha256:{}", hex(&Sha256::digest(self.changed()?))))
    }

    /// A copy of the log in which one record says something else.
    pub(crate) fn forged_log(&self) -> Result<PathBuf> {
        let forged = self.root.join("input/forged");
        fs::create_dir_all(&forged)?;
        for entry in fs::read_dir(self.data.join("audit"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), forged.join(entry.file_name()))?;
            }
        }
        let segment = forged.join("00000000000000000000.jsonl");
        let honest =
            fs::read_to_string(&segment).with_context(|| format!("reading {}", segment.display()))?;
        fs::write(&segment, honest.replacen("\"tester\"", "\"nobody\"", 1))?;
        Ok(forged)
    }

    /// The component of the notes, as its author has it.
    pub(crate) fn notes(&self) -> Result<PathBuf> {
        self.input("notes.wasm", &fs::read(self.guests.join("notes.wasm"))?)
    }

    /// Where the author's secret key goes; the public one is beside it.
    pub(crate) fn author_key(&self) -> PathBuf {
        self.root.join("input/author.key")
    }

    /// A trust policy by which that author must have signed the notes.
    pub(crate) fn trust(&self) -> Result<PathBuf> {
        let public = self.author_key().with_extension("pub");
        let text = fs::read_to_string(&public).with_context(|| format!("reading {}", public.display()))?;
        let key = text.lines().nth(1).context("the second line is the key")?;
        let keys = format!("[keys]\nann = \"{key}\"\n");
        let packages = "[[package]]\nnames = [\"notes\"]\nsigners = [\"ann\"]\n";
        self.input("trust.toml", format!("uncovered = \"unsigned\"\n\n{keys}\n{packages}").as_bytes())
    }

    /// Where a receipt is written.
    pub(crate) fn receipt(&self) -> PathBuf {
        self.root.join("input/receipt.json")
    }

    /// A copy of the public key of the log, as somebody else keeps it.
    pub(crate) fn first_key(&self) -> Result<PathBuf> {
        let kept = self.root.join("input/first-audit.pub");
        fs::copy(self.data.join("audit.pub"), &kept)?;
        Ok(kept)
    }

    /// The file that holds a note.
    pub(crate) fn note(&self, name: &str) -> Result<String> {
        let file = self.root.join(format!("files/notes/{name}.txt"));
        fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))
    }

    /// Whether the hostile tool left a symbolic link in its folder.
    pub(crate) fn bait_has_link(&self) -> bool {
        fs::symlink_metadata(self.root.join("files/bait/innocent.txt")).is_ok()
    }

    /// What to try next.
    pub(crate) fn look_around(&self, program: &Path) -> String {
        let relative = |path: &Path| match std::env::current_dir() {
            Ok(here) => path.strip_prefix(&here).unwrap_or(path).display().to_string(),
            Err(_) => path.display().to_string(),
        };
        let (root, program) = (relative(&self.root), relative(program));
        format!(
            "Look around:\n  \
             {root}/files            what the tools were given; files/secret.txt is beside it\n  \
             {root}/grants.toml      the grants\n  \
             {root}/data/audit       the log: one JSON record a line, for `less` or `jq`\n\n  \
             alias portcullis='{program} --data-dir {root}/data'\n  \
             portcullis package list\n  \
             portcullis grant list\n  \
             portcullis call notes list --as writer\n  \
             portcullis audit tail"
        )
    }

    fn changed(&self) -> Result<Vec<u8>> {
        let mut bytes = self.guest("notes")?;
        // Custom section, six bytes long, whose name has four letters, with one byte of content.
        bytes.extend([0, 6, 4, b'd', b'e', b'm', b'o', 1]);
        Ok(bytes)
    }

    fn guest(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.guests.join(format!("{name}.wasm"));
        fs::read(&file).with_context(|| format!("reading {}", file.display()))
    }

    fn input(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let file = self.root.join("input").join(name);
        fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }
}
