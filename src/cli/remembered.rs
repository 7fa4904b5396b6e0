//! The state of a share, so that it has the same link when it is started again, and the history of what
//! was typed.
//!
//! In the user's directory for state (`$XDG_STATE_HOME/rtmfp`, otherwise `~/.local/state/rtmfp`) lie a
//! secret and a small file for each share, named by a hash of the secret and of what is shared. That
//! file is locked while the share runs: two processes cannot have the same peer ID at once.

use anyhow::{Context, bail, ensure};
use rtmfp::driver::{Access, os_random, write_whole};
use rtmfp::peer::Seed;
use rtmfp::vod::{Digest256, ShareLink};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes of the secret.
const SECRET: usize = 32;
/// Bytes that are read of a share's file; a link is a few hundred long.
const MAX_FILE: u64 = 64 << 10;

/// The state of one share.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// Locked as long as this lives.
    file: File,
    path: PathBuf,
    seed: Seed,
    /// As secret as the seed.
    base: [u8; 32],
    salt: Digest256,
    link: Option<ShareLink>,
}

/// The directory for state of this user.
///
/// # Errors
///
/// No variable names one.
pub(crate) fn directory() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let (home, below) = match cfg!(windows) {
        true => ("LOCALAPPDATA", "rtmfp/state"),
        false => ("HOME", ".local/state/rtmfp"),
    };
    let state = variable("XDG_STATE_HOME").map(|state| state.join("rtmfp"));
    state
        .or_else(|| Some(variable(home)?.join(below)))
        .with_context(|| format!("neither XDG_STATE_HOME nor {home} is set"))
}

/// The file with the lines that were typed in earlier runs. It need not exist.
///
/// # Errors
///
/// The directory cannot be used.
pub(crate) fn history() -> anyhow::Result<PathBuf> {
    let directory = directory()?;
    make_private(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory.join("history"))
}

/// Opens the state of the share that `key` stands for; `is_new` discards earlier state. `None` if
/// another process shares the same.
///
/// # Errors
///
/// The directory cannot be used.
pub(crate) fn open(
    directory: &Path,
    key: &str,
    is_new: bool,
) -> anyhow::Result<Option<Remembered>> {
    let shares = directory.join("shares");
    make_private(&shares).with_context(|| format!("cannot make {}", shares.display()))?;
    let secret = secret(&directory.join("secret"))?;
    let derive = |purpose: &str, more: &str| {
        Digest256::of(
            &[purpose.as_bytes(), b"\0", &secret, key.as_bytes(), more.as_bytes()].concat(),
        )
    };
    let path = shares.join(derive("name", "").to_string());
    let cannot = || format!("cannot open {}", path.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).with_context(cannot)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    let mut text = String::new();
    // An unreadable file counts as empty.
    let _ = (&file).take(MAX_FILE).read_to_string(&mut text);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let mut salt = value("salt ").and_then(|salt| salt.parse().ok()).unwrap_or(Digest256([0; 32]));
    let mut link = value("link ").and_then(|link| link.parse().ok());
    if is_new {
        os_random().fill_bytes(&mut salt.0);
        link = None;
    }
    let seed = Seed::new(derive("seed", &salt.to_string()).0);
    let base = derive("groups", &salt.to_string()).0;
    Ok(Some(Remembered { file, path, seed, base, salt, link }))
}

impl Remembered {
    /// The seed of identity and group.
    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// A seed for one of several groups of the same member.
    pub(crate) fn seed_for(&self, what: &str) -> Seed {
        Seed::new(Digest256::of(&[b"group\0", &self.base[..], what.as_bytes()].concat()).0)
    }

    /// The link of the last time.
    pub(crate) fn link(&self) -> Option<&ShareLink> {
        self.link.as_ref()
    }

    /// Notes the link for the next time.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn note(&mut self, link: &ShareLink) -> anyhow::Result<()> {
        let text = format!("salt {}\nlink {link}\n", self.salt);
        let mut write = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(text.as_bytes())?;
            self.file.set_len(text.len() as u64)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))?;
        self.link = Some(link.clone());
        Ok(())
    }
}

/// The user's secret, in the directory for state, which is made if there is none.
///
/// # Errors
///
/// The directory cannot be used.
pub(crate) fn user_secret(directory: &Path) -> anyhow::Result<Vec<u8>> {
    make_private(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    secret(&directory.join("secret"))
}

/// The user's secret; made if there is none. Of several processes that make one, the first wins.
fn secret(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = |action| format!("cannot {action} {}", path.display());
    loop {
        match fs::read(path) {
            Ok(secret) => {
                ensure!(
                    secret.len() == SECRET,
                    "{} is not a secret of this program: delete it",
                    path.display()
                );
                return Ok(secret);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(cannot("read")),
        }
        let mut secret = vec![0; SECRET];
        os_random().fill_bytes(&mut secret);
        match write_whole(path, &secret, Access::Private, false) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.exists() => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is a link that leads nowhere", path.display())
            }
            Err(error) => return Err(error).context(cannot("write")),
        }
    }
}

fn make_private(directory: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(directory: &Path, key: &str, is_new: bool) -> Remembered {
        open(directory, key, is_new).unwrap().expect("not in use")
    }

    fn peer_id(remembered: &Remembered) -> String {
        // What follows from the seed is what counts; the seed itself is not shown.
        remembered.salt.to_string() + &remembered.path.display().to_string()
    }

    #[test]
    fn a_share_is_remembered_until_a_new_one_is_asked_for() {
        let state = tempfile::tempdir().unwrap();
        let link: ShareLink =
            "rtmfp-share://192.0.2.7:7777/1/group=G:0102010c050e66696c6d00".parse().unwrap();
        let mut first = here(state.path(), "film", false);
        assert_eq!(first.link(), None);
        first.note(&link).unwrap();
        let before = peer_id(&first);
        drop(first);
        let second = here(state.path(), "film", false);
        assert_eq!((second.link(), peer_id(&second)), (Some(&link), before.clone()));
        assert_ne!(peer_id(&here(state.path(), "other", false)), before);
        drop(second);
        let mut third = here(state.path(), "film", true);
        assert_eq!(third.link(), None);
        assert_ne!(peer_id(&third), before);
        third.note(&link).unwrap();
        let new = peer_id(&third);
        drop(third);
        assert_eq!(peer_id(&here(state.path(), "film", false)), new, "the new one stays");
    }

    #[test]
    fn one_process_at_a_time_has_an_identity() {
        let state = tempfile::tempdir().unwrap();
        let _first = here(state.path(), "film", false);
        assert!(open(state.path(), "film", false).unwrap().is_none());
        assert!(open(state.path(), "other", false).unwrap().is_some());
    }

    #[test]
    fn the_secret_is_made_once_and_private() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("secret");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || secret(&path).unwrap())
            })
            .collect();
        let secrets: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(secrets.iter().all(|it| *it == secrets[0]) && secrets[0] != [0; SECRET]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "short").unwrap();
        assert!(open(state.path(), "film", false).is_err());
    }
}
