//! [`OriginError`].

#[cfg(feature = "origin")]
use crate::wire::Shown;
use std::time::Duration;

/// Why a file cannot be read from its origin. Texts of the server are cut to a reasonable length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// The text is not a URL that can be shared.
    #[error("{url:?} cannot be shared: {problem}")]
    Url {
        /// The URL, shortened.
        url: String,
        /// The problem.
        problem: String,
    },
    /// The server cannot be reached, or the connection has failed.
    #[error("cannot read from {host}: {reason}")]
    Connection {
        /// Host name and port; of one of several files, also its path.
        host: String,
        /// The reason.
        reason: String,
    },
    /// The server is silent, or slower than 4 KiB/s.
    #[error("{host} is too slow: nothing has come for {} s, or less than 4 KiB/s", waited.as_secs())]
    Slow {
        /// Host name and port; of one of several files, also its path.
        host: String,
        /// The time that a part may take.
        waited: Duration,
    },
    /// The server refuses.
    #[error("{host} answers with status {status}{}", explained(*status))]
    Status {
        /// Host name and port; of one of several files, also its path.
        host: String,
        /// HTTP status code.
        status: u16,
    },
    /// Too many redirects, or a redirect that is not followed.
    #[error("{host} redirects in a way that is not followed: {problem}")]
    Redirect {
        /// Host name and port; of one of several files, also its path.
        host: String,
        /// The problem.
        problem: &'static str,
    },
    /// The server does not state the length.
    #[error(
        "the web server does not state how long the file is, which those who fetch must know from the \
         beginning: download it and share the file"
    )]
    NoLength,
    /// The server states nothing by which a change would be noticed.
    #[error(
        "the web server states neither a strong ETag nor Last-Modified, so that a change of the file \
         would go unnoticed: download it and share the file"
    )]
    NoValidator,
    /// The server sends the content in an encoding that was not asked for.
    #[error("the web server sends the file compressed although that was not asked for")]
    Encoded,
    /// The file is not the one that the link means.
    #[error(
        "the file at {host} was changed ({what}): what others have is another version, so that nothing \
         of this one is shared under the link; share the URL again for a new link"
    )]
    Changed {
        /// Host name and port; of one of several files, also its path.
        host: String,
        /// What differs.
        what: &'static str,
    },
    /// The server ignores ranges, although it did not before.
    #[error("the web server sends the whole file instead of the part that was asked for")]
    RangeIgnored,
    /// The server's answer contradicts itself or the request.
    #[error("the web server's answer is wrong: {0}")]
    Contradiction(&'static str),
    /// The file has more chunks than a file may have.
    #[error("the file is too large")]
    TooLarge,
    /// The file has chunk hashes, and what came from the server does not match.
    #[error("what the web server sends is not the file of the link: a part has the wrong hash")]
    WrongHash,
    /// The file does not have the hash that the server states.
    #[error("what the web server sends does not have the SHA-256 that it states")]
    WrongFile,
    /// No link or group can be made, or a file cannot be written: the reason.
    #[error("{0}")]
    Local(String),
    /// The program was built without an HTTP client.
    #[error("this program was built without the feature `origin`: it reads from no web server")]
    NotBuilt,
}

impl OriginError {
    /// An error of this computer.
    pub(super) fn local(error: impl std::fmt::Display) -> Self {
        Self::Local(error.to_string())
    }

    /// The error of one of several files.
    #[cfg(feature = "origin")]
    pub(super) fn of_file(mut self, path: &str) -> Self {
        match &mut self {
            Self::Connection { host, .. }
            | Self::Slow { host, .. }
            | Self::Status { host, .. }
            | Self::Redirect { host, .. }
            | Self::Changed { host, .. } => *host = format!("{host} ({})", Shown::new(path)),
            Self::NoLength | Self::NoValidator | Self::Encoded | Self::TooLarge => {
                return Self::Url { url: Shown::new(path).to_string(), problem: self.to_string() };
            }
            _ => {}
        }
        self
    }

    /// True if reading again cannot help: the origin has another file.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Connection { .. }
                | Self::Slow { .. }
                | Self::Status { .. }
                | Self::Contradiction(_)
        )
    }
}

fn explained(status: u16) -> &'static str {
    match status {
        401 | 403 | 407 => " (not for everybody: only what needs no login can be shared)",
        404 | 410 => " (there is no such file)",
        429 | 503 => " (too busy)",
        _ => "",
    }
}
