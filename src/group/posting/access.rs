//! The calls of the application.

use super::Posting;
use crate::amf::Encoded;
use crate::group::{Group, GroupError, MessageId};
use crate::transport::Time;
use std::ops::Deref;

/// Posting, for a call at a certain time. It dereferences to [`Posting`].
pub struct PostingMut<'a> {
    pub(super) group: &'a mut Group,
    pub(super) now: Time,
}

impl Group {
    /// Posting: its counters.
    pub fn posting(&self) -> &Posting {
        &self.posting
    }

    /// Mutable access to posting at the time `now`.
    pub fn posting_mut(&mut self, now: Time) -> PostingMut<'_> {
        self.traffic.advance(now);
        PostingMut { group: self, now }
    }
}

impl PostingMut<'_> {
    /// Posts an encoded AMF value to all members. It is sent within 150 ms for each neighbor, and
    /// not delivered to this node.
    ///
    /// A value that was received from another member within the last 300 s is not sent. One that was
    /// posted here is sent again, and ignored by those that have it: let each message differ, by a
    /// number for example.
    ///
    /// # Errors
    /// The group is closed, its groupspec does not allow posting or requires a password that this
    /// groupspec does not carry, or the value is larger than
    /// [`max_value`](crate::group::PostingLimits::max_value).
    pub fn post(&mut self, value: Encoded) -> Result<MessageId, GroupError> {
        let posting = &mut self.group.posting;
        let (bytes, max) = (value.len(), posting.limits.max_value);
        match () {
            () if self.group.closed => return Err(GroupError::Closed),
            () if !posting.is_enabled => return Err(GroupError::PostingDisabled),
            () if !posting.is_authorized => return Err(GroupError::PostingUnauthorized),
            () if bytes > max => return Err(GroupError::PostingTooLarge { bytes, max }),
            () if bytes == 0 => return Err(GroupError::PostingEmpty),
            () => {}
        }
        let id = posting.post(self.now, value.into_bytes());
        self.group.drain_features();
        Ok(id)
    }
}

impl Deref for PostingMut<'_> {
    type Target = Posting;

    fn deref(&self) -> &Posting {
        &self.group.posting
    }
}
