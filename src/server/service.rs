//! The rendezvous server as a service of the driver: one worker of it.

use super::hooks::Asking;
use super::limits::{LimitReached, Limits};
use super::mail::Post;
use super::saver::{SAVE_PERIOD, Saver};
use crate::driver::{KeyLogFile, Service, WeakHandle};
use crate::rendezvous::cluster::MemberId;
use crate::rendezvous::{
    Decision, ProbeAnswer, ProbeRequest, QueryId, Rendezvous, RendezvousConfig, RendezvousEvent,
    RendezvousStats, StreamInfo,
};
use crate::transport::{Layer, Machine, Time};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often the counters are reported, if they have changed.
pub(super) const REPORT_PERIOD: Duration = Duration::from_secs(60);

/// Commands of [`Server`](super::Server).
#[derive(Debug)]
pub(super) enum Command {
    Stats(oneshot::Sender<RendezvousStats>),
    Streams(oneshot::Sender<Vec<StreamInfo>>),
    /// Something is in the mailbox.
    Mail,
    Look(Look),
    Reconfigure(Box<RendezvousConfig>),
    /// A client has answered a hello from another socket.
    Probed(ProbeAnswer),
    /// The owner has decided.
    Decided(QueryId, Box<Decision>),
}

/// Reads something of the state.
pub(super) struct Look(pub(super) Box<Reader>);

type Reader = dyn FnOnce(Time, &Rendezvous) + Send;

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").finish_non_exhaustive()
    }
}

/// An event of a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Something happened to a client.
    Rendezvous(RendezvousEvent),
    /// The counters, once a minute if they have changed.
    Counters(Box<RendezvousStats>),
    /// A limit was reached. Emitted for each limit at once, and then once a minute at most.
    LimitReached(LimitReached),
}

pub(super) struct ServerMachine {
    rendezvous: Rendezvous,
    key_log: Option<KeyLogFile>,
    /// The way to other workers and servers, if there are any.
    post: Option<Post>,
    /// The way to the other sockets, for connectivity checks.
    prober: Option<WeakHandle<ProbeRequest>>,
    /// The workers of other servers that the service knows of.
    elsewhere: Arc<BTreeSet<MemberId>>,
    report_at: Time,
    reported: RendezvousStats,
    /// A report that has not been polled yet.
    report: Option<RendezvousStats>,
    limits: Limits,
    /// The way to the owner, if it is asked.
    asking: Option<Asking>,
    /// Saves persistent shared objects, if they are kept.
    saver: Option<Saver>,
    /// When shared objects that have changed are to be saved.
    save_at: Option<Time>,
    stopping: bool,
}

impl ServerMachine {
    /// With a saver, the service takes shared objects
    /// ([`RendezvousConfig`](crate::rendezvous::RendezvousConfig::takes_shared_objects)).
    pub(super) fn new(
        now: Time,
        rendezvous: Rendezvous,
        key_log: Option<KeyLogFile>,
        saver: Option<Saver>,
    ) -> Self {
        Self {
            rendezvous,
            key_log,
            post: None,
            prober: None,
            elsewhere: Arc::default(),
            report_at: now + REPORT_PERIOD,
            reported: RendezvousStats::default(),
            report: None,
            limits: Limits::default(),
            asking: None,
            saver,
            save_at: None,
            stopping: false,
        }
    }

    /// One of several workers or servers.
    pub(super) fn with_post(mut self, post: Post) -> Self {
        self.post = Some(post);
        self
    }

    /// Reports limits together with other workers.
    pub(super) fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// With other sockets, for connectivity checks.
    pub(super) fn with_prober(mut self, prober: Option<WeakHandle<ProbeRequest>>) -> Self {
        self.prober = prober;
        self
    }

    /// Asks the owner by this.
    pub(super) fn with_hooks(mut self, asking: Option<Asking>) -> Self {
        self.asking = asking;
        self
    }

    /// Gives the owner what it is asked.
    fn ask(&mut self) {
        while let Some(query) = self.rendezvous.poll_query() {
            if let Some(asking) = &self.asking {
                asking.ask(query);
            }
        }
    }

    fn stats(&self) -> RendezvousStats {
        self.with_losses(self.rendezvous.stats())
    }

    /// With what was lost on the way to this worker.
    fn with_losses(&self, mut stats: RendezvousStats) -> RendezvousStats {
        if let Some(lost) = self.post.as_ref().map(Post::lost) {
            stats.commands_lost += lost.commands;
            stats.endpoint.strays_dropped += lost.strays;
        }
        stats
    }

    /// Takes what other workers have sent.
    fn read_mail(&mut self, now: Time) {
        let Some(post) = &self.post else { return };
        let mail = post.take();
        if let Some(elsewhere) = mail.elsewhere {
            let gone = self.elsewhere.difference(&elsewhere);
            gone.for_each(|&member| self.rendezvous.member_gone(now, member));
            elsewhere.iter().for_each(|&member| self.rendezvous.member_joined(now, member));
            self.elsewhere = elsewhere;
        }
        if let Some(addresses) = mail.redirect {
            self.rendezvous.redirect_newcomers(addresses.to_vec());
        }
        for (from, command) in mail.commands {
            self.rendezvous.handle_command(now, from, command);
        }
        for mut stray in mail.strays {
            let path = stray.path;
            self.rendezvous.handle_datagrams(now, path, stray.arrived());
        }
        self.send_mail(now);
    }

    /// Gives others what is for them.
    fn send_mail(&mut self, now: Time) {
        let Some(post) = &self.post else { return };
        while let Some((to, command)) = self.rendezvous.poll_command() {
            post.carry(now, to, command);
        }
        while let Some(stray) = self.rendezvous.poll_stray() {
            post.pass_on(stray);
        }
        post.set_clients(self.rendezvous.client_count());
    }

    /// The counters of several workers are reported together.
    fn reports(&self) -> bool {
        !self.stopping && self.post.as_ref().is_none_or(Post::is_alone)
    }

    /// What the prober has no space for is lost like a packet.
    fn send_probes(&mut self) {
        while let Some(request) = self.rendezvous.poll_probe() {
            let _ = self.prober.as_ref().map(|prober| prober.try_send(request));
        }
    }

    fn report(&mut self, now: Time) {
        self.report_at = now + REPORT_PERIOD;
        let stats = self.stats();
        if stats != self.reported {
            self.reported = stats;
            self.report = Some(stats);
        }
    }

    /// Saves what has changed, unless earlier changes still wait for it.
    fn save(&mut self) {
        if let Some(saver) = &self.saver {
            saver.save(|| self.rendezvous.take_changed_objects());
        }
    }
}

impl Layer for ServerMachine {
    type Inner = Rendezvous;

    fn inner(&self) -> &Rendezvous {
        &self.rendezvous
    }

    fn inner_mut(&mut self) -> &mut Rendezvous {
        &mut self.rendezvous
    }

    fn poll_own_timeout(&self) -> Option<Time> {
        let report_at = self.reports().then_some(self.report_at);
        report_at.into_iter().chain(self.save_at).chain(self.limits.poll_timeout()).min()
    }

    fn handle_own_timeout(&mut self, now: Time) {
        if now >= self.report_at && self.reports() {
            self.report(now);
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save_at = None;
            self.save();
        }
    }

    fn after_call(&mut self, now: Time) {
        if self.limits.is_due(now) {
            let counters = self.with_losses(self.rendezvous.counters());
            self.limits.look(now, &counters);
        }
        self.send_mail(now);
        self.send_probes();
        self.ask();
        if self.save_at.is_none() && self.saver.is_some() && self.rendezvous.has_changed_objects() {
            self.save_at = Some(now + SAVE_PERIOD);
        }
    }
}

impl Drop for ServerMachine {
    /// Whatever ended the server, the last changes are saved.
    fn drop(&mut self) {
        if let Some(saver) = self.saver.take() {
            saver.save_last(self.rendezvous.take_changed_objects());
        }
    }
}

impl Service for ServerMachine {
    type Command = Command;
    type Event = ServerEvent;

    fn handle_command(&mut self, now: Time, command: Command) {
        self.read_mail(now);
        match command {
            // The caller may have been dropped.
            Command::Stats(answer) => drop(answer.send(self.stats())),
            Command::Streams(answer) => drop(answer.send(self.rendezvous.streams())),
            Command::Mail => {}
            Command::Look(Look(look)) => look(now, &self.rendezvous),
            Command::Reconfigure(config) => self.rendezvous.reconfigure(*config),
            Command::Probed(answer) => self.rendezvous.handle_probe_answer(now, answer),
            Command::Decided(query, decision) => {
                self.rendezvous.handle_decision(now, query, *decision);
            }
        }
        self.send_mail(now);
        self.send_probes();
        self.ask();
    }

    fn poll_event(&mut self) -> Option<ServerEvent> {
        let event = self.rendezvous.poll_event();
        if let (Some(RendezvousEvent::SessionOpened(session)), Some(key_log)) =
            (&event, &self.key_log)
        {
            key_log.add(self.rendezvous.endpoint(), *session);
        }
        let counters = || self.report.take().map(|stats| ServerEvent::Counters(Box::new(stats)));
        let event = event.map(ServerEvent::Rendezvous).or_else(counters);
        event.or_else(|| self.limits.poll().map(ServerEvent::LimitReached))
    }

    fn begin_shutdown(&mut self, now: Time) {
        self.stopping = true;
        self.rendezvous.shut_down(now);
        self.send_mail(now);
        self.ask();
    }

    fn is_idle(&self) -> bool {
        self.stopping && self.rendezvous.is_idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Identity, IdentityConfig};
    use crate::proto::sim::SeededRandom;
    use crate::transport::Machine;

    #[test]
    fn nothing_is_reported_while_nothing_changes() {
        let mut random = SeededRandom::new(1);
        let identity = Identity::generate(&IdentityConfig::default(), &mut random);
        let (random, choices) = (Box::new(random), Box::new(SeededRandom::new(2)));
        let rendezvous = Rendezvous::new(RendezvousConfig::default(), identity, random, choices);
        let mut machine = ServerMachine::new(Time::ZERO, rendezvous, None, None);
        let at = machine.poll_timeout().unwrap();
        assert_eq!(at, Time::ZERO + REPORT_PERIOD);
        machine.handle_timeout(at);
        assert!(machine.poll_event().is_none());
        assert_eq!(machine.poll_timeout(), Some(at + REPORT_PERIOD));
        assert!(!machine.is_idle());
        machine.begin_shutdown(at);
        assert!(machine.is_idle());
        assert_eq!(machine.poll_timeout(), None);
    }
}
