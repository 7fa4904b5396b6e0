//! [`OriginLine`]: what a file's member reads from an origin, by tasks of the runtime.

use super::member::FileMember;
use crate::group::Group;
use crate::node::GroupHandle;
use crate::peer::GuestSender;
use crate::transport::Time;
use crate::vod::origin::{
    OriginError, OriginRead, OriginRequest, OriginVersion, ReadOrigin, host_of,
};
use crate::vod::{CHUNK_SIZE, Descriptor, Layout, ShareLink};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Parts of a body that wait to be put together.
const PARTS: usize = 4;

/// Where a file comes from.
#[derive(Debug, Clone)]
pub(in crate::vod) struct OriginStart {
    pub(in crate::vod) source: Arc<dyn ReadOrigin>,
    /// The version, if it is known.
    pub(in crate::vod) version: Option<OriginVersion>,
    /// The link, which means one version.
    pub(in crate::vod) link: ShareLink,
}

/// The requests of a member, read one beside the other until this is dropped.
pub(super) struct OriginLine {
    reader: Arc<Reader>,
    requests: mpsc::UnboundedSender<(GroupHandle, OriginRequest)>,
    group: Option<GroupHandle>,
}

impl OriginLine {
    /// Starts the task that reads.
    pub(super) fn start(origin: OriginStart, replies: GuestSender) -> Self {
        // The plan of the member bounds what is requested.
        let (requests, mut wanted) = mpsc::unbounded_channel();
        let OriginStart { source, version, link } = origin;
        let known = version.map_or_else(OnceLock::new, OnceLock::from);
        let line = Arc::new(Reader { source, link, known });
        let reader = Arc::clone(&line);
        tokio::spawn(async move {
            let mut reads = JoinSet::new();
            loop {
                tokio::select! {
                    request = wanted.recv() => {
                        // The member is gone: what is being read is not needed.
                        let Some((group, request)) = request else { return };
                        let line = Line { reader: Arc::clone(&reader), replies: replies.clone(), group };
                        reads.spawn(async move { line.read(request).await });
                    }
                    Some(_) = reads.join_next() => {}
                }
            }
        });
        Self { reader: line, requests, group: None }
    }

    /// The descriptor is known. True if it states the version, which the origin need not be asked for then.
    pub(super) fn learn(&self, descriptor: &Descriptor) -> bool {
        let Reader { link, known, .. } = &*self.reader;
        let url = link.origin.as_deref().unwrap_or_default();
        let version = OriginVersion::of_descriptor(url, descriptor);
        match version.filter(|version| version.is_meant_by(link)) {
            Some(version) => {
                known.get_or_init(|| version);
                true
            }
            None => false,
        }
    }

    /// The group is joined.
    pub(super) fn joined(&mut self, group: GroupHandle) {
        self.group = Some(group);
    }

    pub(super) fn request(&self, request: OriginRequest) {
        if let Some(group) = self.group {
            // The task ends with this.
            let _ = self.requests.send((group, request));
        }
    }
}

struct Reader {
    source: Arc<dyn ReadOrigin>,
    link: ShareLink,
    known: OnceLock<OriginVersion>,
}

impl Reader {
    /// Probes the origin, which must have what the link means, unless it is known what it has.
    async fn probe(&self) -> Result<OriginVersion, OriginError> {
        if let Some(known) = self.known.get() {
            return Ok(known.clone());
        }
        let version = self.source.probe().await?;
        if !version.is_meant_by(&self.link) {
            let host = host_of(&version.url).to_owned();
            return Err(OriginError::Changed { host, what: "not what the link was made of" });
        }
        Ok(self.known.get_or_init(|| version).clone())
    }

    async fn read(
        &self,
        range: Option<Range<u64>>,
        parts: mpsc::Sender<Bytes>,
    ) -> Result<(), OriginError> {
        match self.known.get() {
            Some(version) => self.source.read(version, range, parts).await,
            // The plan probes first.
            None => Err(OriginError::Contradiction("not probed")),
        }
    }

    fn layout(&self) -> Layout {
        let size = self.known.get().map(|version| version.size);
        let layout = size.and_then(|size| Layout::of_size(size, CHUNK_SIZE).ok());
        layout.unwrap_or(Layout::empty())
    }
}

/// One request.
struct Line {
    reader: Arc<Reader>,
    replies: GuestSender,
    group: GroupHandle,
}

impl Line {
    async fn read(self, OriginRequest { id, read }: OriginRequest) {
        match read {
            OriginRead::Probe => {
                let result = self.reader.probe().await;
                self.reply(move |m, now, group| m.origin_probed(now, group, id, result)).await;
            }
            OriginRead::All => self.chunks(id, 1, None).await,
            OriginRead::Chunks(chunks) => {
                let layout = self.reader.layout();
                let (first, last) = (*chunks.start(), *chunks.end());
                let end = layout.offset(last).zip(layout.length(last)).map(|(at, len)| at + len);
                if let Some((start, end)) = layout.offset(first).zip(end) {
                    self.chunks(id, first, Some(start..end)).await;
                }
            }
            OriginRead::Piece { offset, length } => {
                let result = self.piece(offset..offset.saturating_add(length)).await;
                self.reply(move |m, now, group| m.origin_piece(now, group, id, result)).await;
            }
        }
    }

    /// Reads chunks, each of which is passed on as soon as it is there.
    async fn chunks(&self, id: u64, first: u64, range: Option<Range<u64>>) {
        let (parts, mut incoming) = mpsc::channel::<Bytes>(PARTS);
        let layout = self.reader.layout();
        let assemble = async {
            let mut chunk = BytesMut::new();
            let mut index = first;
            while let Some(part) = incoming.recv().await {
                chunk.extend_from_slice(&part);
                while let Some(length) = next_length(&layout, index, chunk.len()) {
                    let data = chunk.split_to(length).freeze();
                    self.reply(move |m, now, group| m.origin_chunk(now, group, id, index, data))
                        .await;
                    index += 1;
                }
            }
        };
        let (result, ()) = tokio::join!(self.reader.read(range, parts), assemble);
        self.reply(move |m, now, group| m.origin_ended(now, group, id, result)).await;
    }

    async fn piece(&self, range: Range<u64>) -> Result<Bytes, OriginError> {
        let (parts, mut incoming) = mpsc::channel::<Bytes>(PARTS);
        let collect = async {
            let mut piece = BytesMut::new();
            while let Some(part) = incoming.recv().await {
                piece.extend_from_slice(&part);
            }
            piece.freeze()
        };
        let (result, piece) = tokio::join!(self.reader.read(Some(range), parts), collect);
        result.map(|()| piece)
    }

    /// Calls the member in the connection's task.
    async fn reply(&self, call: impl FnOnce(&mut FileMember, Time, &mut Group) + Send + 'static) {
        let call = |member: &mut FileMember, group: &mut Group, now| call(member, now, group);
        // The connection may be closed: then the reply is not needed.
        let _ = self.replies.call(self.group, call).await;
    }
}

/// The length of this chunk, if so many bytes are enough for it.
fn next_length(layout: &Layout, index: u64, available: usize) -> Option<usize> {
    let length = usize::try_from(layout.length(index)?).ok()?;
    (length <= available && length > 0).then_some(length)
}
