//! Every setting: its name, what it does, its form, its field, and whether a reload changes it.
//!
//! Whatever knows settings reads this table: files, environment variables, the sample, reloads.

use super::forms;
use super::settings::Settings;
use toml::Value;

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// At a reload.
    Reload,
    /// At the next start.
    Restart,
}

/// A setting.
pub(super) struct Setting {
    /// `section.key`, or `key` alone.
    pub(super) name: &'static str,
    /// Its field in [`Settings`].
    #[cfg(test)]
    pub(super) field: &'static str,
    /// Lines for the sample.
    pub(super) help: &'static str,
    pub(super) effect: Effect,
    pub(super) read: fn(&mut Settings, &Value) -> Result<(), String>,
    pub(super) write: fn(&Settings) -> String,
    /// Copies the value from the first to the second.
    pub(super) copy: fn(&Settings, &mut Settings),
}

impl Setting {
    /// The section and the key.
    pub(super) fn place(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }

    /// The environment variable that sets it: `RTMFP_LIMITS_SESSIONS`.
    pub(super) fn variable(&self) -> String {
        format!("{}{}", super::settings::VARIABLES, self.name.replace('.', "_").to_uppercase())
    }
}

macro_rules! setting {
    ($name:literal, $form:ident, $effect:ident, $($field:ident).+, $help:literal) => {
        Setting {
            name: $name,
            #[cfg(test)]
            field: stringify!($($field).+),
            help: $help,
            effect: Effect::$effect,
            read: |settings, value| {
                settings.$($field).+ = forms::$form::read(value)?;
                Ok(())
            },
            write: |settings| forms::$form::write(&settings.$($field).+),
            copy: |from, to| to.$($field).+.clone_from(&from.$($field).+),
        }
    };
}

/// The sections, in the order of the sample.
pub(super) const SECTIONS: [(&str, &str); 13] = [
    ("auth", "Tokens that clients need to connect: rtmfp://HOST/app?token=..."),
    ("log", "The log, on standard error."),
    ("admin", "The status page with metrics, for who can reach it. Nothing can be changed there."),
    ("hooks", "A program of yours that decides what clients may do: docs/hooks.md."),
    ("clients", "What clients are advised of, and how long the server waits for them."),
    ("limits", "Bounds of sessions and of memory. Each that is reached is a line in the log."),
    (
        "introductions",
        "Bounds of introductions. A budget is `burst` at once and `per_second` in the long run.",
    ),
    ("streams", "Live streams that clients publish at the server."),
    ("shared_objects", "Remote shared objects."),
    (
        "connectivity",
        "Checks of address translators in front of clients, for `rtmfp probe` and players.",
    ),
    ("relay", "Bounds of `relay`, by which clients call each other. Beyond these, calls fail."),
    (
        "member",
        "A member of groups in this process. Whoever has a groupspec can join its group: let\n\
         nobody else read this file. docs/server.md.",
    ),
    ("cluster", "Several servers as one: clients of all of them meet. docs/cluster.md."),
];

/// All of them, section by section.
pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        "listen",
        listen,
        Restart,
        server.listen,
        "UDP addresses to listen on: PORT, ADDR, ADDR:PORT or NAME:PORT."
    ),
    setting!(
        "workers",
        workers,
        Restart,
        server.workers,
        "Threads that serve clients; \"auto\" (or 0) is one for each processor. Several need\n\
         Linux. docs/server.md says when one is not enough."
    ),
    setting!(
        "public_address",
        text,
        Restart,
        public_address,
        "HOST or HOST:PORT that a router forwards to this server; it is printed first.\n\
         Empty: none."
    ),
    setting!(
        "identity",
        path,
        Restart,
        server.identity_file,
        "File that keeps the server's certificate and keys; made if it does not exist.\n\
         Empty: every start makes a new certificate, which disturbs only clients that\n\
         demand a certain one."
    ),
    setting!(
        "applications",
        names,
        Reload,
        server.rendezvous.applications,
        "Applications that clients may connect to, each with its instances: [\"chat\"] is\n\
         rtmfp://HOST/chat and rtmfp://HOST/chat/room. Empty: any."
    ),
    setting!(
        "key_log",
        path,
        Restart,
        key_log,
        "File to which the secrets of all sessions are appended, for `rtmfp decode`. Who\n\
         has it can read and forge them. Empty: none."
    ),
    setting!(
        "auth.secret_file",
        path,
        Reload,
        secret_file,
        "File with the secrets of tokens that clients need: a line each, ID and secret;\n\
         `rtmfp token` makes it, and tokens. A reload reads it again. Empty: no tokens."
    ),
    setting!(
        "log.level",
        word,
        Reload,
        log.level,
        "error, warn, info (what happens), debug (details) or trace (everything)."
    ),
    setting!(
        "log.format",
        word,
        Restart,
        log.format,
        "human, json (one object a line), or auto: human on a terminal, and json\n\
         elsewhere."
    ),
    setting!(
        "admin.listen",
        admin_listen,
        Restart,
        admin.listen,
        "TCP address: PORT (at 127.0.0.1), ADDR or ADDR:PORT. \"auto\" is 127.0.0.1:8936, or\n\
         none if that is taken; \"off\" is none."
    ),
    setting!(
        "admin.hosts",
        admin_hosts,
        Restart,
        admin.hosts,
        "Names by which it is reached, such as [\"status.example.org\"]. Without, only by an\n\
         address or as localhost: other names may be somebody else's."
    ),
    setting!(
        "hooks.url",
        text,
        Restart,
        hooks.url,
        "URL to which every question is posted, such as http://127.0.0.1:8000/.\n\
         Empty: none."
    ),
    setting!(
        "hooks.events",
        hook_events,
        Restart,
        hooks.config.events,
        "What is asked. What is not is allowed, and calls fail."
    ),
    setting!(
        "hooks.timeout",
        duration,
        Restart,
        hooks.config.timeout,
        "A question that is not answered within this time has failed."
    ),
    setting!(
        "hooks.allow_on_failure",
        toggle,
        Restart,
        hooks.config.allow_on_failure,
        "Whether clients may connect, publish and play when a question has failed."
    ),
    setting!(
        "hooks.per_client",
        count,
        Restart,
        hooks.config.per_client,
        "Questions that wait for one client; a further one has failed."
    ),
    setting!(
        "hooks.pending",
        count,
        Restart,
        hooks.config.pending,
        "Questions that wait in all; a further one has failed."
    ),
    setting!(
        "clients.keepalive",
        keepalive,
        Reload,
        server.rendezvous.keepalive,
        "Longest periods of pings that clients are advised of, to the server and to their\n\
         peers. \"off\" leaves players their own: 90s and 20s."
    ),
    setting!(
        "clients.pings_per_second",
        count,
        Reload,
        server.rendezvous.pings_per_second,
        "Pings of all clients together; the fewer clients there are, the shorter is the\n\
         period to the server, down to 5s."
    ),
    setting!(
        "clients.ping_after",
        duration,
        Reload,
        server.rendezvous.transport.keepalive,
        "A client that has been silent this long is pinged."
    ),
    setting!(
        "clients.dead_after",
        duration,
        Reload,
        server.rendezvous.transport.dead_after,
        "A client that does not answer for this long is gone."
    ),
    setting!(
        "clients.connect_within",
        duration,
        Reload,
        server.rendezvous.connect_within,
        "A session whose client has not connected within this time is closed."
    ),
    setting!(
        "clients.linger_refused",
        duration,
        Reload,
        server.rendezvous.linger_refused,
        "Time in which a refused client reads the answer."
    ),
    setting!(
        "limits.sessions",
        count,
        Reload,
        server.rendezvous.transport.max_sessions,
        "Sessions in all. At the bound a newcomer gets the place of one that nobody uses,\n\
         or is not answered."
    ),
    setting!(
        "limits.sessions_per_address",
        count,
        Reload,
        server.rendezvous.transport.max_sessions_per_ip,
        "Sessions with one IP address, or IPv6 network of 64 bits."
    ),
    setting!(
        "limits.unused_sessions",
        count,
        Reload,
        server.rendezvous.transport.max_unconfirmed,
        "Sessions that their clients have not used yet; a further one takes the place of\n\
         one of the address that has most."
    ),
    setting!(
        "limits.unused_sessions_per_address",
        count,
        Reload,
        server.rendezvous.transport.max_unconfirmed_per_ip,
        "The same with one IP address; a further one takes the place of the oldest."
    ),
    setting!(
        "limits.keyings_per_address",
        rate,
        Reload,
        server.rendezvous.transport.keyings_per_address,
        "Budget of new sessions of one address and port; further ones are not answered."
    ),
    setting!(
        "limits.pending_keyings",
        count,
        Reload,
        server.rendezvous.transport.max_pending_keyings,
        "New sessions that wait for their Diffie-Hellman computation. One IP address may\n\
         have an eighth of them."
    ),
    setting!(
        "limits.reply_factor",
        reply_factor,
        Reload,
        server.rendezvous.transport.max_amplification,
        "Bytes that an address which is not verified is sent for each of its bytes; longer\n\
         answers are left out. From 1 to 3: less than 3 keeps some clients out."
    ),
    setting!(
        "limits.flows_per_session",
        count,
        Reload,
        server.rendezvous.transport.max_flows,
        "Flows that one client may open; each group needs one."
    ),
    setting!(
        "limits.groups_per_client",
        count_or_none,
        Reload,
        server.rendezvous.max_groups_per_client,
        "Groups that one client may join; further joins are refused."
    ),
    setting!(
        "limits.members_per_group",
        count,
        Reload,
        server.rendezvous.max_members_per_group,
        "Members of one group; further joins are refused."
    ),
    setting!(
        "limits.memory",
        size,
        Restart,
        server.rendezvous.transport.max_memory,
        "Memory of all sessions beyond their first KiB. At the bound those that hold most\n\
         are closed, until an eighth is free."
    ),
    setting!(
        "limits.memory_per_address",
        size,
        Reload,
        server.rendezvous.transport.max_address_memory,
        "The same of the sessions with one IP address."
    ),
    setting!(
        "limits.memory_per_session",
        size,
        Reload,
        server.rendezvous.transport.max_session_memory,
        "Memory for what one client has sent and nobody has taken yet. More than twice the\n\
         longest message."
    ),
    setting!(
        "limits.message",
        size,
        Reload,
        server.rendezvous.transport.max_message,
        "Longest message of a client; longer ones are dropped."
    ),
    setting!(
        "limits.receive_buffer",
        size,
        Reload,
        server.rendezvous.transport.receive_buffer,
        "What a client may have on the way to the server in one flow."
    ),
    setting!(
        "limits.send_queue",
        size,
        Restart,
        server.rendezvous.transport.max_send_queue,
        "What may wait in one flow to a client."
    ),
    setting!(
        "introductions.members",
        count_or_none,
        Reload,
        server.rendezvous.introduce_members,
        "Members that a new member of a group is introduced to at once."
    ),
    setting!(
        "introductions.from_host",
        rate,
        Reload,
        server.rendezvous.introductions.from_host,
        "Hellos from one IP address; further ones are ignored."
    ),
    setting!(
        "introductions.from_address",
        rate,
        Reload,
        server.rendezvous.introductions.from_address,
        "Hellos from one address and port that are forwarded; further ones are only\n\
         answered."
    ),
    setting!(
        "introductions.to_client",
        rate,
        Reload,
        server.rendezvous.introductions.to_client,
        "Hellos of clients that are forwarded to one client; further ones are only\n\
         answered. Of those of strangers half as many."
    ),
    setting!(
        "introductions.from_host_to_client",
        rate,
        Reload,
        server.rendezvous.introductions.from_host_to_client,
        "The same from one IP address."
    ),
    setting!(
        "introductions.beyond_factor",
        rate,
        Reload,
        server.rendezvous.introductions.beyond_factor,
        "Bytes that a client may be sent beyond three times what it has sent."
    ),
    setting!(
        "streams.enabled",
        toggle,
        Restart,
        streams.enabled,
        "Whether clients may publish and play at the server."
    ),
    setting!(
        "streams.per_client",
        count,
        Restart,
        streams.limits.per_client,
        "NetStreams of one client; beyond, `createStream` fails."
    ),
    setting!(
        "streams.streams",
        count,
        Restart,
        streams.limits.streams,
        "Streams in all; beyond, publishing and playing is refused."
    ),
    setting!(
        "streams.players",
        count,
        Restart,
        streams.limits.players,
        "Clients that play one stream; further ones are refused."
    ),
    setting!(
        "streams.cache",
        size,
        Restart,
        streams.limits.cache,
        "What is kept of one stream for who comes late: all since the last key frame."
    ),
    setting!(
        "streams.cache_in_all",
        size,
        Restart,
        streams.limits.cache_in_all,
        "The same for all streams together."
    ),
    setting!(
        "streams.queue",
        size,
        Restart,
        streams.limits.queue,
        "What waits for one who plays; beyond, messages are dropped."
    ),
    setting!(
        "shared_objects.enabled",
        toggle,
        Restart,
        shared_objects.enabled,
        "Whether the server keeps shared objects."
    ),
    setting!(
        "shared_objects.folder",
        path,
        Restart,
        server.shared_objects,
        "Folder that keeps persistent shared objects from one start to the next; made if it\n\
         does not exist. Empty: they last as long as the server runs."
    ),
    setting!(
        "shared_objects.objects",
        count,
        Restart,
        shared_objects.limits.objects,
        "Objects in all; further ones are refused."
    ),
    setting!(
        "shared_objects.per_client",
        count,
        Restart,
        shared_objects.limits.per_client,
        "Objects that one client uses; further ones are refused."
    ),
    setting!(
        "shared_objects.users",
        count,
        Restart,
        shared_objects.limits.users,
        "Clients that use one object; further ones are refused."
    ),
    setting!(
        "shared_objects.slots",
        count,
        Restart,
        shared_objects.limits.slots,
        "Properties of one object; further ones are undone at the client."
    ),
    setting!(
        "shared_objects.bytes",
        size,
        Restart,
        shared_objects.limits.bytes,
        "Names and values of one object; what is beyond is undone at the client."
    ),
    setting!(
        "shared_objects.bytes_in_all",
        size,
        Restart,
        shared_objects.limits.bytes_in_all,
        "The same for all objects together."
    ),
    setting!(
        "shared_objects.queue",
        size,
        Restart,
        shared_objects.limits.queue,
        "What may wait for a client, 128 KiB at least. With more it gets no news of\n\
         objects, but all properties when it has taken the rest; calls are lost."
    ),
    setting!(
        "connectivity.enabled",
        toggle,
        Restart,
        connectivity.enabled,
        "Whether clients may have their way to the server checked."
    ),
    setting!(
        "connectivity.port",
        count_or_none,
        Restart,
        server.connectivity_port,
        "UDP port that clients send to when they are introduced; open it in a firewall. 0 is\n\
         one that the system chooses."
    ),
    setting!(
        "connectivity.other_addresses",
        ips,
        Restart,
        server.connectivity_addresses,
        "Two more IP addresses of this host, not translated, at which nothing else is done:\n\
         hellos come from the first, and clients are introduced to the second. Empty: what\n\
         only other addresses can tell stays unknown."
    ),
    setting!(
        "connectivity.from_host",
        rate,
        Reload,
        connectivity.limits.from_host,
        "Checks of clients at one IP address; further ones are refused."
    ),
    setting!(
        "connectivity.at_once",
        count,
        Reload,
        connectivity.limits.at_once,
        "Checks at a time; further ones are refused."
    ),
    setting!("relay.message", size, Reload, server.rendezvous.relay.message, "Longest call."),
    setting!(
        "relay.from_client",
        rate,
        Reload,
        server.rendezvous.relay.from_client,
        "Calls by one client."
    ),
    setting!(
        "relay.to_client",
        rate,
        Reload,
        server.rendezvous.relay.to_client,
        "Calls for one client."
    ),
    setting!(
        "relay.queue",
        size,
        Reload,
        server.rendezvous.relay.queue,
        "What waits for a client that does not take its calls."
    ),
    setting!(
        "member.groups",
        groupspecs,
        Restart,
        member.groups,
        "Groupspecs of the groups that the server joins. Empty: none."
    ),
    setting!(
        "member.seed",
        path,
        Restart,
        member.seed,
        "Folder whose files it offers to these groups. Empty: none."
    ),
    setting!(
        "member.descriptor",
        word,
        Restart,
        member.descriptor,
        "What object 0 of a file is: object, with hashes, as `rtmfp share` makes it, or\n\
         number, of objects, as Flash applications do."
    ),
    setting!(
        "member.ingest",
        ingests,
        Restart,
        member.ingest,
        "Streams that clients publish at this server, and the groups in which the server\n\
         publishes them: \"live/cam=G:...\" or, by another name, \"live/cam=news@G:...\"."
    ),
    setting!(
        "member.port",
        count_or_none,
        Restart,
        member.port,
        "UDP port of the member, which a router has to forward as well as that of the\n\
         server. 0 is one that the system chooses."
    ),
    setting!(
        "member.up_limit",
        bandwidth,
        Restart,
        member.up_limit,
        "How fast the member sends at most: \"2 MB/s\", or \"off\"."
    ),
    #[cfg(feature = "cluster-nats")]
    setting!(
        "cluster.nats",
        cluster_urls,
        Restart,
        server.cluster.nats,
        "Servers of NATS through which the servers find each other, one of which is used at\n\
         a time: nats://HOST or nats://USER:PASSWORD@HOST:PORT. Empty: no cluster."
    ),
    setting!(
        "cluster.name",
        cluster_name,
        Restart,
        server.cluster.name,
        "Only servers with the same name are one cluster. Letters, digits, - and _."
    ),
    setting!(
        "cluster.servers",
        servers,
        Restart,
        server.cluster.servers,
        "Without NATS: other servers, HOST or HOST:PORT, to which newcomers are sent when\n\
         this one has enough clients. Their clients do not meet."
    ),
    setting!(
        "cluster.enough",
        enough,
        Restart,
        server.cluster.enough,
        "Clients from which on newcomers are sent to these servers. 0: nine tenths of the\n\
         sessions that this server may have."
    ),
];
