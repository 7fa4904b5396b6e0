//! The directory to which streams, objects and posts are written.

use crate::cli::output_file::InUse;
use anyhow::Context;
use rtmfp::trace::extract::Sink;
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Files that stay open.
const MAX_OPEN: usize = 32;

pub(super) struct Directory {
    path: PathBuf,
    /// The most recently used file is last.
    open: Vec<(String, File)>,
    /// Names of files that this run made.
    made: HashSet<String>,
    /// Files that are not written to.
    in_use: InUse,
}

impl Directory {
    pub(super) fn create(path: &Path, in_use: InUse) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path: path.to_owned(), open: Vec::new(), made: HashSet::new(), in_use })
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        match self.open.iter().position(|(open, _)| open == name) {
            Some(at) => {
                let entry = self.open.remove(at);
                self.open.push(entry);
            }
            None => {
                if self.open.len() == MAX_OPEN {
                    self.open.remove(0);
                }
                let path = self.path.join(name);
                if let Some(what) = self.in_use.find(&path) {
                    let why = format!("{} is {what}: choose another directory", path.display());
                    return Err(io::Error::other(why));
                }
                let mut options = OpenOptions::new();
                // Files of an earlier run are not appended to.
                match self.made.insert(name.to_owned()) {
                    true => options.write(true).create(true).truncate(true),
                    false => options.append(true),
                };
                let file = options.open(path)?;
                self.open.push((name.to_owned(), file));
            }
        }
        self.open.last_mut().map(|(_, file)| file).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Sink for Directory {
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }
}
