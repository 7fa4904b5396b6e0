//! The destination of `fetch`, determined and checked before anything is fetched.

use super::outcome::WrongUsage;
use super::screen;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use rtmfp::driver::{InOrder, OutputPath};
use rtmfp::vod::file_name::safe_file_name;
use rtmfp::vod::store::{check_destination, check_directory};
use rtmfp::vod::{Destination, ShareLink};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Advice for several files and an output that is written in order.
pub(crate) const SEVERAL_IN_ORDER: &str =
    "the link is for several files, which need a folder: choose one with -o FOLDER/";

/// The longest time that a pipe may have no reader.
const READER_PATIENCE: Duration = Duration::from_secs(30);
/// Interval at which a pipe is checked for a reader.
const READER_INTERVAL: Duration = Duration::from_millis(100);

/// The destination of a fetched file.
pub(crate) enum Output {
    /// Into a file.
    File(Destination),
    /// A destination that is written in order.
    Stream(Stream),
}

/// Standard output, a device, a pipe: bytes go there from the file's beginning to its end.
#[derive(Clone)]
pub(crate) struct Stream {
    name: Arc<str>,
    out: Arc<Mutex<Box<dyn Write + Send>>>,
}

impl Stream {
    pub(crate) fn new(name: &str, out: impl Write + Send + 'static) -> Self {
        Self { name: name.into(), out: Arc::new(Mutex::new(Box::new(out))) }
    }

    /// Writes the next bytes, on a thread where a slow reader keeps nothing else waiting.
    pub(crate) async fn write(&self, bytes: Bytes) -> anyhow::Result<()> {
        let out = Arc::clone(&self.out);
        let written = tokio::task::spawn_blocking(move || {
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            out.write_all(&bytes).and_then(|()| out.flush())
        });
        written.await?.with_context(|| format!("cannot write to {}", self.name))
    }
}

/// The destination of the file of `link` for the argument `path`. A directory that a final slash asks
/// for is made.
///
/// # Errors
///
/// Nothing can be written there.
pub(crate) async fn choose(path: Option<&Path>, link: &ShareLink) -> anyhow::Result<Output> {
    let Some(path) = path else { return into_directory(Path::new("."), link) };
    if path == Path::new("-") {
        refuse_several(link)?;
        return Ok(Output::Stream(Stream::new("standard output", std::io::stdout())));
    }
    let shown = path.display();
    let place = OutputPath::locate(path).with_context(|| format!("cannot write to {shown}"))?;
    match place {
        OutputPath::Directory(_) => into_directory(path, link),
        OutputPath::Missing(_) if names_directory(path) => {
            std::fs::create_dir_all(path)
                .with_context(|| format!("cannot make the directory {shown}"))?;
            into_directory(path, link)
        }
        OutputPath::Missing(_) | OutputPath::File(_) => {
            check_destination(path)?;
            Ok(Output::File(Destination::File(path.to_owned())))
        }
        OutputPath::InOrder(place) => {
            refuse_several(link)?;
            let file =
                open_in_order(&place).await.with_context(|| format!("cannot write to {shown}"))?;
            Ok(Output::Stream(Stream::new(&shown.to_string(), file)))
        }
    }
}

fn into_directory(directory: &Path, link: &ShareLink) -> anyhow::Result<Output> {
    check_directory(directory)?;
    // Several files may be there already, in a folder of their name.
    if let Some(name) = link.name.as_ref().filter(|_| link.files.is_none()) {
        check_destination(&directory.join(safe_file_name(name)))?;
    }
    Ok(Output::File(Destination::Directory(PathBuf::from(directory))))
}

/// Several files are not written one after the other as if they were one.
fn refuse_several(link: &ShareLink) -> anyhow::Result<()> {
    ensure!(link.files.is_none(), WrongUsage(SEVERAL_IN_ORDER.into()));
    Ok(())
}

/// True if the path ends like that of a directory.
fn names_directory(path: &Path) -> bool {
    let ends = |separator: char| path.as_os_str().as_encoded_bytes().ends_with(&[separator as u8]);
    ends('/') || ends(std::path::MAIN_SEPARATOR)
}

/// Opens a device or a pipe; a pipe's reader is waited for.
async fn open_in_order(place: &InOrder) -> anyhow::Result<File> {
    let mut tries = tokio::time::interval(READER_INTERVAL);
    let mut is_announced = false;
    let opened = async {
        loop {
            tries.tick().await;
            if let Some(file) = place.open()? {
                return Ok(file);
            }
            if !std::mem::replace(&mut is_announced, true) {
                let path = place.path().display();
                screen::line(&format!("{path} is a pipe: waiting for a program that reads it"));
            }
        }
    };
    match tokio::time::timeout(READER_PATIENCE, opened).await {
        Ok(opened) => opened,
        Err(_) => bail!("no program has read this pipe for {} s", READER_PATIENCE.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> ShareLink {
        let link = "rtmfp-share://192.0.2.7:1935/1/group=G:0102010c050e66696c6d00/name=";
        format!("{link}{name}").parse().unwrap()
    }

    async fn chosen(path: &Path) -> anyhow::Result<Destination> {
        match choose(Some(path), &link("film.mp4")).await? {
            Output::File(destination) => Ok(destination),
            Output::Stream(_) => panic!("{} is written to in order", path.display()),
        }
    }

    #[tokio::test]
    async fn a_slash_at_the_end_asks_for_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let videos = directory.path().join("my/videos/");
        assert_eq!(chosen(&videos).await.unwrap(), Destination::Directory(videos.clone()));
        assert!(videos.is_dir());
        let file = directory.path().join("my/film");
        assert_eq!(chosen(&file).await.unwrap(), Destination::File(file.clone()));
        std::fs::write(&file, "").unwrap();
        assert!(chosen(&directory.path().join("my/film/")).await.is_err());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_reported_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("film.mp4")).unwrap();
        // The name that the file was shared by is taken by a directory.
        assert!(chosen(directory.path()).await.is_err());
        let error = chosen(&at("none/film")).await.unwrap_err();
        assert!(format!("{error:#}").contains("none"), "{error:#}");
        assert!(chosen(&at(&"x".repeat(300))).await.is_err());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn devices_are_written_to_in_order() {
        let output = choose(Some(Path::new("/dev/null")), &link("film")).await.unwrap();
        let Output::Stream(stream) = output else { panic!("a file") };
        stream.write(Bytes::from_static(b"gone")).await.unwrap();
    }
}
