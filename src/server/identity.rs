//! The file that keeps a server's certificate and keys.

use super::{IdentityFileError, ServerConfig};
use crate::crypto::Identity;
use crate::driver::{Access, OutputPath, write_whole};
use rand_core::CryptoRng;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use tracing::info;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes; a saved identity has some hundred, with static keys in
/// every group about two thousand.
const MAX_FILE: u64 = 64 * 1024;

/// The identity of the file that `config` names, or a new one.
pub(super) fn obtain(
    config: &ServerConfig,
    random: &mut dyn CryptoRng,
) -> Result<Identity, IdentityFileError> {
    let Some(path) = &config.identity_file else {
        return Ok(Identity::generate(&config.identity, random));
    };
    match read(path) {
        Ok(bytes) => Identity::restore(&bytes)
            .map_err(|source| IdentityFileError::Content { path: path.clone(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let identity = Identity::generate(&config.identity, random);
            create(path, &identity.save())
                .map_err(|source| IdentityFileError::Write { path: path.clone(), source })?;
            info!("made the identity file {}", path.display());
            Ok(identity)
        }
        Err(source) => Err(IdentityFileError::Read { path: path.clone(), source }),
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Creates the file, at a dangling link its target. A file that appears meanwhile is not replaced.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match OutputPath::locate(path)? {
        OutputPath::Missing(path) => write_whole(&path, bytes, Access::Private, false),
        _ => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{IdentityConfig, KeyStyle};
    use crate::driver::os_random;
    use std::fs;

    fn config(path: &Path, keys: KeyStyle) -> ServerConfig {
        ServerConfig {
            identity: IdentityConfig { keys, ..Default::default() },
            identity_file: Some(path.to_owned()),
            ..Default::default()
        }
    }

    #[test]
    fn the_second_start_has_the_certificate_of_the_first() {
        for keys in [KeyStyle::Ephemeral, KeyStyle::Static] {
            let directory = tempfile::tempdir().unwrap();
            let config = config(&directory.path().join("identity"), keys);
            let first = obtain(&config, &mut *os_random()).unwrap();
            let second = obtain(&config, &mut *os_random()).unwrap();
            assert_eq!(first.certificate(), second.certificate());
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        obtain(&config(&path, KeyStyle::Static), &mut *os_random()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_its_target_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("link.new"), "somebody's").unwrap();
        std::os::unix::fs::symlink("identity", at("link")).unwrap();
        obtain(&config(&at("link"), KeyStyle::Ephemeral), &mut *os_random()).unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert!(fs::metadata(at("identity")).unwrap().len() > 0);
        assert_eq!(fs::read_to_string(at("link.new")).unwrap(), "somebody's");
        let device = config(Path::new("/dev/null"), KeyStyle::Ephemeral);
        assert!(obtain(&device, &mut *os_random()).is_err());
    }

    #[test]
    fn another_file_is_refused_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("diary");
        fs::write(&path, "dear diary").unwrap();
        let error = obtain(&config(&path, KeyStyle::Static), &mut *os_random()).unwrap_err();
        assert!(matches!(error, IdentityFileError::Content { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
        let nowhere = directory.path().join("no/such/folder");
        let error = obtain(&config(&nowhere, KeyStyle::Static), &mut *os_random()).unwrap_err();
        assert!(matches!(error, IdentityFileError::Write { .. }), "{error}");
    }
}
