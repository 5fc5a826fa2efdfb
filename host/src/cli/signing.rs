//! `portcullis signing-key`, `sign` and `verify`: what authors do with keys, without a host.
//!
//! Files of keys and signatures are opened here; what they hold is judged in `signing`.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::arguments::{SignArguments, SigningKeyCommand, VerifySignatureArguments};
use super::exit::Exit;
use super::failure::Failure;
use super::input;
use super::output::Output;
use crate::ids::PackageDigest;
use crate::signing::{
    BUNDLE_BYTES_MAX, Claims, KeyId, PUBLIC_KEY_BYTES_MAX, PublicKey, SECRET_KEY_BYTES_MAX,
    SIGNATURE_BYTES_MAX, SIGNATURES_MAX, SecretKey, Signature, SignatureError,
};
use crate::text::clean_line;

/// How a signature's file ends.
pub(super) const SUFFIX: &str = ".minisig";
/// How a Sigstore bundle's file ends.
pub(super) const BUNDLE_SUFFIX: &str = ".sigstore.json";
/// The most entries of a folder that are looked at for signatures.
const ENTRIES_MAX: usize = 10_000;
/// How much of a trusted comment is shown.
const COMMENT_BYTES_MAX: usize = 1_000;

#[derive(Debug, Serialize)]
struct Key {
    key: KeyId,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key_file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Signed {
    file: PathBuf,
    digest: PackageDigest,
    key: KeyId,
    signature: PathBuf,
}

#[derive(Debug, Serialize)]
struct Verified {
    file: PathBuf,
    digest: PackageDigest,
    /// Whether each key that was named has signed, and no signature of theirs is wrong.
    ok: bool,
    signatures: Vec<VerifiedSignature>,
    /// The keys that were named and have not signed.
    missing: Vec<KeyId>,
}

#[derive(Debug, Serialize)]
struct VerifiedSignature {
    signature: PathBuf,
    /// None: it is a bundle of Sigstore, which is not looked at here.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    verdict: Verdict,
    /// What its signer said; none unless it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Valid,
    Invalid,
    /// By a key that was not named: not looked at.
    UnknownKey,
}

pub(super) async fn key(command: SigningKeyCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        SigningKeyCommand::Generate { file, password_file, unencrypted } => {
            generate(file, password_file, unencrypted, output).await
        }
        SigningKeyCommand::Show { file, password_file } => show(file, password_file, output).await,
    }
}

async fn generate(
    file: PathBuf,
    password_file: Option<PathBuf>,
    unencrypted: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let public_file = match file.extension() {
        Some(extension) if extension == "key" => file.with_extension("pub"),
        Some(_) | None => beside(&file, ".pub"),
    };
    for path in [&file, &public_file] {
        // A key that is lost can't be made again.
        if path.symlink_metadata().is_ok() {
            return Err(Failure::input(format!(
                "{} is there already; keys are never replaced",
                path.display()
            )));
        }
    }
    let password = if unencrypted { None } else { Some(new_password(password_file).await?) };
    let written = on_thread(move || SecretKey::generate(password.as_ref().map(|text| text.as_str()))).await?;
    let written = written.map_err(|error| Failure::input(error.to_string()))?;
    create(&file, written.secret.as_bytes(), 0o600)?;
    create(&public_file, written.public.to_file().as_bytes(), 0o644)?;
    let key = Key {
        key: written.public.id(),
        public_key: written.public.to_string(),
        secret_key_file: Some(file),
        public_key_file: Some(public_file),
    };
    output.answer(&key, |key| {
        let path =
            |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        format!(
            "key           {}\nsecret key    {} (keep it: nobody can make it again)\npublic key    {}\n{}",
            key.key,
            path(&key.secret_key_file),
            path(&key.public_key_file),
            key.public_key
        )
    })?;
    Ok(Exit::Ok)
}

async fn show(file: PathBuf, password_file: Option<PathBuf>, output: &Output) -> Result<Exit, Failure> {
    let text = Zeroizing::new(input::text(file, SECRET_KEY_BYTES_MAX.max(PUBLIC_KEY_BYTES_MAX)).await?);
    let public = match text.parse::<PublicKey>() {
        Ok(key) => key,
        Err(_) => open(text, password_file).await?.public().clone(),
    };
    let key = Key {
        key: public.id(),
        public_key: public.to_string(),
        secret_key_file: None,
        public_key_file: None,
    };
    output.answer(&key, |key| format!("key         {}\npublic key  {}", key.key, key.public_key))?;
    Ok(Exit::Ok)
}

/// Opens a secret key, with its password if it needs one.
async fn open(text: Zeroizing<String>, password_file: Option<PathBuf>) -> Result<SecretKey, Failure> {
    let refused = |error: crate::signing::SigningError| Failure::input(error.to_string());
    let is_encrypted = SecretKey::is_encrypted(&text).map_err(refused)?;
    let password = match is_encrypted {
        true => Some(password(password_file, "password of the secret key: ").await?),
        false => None,
    };
    let read = move || SecretKey::read(&text, password.as_ref().map(|text| text.as_str()));
    on_thread(read).await?.map_err(refused)
}

async fn new_password(file: Option<PathBuf>) -> Result<Zeroizing<String>, Failure> {
    let is_typed = file.is_none();
    let first = password(file, "password for the new key: ").await?;
    if is_typed && password(None, "the same once more: ").await? != first {
        return Err(Failure::input("the two passwords differ"));
    }
    Ok(first)
}

async fn password(file: Option<PathBuf>, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if file.is_none() && !std::io::stdin().is_terminal() {
        return Err(Failure::input(
            "there is no terminal to ask for the password at: give --password-file FILE (- for stdin)",
        ));
    }
    let bytes = input::secret(file, prompt).await?;
    let text = String::from_utf8(bytes.to_vec());
    text.map(Zeroizing::new).map_err(|_| Failure::input("the password is not UTF-8 text"))
}

pub(super) async fn sign(arguments: SignArguments, output: &Output) -> Result<Exit, Failure> {
    let SignArguments { file, secret_key, password_file, name, version, out, force } = arguments;
    let out = out.unwrap_or_else(|| beside(&file, SUFFIX));
    if !force && out.symlink_metadata().is_ok() {
        return Err(Failure::input(format!(
            "{} is there already; --out names another file for one more signature, --force replaces it",
            out.display()
        )));
    }
    let bytes = input::component(file.clone()).await?;
    let secret = Zeroizing::new(input::text(secret_key, SECRET_KEY_BYTES_MAX).await?);
    let key = open(secret, password_file).await?;
    let digest = PackageDigest::of(&bytes);
    let claims = Claims {
        timestamp: u64::try_from(Timestamp::now().as_second()).ok(),
        file: file.file_name().map(|name| name.to_string_lossy().into_owned()),
        package: name.map(String::from),
        version: version.map(|version| version.to_string()),
        digest: Some(digest),
    };
    let key_id = key.public().id();
    let signature = on_thread(move || key.sign(&bytes, &claims)).await?;
    let signature = signature.map_err(|error| Failure::input(error.to_string()))?;
    if force {
        replace(&out, signature.as_str().as_bytes())?;
    } else {
        create(&out, signature.as_str().as_bytes(), 0o644)?;
    }
    let signed = Signed { file, digest, key: key_id, signature: out };
    output.answer(&signed, |signed| {
        let Signed { file, digest, key, signature } = signed;
        format!(
            "signed      {}\ndigest      {digest}\nkey         {key}\nsignature   {}",
            file.display(),
            signature.display()
        )
    })?;
    Ok(Exit::Ok)
}

pub(super) async fn verify(arguments: VerifySignatureArguments, output: &Output) -> Result<Exit, Failure> {
    let VerifySignatureArguments { file, public_key, signature } = arguments;
    let mut keys = Vec::new();
    for given in public_key {
        keys.push(public_key_of(given).await?);
    }
    let bytes = input::component(file.clone()).await?;
    let signatures = signatures(&file, &signature).await?;
    let verified = on_thread(move || judge(file, &keys, &bytes, signatures)).await?;
    let ok = verified.ok;
    output.answer(&verified, told)?;
    Ok(if ok { Exit::Ok } else { Exit::NotVerified })
}

fn judge(file: PathBuf, keys: &[PublicKey], bytes: &[u8], signatures: Vec<(PathBuf, Signature)>) -> Verified {
    let mut missing: Vec<KeyId> = keys.iter().map(PublicKey::id).collect();
    let mut judged = Vec::new();
    for (path, signature) in signatures {
        let mut of_number = keys.iter().filter(|key| Some(key.id()) == signature.key()).peekable();
        let verdict = if of_number.peek().is_none() {
            Verdict::UnknownKey
        } else if of_number.any(|key| signature.verify(key, bytes).is_ok()) {
            missing.retain(|key| Some(*key) != signature.key());
            Verdict::Valid
        } else {
            Verdict::Invalid
        };
        let comment = (verdict == Verdict::Valid).then(|| clean_line(signature.comment(), COMMENT_BYTES_MAX));
        judged.push(VerifiedSignature { signature: path, key: signature.key(), verdict, comment });
    }
    let ok = missing.is_empty() && judged.iter().all(|one| one.verdict != Verdict::Invalid);
    Verified { file, digest: PackageDigest::of(bytes), ok, signatures: judged, missing }
}

fn told(verified: &Verified) -> String {
    let mut lines = vec![format!("{} {}", verified.file.display(), verified.digest)];
    for VerifiedSignature { signature, key, verdict, comment } in &verified.signatures {
        let verdict = match verdict {
            Verdict::Valid => "valid",
            Verdict::Invalid => "NOT VALID",
            Verdict::UnknownKey => "by a key that was not named: not looked at",
        };
        lines.push(match key {
            Some(key) => format!("{}: key {key}: {verdict}", signature.display()),
            None => format!(
                "{}: a bundle of Sigstore, which a host's trust policy is held against",
                signature.display()
            ),
        });
        lines.extend(comment.iter().map(|comment| format!("  it says: {comment}")));
    }
    lines.extend(verified.missing.iter().map(|key| format!("key {key} has made no valid signature of it")));
    lines.join("\n")
}

/// A public key by its file, or by its line.
async fn public_key_of(given: String) -> Result<PublicKey, Failure> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let text = input::text(PathBuf::from(&given), PUBLIC_KEY_BYTES_MAX).await?;
    text.parse().map_err(|error: crate::signing::SigningError| Failure::input(format!("{given}: {error}")))
}

/// The signatures of a component: those that are named, as files or folders; else those beside it.
pub(super) async fn signatures(
    component: &Path,
    named: &[PathBuf],
) -> Result<Vec<(PathBuf, Signature)>, Failure> {
    let mut files = Vec::new();
    if named.is_empty() {
        files = beside_component(component)?;
    }
    for path in named {
        if path.is_dir() {
            files.extend(in_folder(path, is_signature)?);
        } else {
            files.push(path.clone());
        }
    }
    if files.len() > SIGNATURES_MAX {
        return Err(Failure::input(format!(
            "{} signatures are there, at most {SIGNATURES_MAX} are read",
            files.len()
        )));
    }
    let mut signatures = Vec::new();
    for file in files {
        let text = input::text(file.clone(), SIGNATURE_BYTES_MAX.max(BUNDLE_BYTES_MAX)).await?;
        let signature = text
            .parse()
            .map_err(|error: SignatureError| Failure::input(format!("{}: {error}", file.display())))?;
        signatures.push((file, signature));
    }
    Ok(signatures)
}

/// `FILE.minisig` and `FILE.*.minisig`, and bundles: `FILE.sigstore.json` and `FILE.*.sigstore.json`.
fn beside_component(component: &Path) -> Result<Vec<PathBuf>, Failure> {
    beside_named(component, is_signature)
}

/// The files beside a component whose names begin with its own, and fit.
pub(super) fn beside_named(component: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let Some(name) = component.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let folder = match component.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let start = format!("{name}.");
    in_folder(folder, |entry| entry.starts_with(&start) && fits(entry))
}

fn is_signature(name: &str) -> bool {
    name.ends_with(SUFFIX) || name.ends_with(BUNDLE_SUFFIX)
}

fn in_folder(folder: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let unusable = |error: std::io::Error| Failure::input(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for (index, entry) in std::fs::read_dir(folder).map_err(unusable)?.enumerate() {
        if index >= ENTRIES_MAX {
            let detail = format!("{} has more than {ENTRIES_MAX} entries: name the files", folder.display());
            return Err(Failure::input(detail));
        }
        let entry = entry.map_err(unusable)?;
        if entry.file_name().to_str().is_some_and(&fits) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// The path with something at its end.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Writes a file that is not there yet.
pub(super) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let written = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(|error: std::io::Error| {
        Failure::input(format!("{} can't be written: {error}", path.display()))
    })
}

/// Puts a whole file in the place of another.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let written = || {
        let mut file = tempfile::Builder::new().prefix(".portcullis-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    written().map_err(|error: std::io::Error| {
        Failure::input(format!("{} can't be written: {error}", path.display()))
    })
}

/// Does what takes its time on a thread of its own, so that a signal ends the wait.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|error| Failure::host(format!("it was not done to its end: {error}")))
}
