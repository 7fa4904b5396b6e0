//! Configuration of an endpoint, and its bounds.

use super::congestion::Controller;
use super::{Passwords, Rate};
use crate::crypto::Negotiation;
use std::time::Duration;

/// Settings of an endpoint. The defaults suit a peer; [`Config::server`] suits a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Options offered and demanded in keying.
    pub negotiation: Negotiation,
    /// Bytes sent to an address that is not verified for each byte received from it; a hello whose
    /// answer would be longer is ignored. RFC 7016 sets no bound. Three suffices for ephemeral
    /// keys, or static ones in group 2; other implementations do not pad their hellos, and do not
    /// reach an endpoint with static keys in larger groups unless this is raised or somebody
    /// introduces them. Answers to hellos may exceed it by 40 bytes each and 4,096 bytes a second
    /// altogether, since some initiators take cookies of 64 bytes only.
    pub max_amplification: usize,
    /// Answer hellos that select this endpoint's certificate.
    pub accept: bool,
    /// Report hellos for other fingerprints as [`Event::IntroductionWanted`](super::Event).
    pub introduce: bool,
    /// Report answers to hellos that belong to no attempt as
    /// [`Event::HelloAnswered`](super::Event), for one who [asks](super::Endpoint::send_hello) only
    /// to see where the answer comes from.
    pub report_answers: bool,
    /// Largest UDP payload that is sent while nothing is known of the path, in bytes. The observed
    /// player accepts up to 4,996 and sends 1,188; 1,200 passes every common path.
    pub max_datagram: usize,
    /// Largest UDP payload that a session looks for, in bytes, if it sends much and the far end
    /// puts packet fragments together (RFC 7016 §3.5.4.3). No search if it is not larger than
    /// [`max_datagram`](Self::max_datagram). 1,472 is what IPv4 leaves of an Ethernet frame; it is
    /// 20 less to an IPv6 address. To a loopback address 8,972 is tried when this has passed.
    pub max_probed_datagram: usize,
    /// Bytes of packets in pieces that one session holds (RFC 7016 §3.4), headers included; 0 for
    /// none.
    pub max_reassembly: usize,
    /// Startup packets in pieces that are put together at a time, from four different addresses
    /// at least; a further one takes the place of the one that has waited longest.
    pub max_startup_reassemblies: usize,
    /// Let routers mark packets with user data instead of dropping them (RFC 3168), as long as the
    /// far end reports marks. The observed player does not; it then goes on without after the
    /// first acknowledgement. Marks from others are reported regardless.
    pub ecn: bool,
    /// Differentiated services code point of everything that is sent, 0 to 63 (RFC 2474). With
    /// another than 0 the driver sends datagrams one by one, which costs speed.
    pub dscp: u8,
    /// Another one for batches with time critical data, or the same if `None`.
    pub time_critical_dscp: Option<u8>,
    /// Passwords by which keyings are signed (RFC 7425 §4.3.5.1.1), and which are demanded.
    pub passwords: Passwords,
    /// Timeout of an attempt to open a session (RFC 7016 §3.5.1.1.1: 95 s).
    pub open_timeout: Duration,
    /// Ping a far end that has been silent for this long.
    pub keepalive: Duration,
    /// Give a session up when its pings or its data have not been answered for this long.
    pub dead_after: Duration,
    /// Receive buffer of a flow in bytes: what a sender may have in flight to it.
    pub receive_buffer: u64,
    /// Largest message that is reassembled, in bytes; a longer one is passed over and reported as
    /// [`Event::MessageTooLong`](super::Event).
    pub max_message: usize,
    /// Bytes that may wait in a sending flow; above, [`SendError::Full`](super::SendError).
    pub max_send_queue: u64,
    /// Bytes of memory for what one session's far end sends and nobody has taken yet: its flows,
    /// fragments that wait for earlier ones, messages and packets in pieces. At half of it fragments
    /// out of order are refused as if they had been lost, so that they are sent again later, and no
    /// flow has a larger receive buffer; if messages in progress reach the bound, which must
    /// therefore be more than twice the longest message, the flow that holds most is rejected.
    pub max_session_memory: u64,
    /// Bytes of memory for all flows, in both directions and with all that waits in them, of the
    /// sessions with one IP address (IPv6: one network of 64 bits), beyond the first
    /// [`SESSION_ALLOWANCE`](super::SESSION_ALLOWANCE) bytes of each session. At the bound those of
    /// its sessions are closed that hold most, until an eighth is free.
    pub max_address_memory: u64,
    /// The same for all sessions.
    pub max_memory: u64,
    /// Open sessions. At the bound a keying takes the place of a session that its initiator has not
    /// used yet, of an address that has many of them, or is ignored if there is none.
    pub max_sessions: usize,
    /// Open sessions with one IP address (IPv6: one network of 64 bits). At the bound a keying
    /// from it takes the place of a session that its initiator has not used yet, or is ignored if
    /// there is none.
    pub max_sessions_per_ip: usize,
    /// Sessions with one IP address whose initiators have not used them yet. A further one takes
    /// the place of the oldest of the port that has most, so that an initiator behind a shared
    /// address has as long as it needs.
    pub max_unconfirmed_per_ip: usize,
    /// The same for all addresses together. A further one takes the place of one of the address
    /// that has most.
    pub max_unconfirmed: usize,
    /// Keyings that one address and port may ask for, which is what one cookie is worth; further
    /// ones are ignored. One whose session is used does not count.
    pub keyings_per_address: Rate,
    /// Receiving flows of one session. Complete ones give way; while none is complete,
    /// further flows are rejected.
    pub max_flows: usize,
    /// Keyings that wait for their computation; further ones are ignored. One IP address may have
    /// an eighth of them.
    pub max_pending_keyings: usize,
    /// Congestion controller of new sessions.
    pub controller: Controller,
    /// Packets with user data sent between two acknowledgements (RFC 7016 §3.5.2.3: 6), or
    /// twice what was acknowledged since the last burst if that is more, unless the controller
    /// paces them.
    pub burst_packets: u32,
    /// Acknowledge by bitmap where that is shorter than ranges (RFC 7016 §3.6.3.4.3). Off: the
    /// observed player sends ranges only, and at least one other implementation reads no more than
    /// the cumulative part of a bitmap, so that it would send again what has arrived.
    pub bitmap_acks: bool,
    /// Keep the Diffie-Hellman secret of every session while it is open, so that
    /// [`SessionRef::key_log_line`](super::SessionRef::key_log_line) can return it. Off by default:
    /// nothing in memory then opens a recording of an earlier session.
    pub keep_secrets: bool,
    /// Answer hellos that others forward (RFC 7016 §3.5.1.5), which opens this end's address
    /// translator. The answers go to the address that the forwarder names, so that a session pays
    /// for them with the bytes that it has brought. Not needed by an endpoint whose address is
    /// known, as a server's.
    pub answer_forwarded: bool,
    /// Forwarded hellos of one session that are looked at in a second; further ones are ignored.
    pub forwarded_hellos_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            negotiation: Negotiation::default(),
            max_amplification: 3,
            accept: true,
            introduce: false,
            report_answers: false,
            max_datagram: 1200,
            max_probed_datagram: 1472,
            max_reassembly: 64 << 10,
            max_startup_reassemblies: 16,
            ecn: true,
            dscp: 0,
            time_critical_dscp: None,
            passwords: Passwords::default(),
            open_timeout: Duration::from_secs(95),
            keepalive: Duration::from_secs(20),
            dead_after: Duration::from_secs(47),
            receive_buffer: 4 << 20,
            max_message: 8 << 20,
            max_send_queue: 32 << 20,
            max_session_memory: 64 << 20,
            max_address_memory: 256 << 20,
            max_memory: 512 << 20,
            max_sessions: 4096,
            max_sessions_per_ip: 1024,
            max_unconfirmed_per_ip: 256,
            max_unconfirmed: 2048,
            keyings_per_address: Rate { burst: 8, per_second: 1 },
            max_flows: 1024,
            max_pending_keyings: 1024,
            controller: Controller::default(),
            burst_packets: 6,
            bitmap_acks: false,
            keep_secrets: false,
            answer_forwarded: true,
            forwarded_hellos_per_second: 64,
        }
    }
}

impl Config {
    /// Settings for a rendezvous server: it introduces and keeps many small sessions, some of which
    /// publish streams. Clients ping it earlier than it pings them, and one that has been silent for
    /// 47 s is closed.
    pub fn server() -> Self {
        Self {
            introduce: true,
            // Players then get HMACs; programs that can't have them are known by their hello.
            negotiation: Negotiation { only_on_request: false, ..Negotiation::default() },
            answer_forwarded: false,
            keepalive: Duration::from_secs(22),
            dead_after: Duration::from_secs(25),
            receive_buffer: 512 << 10,
            max_message: 1 << 20,
            max_send_queue: 2 << 20,
            max_session_memory: 3 << 20,
            max_address_memory: 32 << 20,
            max_memory: 256 << 20,
            max_sessions: 1 << 20,
            max_sessions_per_ip: 16_384,
            max_unconfirmed_per_ip: 1024,
            max_unconfirmed: 65_536,
            max_flows: 320,
            max_pending_keyings: 4096,
            max_startup_reassemblies: 256,
            ..Self::default()
        }
    }
}
