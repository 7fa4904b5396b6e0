//! Announcements of a group's members on the local network, by IP multicast
//! (`protocol-notes/netgroup-lan.md`).
//!
//! Members whose groupspec names an IP multicast address, and allows members to announce themselves
//! there, find each other without a server. An announcement is a datagram of its own form, no RTMFP
//! packet, sent from the socket that RTMFP uses: whoever receives it opens a session to its source.
//!
//! | file | subject |
//! | --- | --- |
//! | `announcement` | the datagram |
//! | `announcer` | when a member announces itself, and whom it believes |

mod announcement;
mod announcer;

pub use announcement::{Announcement, AnnouncementCodec};
pub use announcer::Announcer;
