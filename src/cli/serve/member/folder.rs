//! What the folder of `--seed` has for a group.

use crate::cli::library::{self, Content, Entry, INTERVAL};
use crate::cli::object_file::{index_of, max_content};
use rtmfp::vod::Digest256;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// The entries of a folder by name; `None` while one is being written.
pub(super) type Entries = BTreeMap<String, Option<Entry>>;

/// The same, for all groups.
pub(super) type Listing = Arc<Entries>;

/// Reads the folder again and again, and publishes what is in it. What has not stayed the same from one
/// time to the next is being written. A folder that is gone for a while, on a disk that was taken away, is
/// an empty one.
pub(super) async fn follow(
    directory: PathBuf,
    mut before: BTreeMap<String, Entry>,
    listing: watch::Sender<Listing>,
) {
    let mut poll = tokio::time::interval(INTERVAL);
    // At once.
    poll.tick().await;
    loop {
        poll.tick().await;
        let now = library::list(directory.clone()).await.unwrap_or_default();
        let settled = |(name, entry): (&String, &Entry)| {
            let is_settled = before.get(name).is_some_and(|it| it.stamp == entry.stamp);
            (name.clone(), is_settled.then(|| entry.clone()))
        };
        let entries: Entries = now.iter().map(settled).collect();
        listing.send_if_modified(|listing| {
            let stamps = |all: &Entries| -> Vec<(String, Option<Digest256>)> {
                let stamp = |entry: &Option<Entry>| entry.as_ref().map(|it| it.stamp);
                all.iter().map(|(name, entry)| (name.clone(), stamp(entry))).collect()
            };
            let is_new = stamps(listing) != stamps(&entries);
            if is_new {
                *listing = Arc::new(entries);
            }
            is_new
        });
        before = now;
    }
}

/// What a group is offered.
#[derive(Debug, Clone, Default)]
pub(super) enum Offer {
    #[default]
    Nothing,
    /// What it is offered is being written.
    Pending,
    /// Objects as they are, each a byte array.
    Objects(BTreeMap<u64, PathBuf>),
    /// A file or a folder in the format of `rtmfp share`.
    File(String, Entry),
}

impl Offer {
    /// What the folder has for a group of this name: what has the name of the group; else the objects
    /// `0.bin`, `1.bin`, …; else what is there, if it is one alone.
    pub(super) fn of(entries: &Entries, group: &str) -> Self {
        if let Some((name, entry)) = entries.get_key_value(group) {
            return Self::of_entry(name, entry.as_ref());
        }
        let paths = entries.values().flatten().filter_map(|entry| match &entry.content {
            Content::File(path) if entry.size <= max_content() => Some(path),
            _ => None,
        });
        let objects: BTreeMap<u64, PathBuf> =
            paths.filter_map(|path| Some((index_of(path)?, path.clone()))).collect();
        match (objects.is_empty(), entries.first_key_value()) {
            (false, _) => Self::Objects(objects),
            (true, Some((name, entry))) if entries.len() == 1 => {
                Self::of_entry(name, entry.as_ref())
            }
            (true, _) => Self::Nothing,
        }
    }

    /// An entry: a folder of objects, or a file or folder as it is.
    fn of_entry(name: &str, entry: Option<&Entry>) -> Self {
        let Some(entry) = entry else { return Self::Pending };
        if let Content::Folder(files) = &entry.content {
            let is_small =
                |path: &PathBuf| path.metadata().is_ok_and(|it| it.len() <= max_content());
            let objects = files.iter().map(|(inside, path)| {
                // Not one of a folder in it.
                let index = index_of(path).filter(|index| *inside == format!("{index}.bin"));
                index.filter(|_| is_small(path)).map(|index| (index, path.clone()))
            });
            if let Some(objects) = objects.collect::<Option<BTreeMap<_, _>>>() {
                return Self::Objects(objects);
            }
        }
        Self::File(name.to_owned(), entry.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn offer(files: &[&str], group: &str) -> Offer {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let listing = library::list(directory.path().to_owned()).await.unwrap();
        let is_written = |name: &str| name.contains("unfinished");
        let settled = |(name, entry): (String, Entry)| {
            let entry = Some(entry).filter(|_| !is_written(&name));
            (name, entry)
        };
        Offer::of(&listing.into_iter().map(settled).collect(), group)
    }

    #[tokio::test]
    async fn a_group_gets_what_has_its_name() {
        let name = |offer| match offer {
            Offer::File(name, _) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(name(offer(&["a.mp4", "b.mp4"], "b.mp4").await), "b.mp4");
        assert_eq!(name(offer(&["a.mp4", "album/1.mp3"], "album").await), "album");
        assert_eq!(name(offer(&["a.mp4"], "other").await), "a.mp4", "it is alone");
        assert_eq!(name(offer(&["0.bin", "a.mp4"], "a.mp4").await), "a.mp4");
        let mixed = offer(&["chat/0.bin", "chat/text"], "chat").await;
        assert_eq!(name(mixed), "chat", "not only objects");
        let deep = offer(&["chat/0.bin", "chat/x/1.bin"], "chat").await;
        assert_eq!(name(deep), "chat", "an index would be there twice");
        assert!(matches!(offer(&["a.mp4", "b.mp4"], "c").await, Offer::Nothing));
        assert!(matches!(offer(&[], "c").await, Offer::Nothing));
    }

    #[tokio::test]
    async fn what_is_being_written_is_not_offered_and_nothing_in_its_place() {
        let films = ["unfinished.mp4", "other.mp4"];
        assert!(matches!(offer(&films, "unfinished.mp4").await, Offer::Pending));
        assert!(matches!(offer(&films, "chat").await, Offer::Nothing), "there are two");
        assert!(matches!(offer(&["unfinished.mp4"], "chat").await, Offer::Pending));
    }

    #[tokio::test]
    async fn objects_are_offered_as_they_are() {
        let indices = |offer| match offer {
            Offer::Objects(objects) => objects.into_keys().collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(indices(offer(&["0.bin", "7.bin", "a.mp4"], "chat").await), [0, 7]);
        assert_eq!(indices(offer(&["chat/3.bin", "a.mp4"], "chat").await), [3]);
        assert_eq!(indices(offer(&["any/3.bin"], "chat").await), [3], "the only folder");
    }
}
