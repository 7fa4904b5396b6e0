//! The task that saves persistent shared objects, and tries again what could not be saved.

use super::objects::{Folder, Unsaved};
use crate::rendezvous::SharedObjectSnapshot;
use std::time::Duration;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

/// How long changes wait until they are saved, and how long after a failure they are saved again.
pub(super) const SAVE_PERIOD: Duration = Duration::from_secs(5);

/// Objects that have changed.
type Batch = Vec<SharedObjectSnapshot>;

/// Where one worker's shared objects go that have changed. The task ends when all are dropped and
/// everything was saved, or tried once more.
pub(super) struct Saver {
    batches: mpsc::Sender<Batch>,
    /// A place for the last batch.
    last: Option<OwnedPermit<Batch>>,
}

impl Saver {
    /// One for each worker. Beside the last batch of each, one waits for the task.
    pub(super) fn start(folder: Folder, workers: usize) -> (Vec<Self>, JoinHandle<()>) {
        let (sender, batches) = mpsc::channel(workers + 1);
        let saver =
            |_| Self { batches: sender.clone(), last: sender.clone().try_reserve_owned().ok() };
        let savers = (0..workers).map(saver).collect();
        (savers, tokio::spawn(run(folder, batches)))
    }

    /// Saves a batch, unless another one waits for the task. Later ones prevail.
    pub(super) fn save(&self, batch: impl FnOnce() -> Batch) -> bool {
        let place = self.batches.try_reserve();
        if let Ok(place) = place {
            let batch = batch();
            if !batch.is_empty() {
                place.send(batch);
            }
            return true;
        }
        false
    }

    /// Saves the last batch.
    pub(super) fn save_last(self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        match self.last {
            Some(place) if !self.batches.is_closed() => drop(place.send(batch)),
            _ => error!("changes of shared objects are lost: the task that saves them has ended"),
        }
    }
}

async fn run(mut folder: Folder, mut batches: mpsc::Receiver<Batch>) {
    let mut unsaved = Unsaved::default();
    let mut has_failed = false;
    loop {
        let next = match unsaved.is_empty() {
            true => batches.recv().await,
            false => tokio::time::timeout(SAVE_PERIOD, batches.recv())
                .await
                .unwrap_or_else(|_| Some(Vec::new())),
        };
        let is_last = next.is_none();
        unsaved.extend(next.into_iter().flatten());
        if !unsaved.is_empty() {
            let saved = spawn_blocking(move || {
                let failed = folder.save(&mut unsaved);
                (folder, unsaved, failed)
            });
            let Ok(saved) = saved.await else {
                return error!("changes of shared objects are lost: the runtime has ended");
            };
            let failed;
            (folder, unsaved, failed) = saved;
            match failed {
                Some(error) if is_last => {
                    error!("changes of {} shared objects are lost: {error}", unsaved.len());
                }
                Some(error) if !has_failed => warn!(
                    "changes of {} shared objects are not saved: {error}; they are tried again \
                     every {} s",
                    unsaved.len(),
                    SAVE_PERIOD.as_secs()
                ),
                None if has_failed => info!("all shared objects are saved again"),
                _ => {}
            }
            has_failed = !unsaved.is_empty();
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::objects::tests::object;
    use super::*;
    use std::fs;

    /// A folder that can't be written, also by root: a file is in the place of the object's file.
    #[tokio::test]
    async fn what_cannot_be_saved_is_kept_and_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let room = object("room", &[("a", b"\x05")]);
        let path = folder.path_of(&room.app, &room.name);
        fs::create_dir_all(path.join("in the way")).unwrap();
        let (savers, task) = Saver::start(folder, 1);
        let saver = &savers[0];
        assert!(saver.save(|| vec![room.clone()]));
        let other = object("other", &[("b", b"\x06")]);
        while !saver.save(|| vec![other.clone()]) {
            tokio::task::yield_now().await;
        }
        // Until the second batch was taken, which is after the first has failed.
        while !saver.save(Vec::new) {
            tokio::task::yield_now().await;
        }
        fs::remove_dir_all(&path).unwrap();
        drop(savers);
        task.await.unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let mut names: Vec<_> = folder.files().unwrap();
        names.sort();
        let mut expected = vec![path, folder.path_of(&other.app, &other.name)];
        expected.sort();
        assert_eq!(names, expected);
    }

    #[tokio::test]
    async fn the_last_batch_has_a_place_and_prevails() {
        let directory = tempfile::tempdir().unwrap();
        let (mut savers, task) = Saver::start(Folder::open(directory.path()).unwrap(), 3);
        let [first, last] =
            [&[("a", &b"\x05"[..])], &[("a", &b"\x06"[..])]].map(|it| object("room", it));
        // The task has not run yet.
        assert!(savers[1].save(|| vec![first]));
        assert!(savers.iter().all(|saver| !saver.save(|| panic!("another one waits"))));
        savers.remove(1).save_last(vec![last.clone()]);
        for saver in savers {
            saver.save_last(vec![last.clone()]);
        }
        task.await.unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let [path] = &folder.files().unwrap()[..] else { panic!() };
        assert_eq!(folder.read(path, 1000).unwrap(), last);
    }
}
