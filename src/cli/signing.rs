//! Keys that sign links: `share --sign`, `fetch --signed-by`.

use super::screen;
use anyhow::{Context, anyhow, ensure};
use rtmfp::driver::{Access, os_random, write_whole};
use rtmfp::vod::{Digest256, LinkKey, PublicKey, ShareLink};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The first word of a file with a secret key.
const MAGIC: &str = "rtmfp-signing-key";
/// The longest file of keys that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The secret key in a file, which is made if there is none.
///
/// # Errors
///
/// The file cannot be read or made, or has no key.
pub(crate) fn open(path: &Path) -> anyhow::Result<LinkKey> {
    let shown = path.display();
    match read(path) {
        Ok(text) => {
            let digits = text.trim().strip_prefix(MAGIC).unwrap_or_default().trim();
            let secret: Digest256 = digits.parse().map_err(|_| {
                anyhow!("{shown} has no key for signing: name another file, one that does not exist is made")
            })?;
            warn_if_others_may_read(path);
            Ok(LinkKey::new(secret.0))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut secret = Digest256([0; 32]);
            os_random().fill_bytes(&mut secret.0);
            write_whole(path, format!("{MAGIC} {secret}\n").as_bytes(), Access::Private, false)
                .with_context(|| format!("cannot make a key for signing in {shown}"))?;
            let key = LinkKey::new(secret.0);
            screen::line(&format!(
                "made a key for signing in {shown}: keep it, and keep it secret"
            ));
            screen::line(&format!("others know your links by --signed-by {}", key.public()));
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn warn_if_others_may_read(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = path.metadata().map_or(0, |found| found.permissions().mode());
        if mode & 0o077 != 0 {
            let path = path.display();
            screen::line(&format!("WARNING: others may read the key in {path}: chmod 600 {path}"));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Whose links are fetched.
#[derive(Debug, Clone)]
pub(crate) enum SignedBy {
    /// One public key.
    Key(PublicKey),
    /// A file with one public key a line, a name after it if you like.
    File(PathBuf),
}

/// Reads the argument of `--signed-by`.
pub(crate) fn parse(text: &str) -> Result<SignedBy, String> {
    match text.parse() {
        Ok(key) => Ok(SignedBy::Key(key)),
        Err(_) if Path::new(text).is_file() => Ok(SignedBy::File(text.into())),
        Err(_) => {
            Err("neither a public key of 64 hexadecimal digits nor a file of such keys".into())
        }
    }
}

/// Reports who has signed a link.
///
/// # Errors
///
/// Nobody whose links are wanted.
pub(crate) fn check(link: &ShareLink, wanted: Option<&SignedBy>) -> anyhow::Result<()> {
    check_key(link.signature.map(|signature| signature.key), wanted)
}

/// The same of the key that has signed.
///
/// # Errors
///
/// As [`check`].
pub(crate) fn check_key(
    signed: Option<PublicKey>,
    wanted: Option<&SignedBy>,
) -> anyhow::Result<()> {
    let names = match wanted {
        None => Vec::new(),
        Some(SignedBy::Key(key)) => vec![(*key, String::new())],
        Some(SignedBy::File(path)) => keys(path)?,
    };
    let found = names.iter().find(|(key, _)| Some(*key) == signed);
    match (signed, found) {
        (None, _) => {
            ensure!(wanted.is_none(), "the link is not signed, and --signed-by asks for it")
        }
        (Some(key), None) => {
            ensure!(
                wanted.is_none(),
                "the link is signed by {key}, which --signed-by does not name"
            );
            screen::line(&format!("the link is signed by {key}"));
        }
        (Some(key), Some((_, name))) if name.is_empty() => {
            screen::line(&format!("the link is signed by {key}, as asked"));
        }
        (Some(key), Some((_, name))) => {
            screen::line(&format!("the link is signed by {name} ({key})"));
        }
    }
    Ok(())
}

/// The public keys in a file, with what is written behind them.
fn keys(path: &Path) -> anyhow::Result<Vec<(PublicKey, String)>> {
    let shown = path.display();
    let text = read(path).with_context(|| format!("cannot read {shown}"))?;
    let mut keys = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let key = key.parse().map_err(|error| anyhow!("{shown}, line {}: {error}", number + 1))?;
        keys.push((key, name.trim().to_owned()));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = open(&path).unwrap().public();
        assert_eq!(open(&path).unwrap().public(), made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_ne!(open(&dir.path().join("other")).unwrap().public(), made);
        fs::write(&path, "something else").unwrap();
        assert!(open(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "something else");
    }

    #[test]
    fn only_wanted_keys_are_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (LinkKey::new([1; 32]), LinkKey::new([2; 32]));
        let descriptor = Digest256::of(b"it");
        let unsigned: ShareLink = format!(
            "rtmfp-share://192.0.2.7/1/group=G:0102010c050e66696c6d00/descriptor={descriptor}"
        )
        .parse()
        .unwrap();
        let signed = ShareLink { signature: ours.sign(&unsigned), ..unsigned.clone() };
        let wanted = |text: &str| parse(text).unwrap();
        assert!(check(&signed, None).is_ok() && check(&unsigned, None).is_ok());
        assert!(check(&signed, Some(&wanted(&ours.public().to_string()))).is_ok());
        assert!(check(&signed, Some(&wanted(&theirs.public().to_string()))).is_err());
        assert!(check(&unsigned, Some(&wanted(&ours.public().to_string()))).is_err());
        let file = dir.path().join("friends");
        fs::write(&file, format!("# friends\n{}\n\n{} Ada\n", theirs.public(), ours.public()))
            .unwrap();
        assert!(check(&signed, Some(&wanted(file.to_str().unwrap()))).is_ok());
        fs::write(&file, "no key").unwrap();
        assert!(check(&signed, Some(&wanted(file.to_str().unwrap()))).is_err());
        assert!(parse("nonsense").is_err());
    }
}
