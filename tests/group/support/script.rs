//! What the script of a recorded player calls.

use super::account::{Account, Act};
use super::replay::Replay;
use bytes::Bytes;
use rtmfp::proto::group::message::StreamSettings;
use rtmfp::proto::group::{
    FlowKind, GroupAddress, MessageId, PostKey, PublishOptions, ReceiveMode, ReplicationStrategy,
    SendMode,
};
use std::time::Duration;

/// What a player sends to one neighbor in its turn takes less than this, in seconds.
const TURN: f64 = 0.02;

impl Replay<'_> {
    /// A call of the player's script.
    pub(super) fn call(&mut self, step: &str) {
        let words: Vec<_> = step.split(':').collect();
        let number = |i: usize| words[i].parse::<u64>().unwrap();
        let range = || number(2)..=number(3);
        let (group, now) = (&mut self.group, self.now);
        match words[1] {
            "have" => group.replication_mut(now).add_have(range()).unwrap(),
            "unhave" => group.replication_mut(now).remove_have(range()).unwrap(),
            "want" => group.replication_mut(now).add_want(range()).unwrap(),
            "unwant" => group.replication_mut(now).remove_want(range()).unwrap(),
            "sparse" => (0..number(2)).for_each(|i| {
                let start = number(3) + i * number(4);
                group.replication_mut(now).add_have(start..=start + number(5)).unwrap();
            }),
            "strat" if words[2] == "rarestFirst" => {
                group.replication_mut(now).set_strategy(ReplicationStrategy::RarestFirst);
            }
            "recv" if words[2] == "nearest" => group.set_receive_mode(now, ReceiveMode::Nearest),
            "recv" => group.set_receive_mode(now, ReceiveMode::Exact),
            "near" | "nearval" | "inc" | "dec" | "all" => self.route(&words),
            "post" | "posts" | "postk" => self.post(&words),
            "close" | "closenc" => group.close(now),
            "pub" | "pubset" | "play" | "nsclose" => self.stream(&words),
            "send" | "sendrep" | "count" | "rep" | "strat" | "join2" | "nsset" | "nsinfo" => {}
            other => panic!("{}: {other}", self.player.name),
        }
    }

    /// A call about a stream. Members of relayed recordings have one.
    fn stream(&mut self, words: &[&str]) {
        let mut multicast = self.group.multicast_mut(self.now);
        match words[1] {
            "play" => {
                let id = multicast.play(words[2]).unwrap();
                self.plays.insert(words[2].to_owned(), id);
            }
            "nsclose" => {
                if let Some(id) = self.plays.remove(words[2]) {
                    multicast.stop(id);
                } else if let Some(id) = self.streams.get(words[2]) {
                    multicast.unpublish(*id).unwrap();
                }
            }
            _ => {
                let mut options = PublishOptions::default();
                options.repeats_configuration = false;
                for option in &words[3..] {
                    set(&mut options.settings, option);
                }
                if let Ok(id) = multicast.publish(words[2], options) {
                    self.streams.insert(words[2].to_owned(), id);
                }
            }
        }
    }

    fn route(&mut self, words: &[&str]) {
        let sent = |account: &Account| {
            let sent = account.acts.iter().filter_map(|(_, _, act)| match act {
                Act::Sent(FlowKind::Routing, message) => Some(message.clone()),
                _ => None,
            });
            sent.collect::<Vec<_>>()
        };
        let next = sent(&self.player.account).get(sent(&self.account).len()).cloned();
        let message = next.unwrap_or(Bytes::from_static(&[5]));
        let own = self.group.address();
        let mut routing = self.group.routing_mut();
        let result = match words[1] {
            "inc" => routing.send_to_neighbor(SendMode::NextIncreasing, message),
            "dec" => routing.send_to_neighbor(SendMode::NextDecreasing, message),
            "all" => routing.send_to_all_neighbors(message),
            _ => {
                let address = match words[2] {
                    "nbr" => GroupAddress::of(&self.player.peer(0)),
                    "me" => own,
                    "zero" => GroupAddress([0; 32]),
                    "ff" => GroupAddress([0xff; 32]),
                    address => address.parse().unwrap(),
                };
                routing.send_to_nearest(&address, message)
            }
        };
        self.account.results.push(result.unwrap().as_str().to_owned());
    }

    /// The script posts one or several values, which are among those that the player sent next.
    fn post(&mut self, words: &[&str]) {
        let is_many = matches!(words[1], "posts" | "postk");
        let count = if is_many { words[2].parse().unwrap() } else { 1 };
        let result = self.player.account.results.get(self.account.results.len());
        self.account.results.extend(result.cloned());
        if result.is_none_or(|result| result.parse::<MessageId>().is_err()) {
            return;
        }
        let last = result.and_then(|id| id.parse::<MessageId>().ok()).map(|id| id.key());
        let from = self.now.as_secs_f64();
        let acts = || self.player.account.acts.iter().filter(|(at, ..)| *at >= from);
        let turn = acts().find(|(_, _, act)| act.posted().iter().any(|key| Some(*key) == last));
        let (at, to) = turn.map_or((from, 0), |(at, to, _)| (*at, *to));
        let of_turn = acts().filter(|(then, whom, _)| *whom == to && (then - at).abs() < TURN);
        let keys = last.into_iter().chain(of_turn.flat_map(|(_, _, act)| act.posted()));
        let mut posted = Vec::new();
        for key in keys.filter(|key| !self.heard.contains(key)) {
            // One that nobody asked for is only known by its key.
            let known = self.player.values.iter().find(|value| MessageId::of(value).key() == key);
            let unknown = || Bytes::from(format!("\x02\0\x10{key}"));
            let value = known.cloned().or_else(|| scripted(words, key)).unwrap_or_else(unknown);
            if posted.len() < count && !posted.contains(&value) {
                posted.push(value);
            }
        }
        for value in posted {
            self.group.posting_mut(self.now).post(value.into()).unwrap();
        }
    }

    pub(super) fn answer(&mut self, index: u64, is_written: bool) {
        let at = self.requests.iter().position(|(of, _)| *of == index || index == u64::MAX);
        let Some((index, id)) = at.and_then(|at| self.requests.remove(at)) else { return };
        let mut replication = self.group.replication_mut(self.now);
        match self.objects.get(&index).filter(|_| is_written) {
            Some(object) => replication.write_requested(id, object.clone()),
            None => replication.deny_requested(id),
        };
    }

    pub(super) fn count(&mut self) {
        let (from, to) = self.group.local_coverage();
        let neighbors = self.group.neighbors().len();
        let estimate = self.group.estimated_member_count();
        let mode = match self.group.config().receive_mode {
            ReceiveMode::Exact => "exact",
            ReceiveMode::Nearest => "nearest",
        };
        let count = format!("nbrs={neighbors} est={estimate} cov={from}..{to} mode={mode}");
        self.account.counts.push(count);
    }
}

/// A property of NetStream, as the script writes it: name and value, times in seconds.
fn set(settings: &mut StreamSettings, option: &str) {
    let (name, value) = option.split_once(',').unwrap();
    let duration = || Duration::from_secs_f64(value.parse().unwrap());
    match name {
        "multicastAvailabilityUpdatePeriod" => settings.availability_update_period = duration(),
        "multicastAvailabilitySendToAll" => settings.availability_send_to_all = value == "true",
        "multicastFetchPeriod" => settings.fetch_period = duration(),
        "multicastWindowDuration" => settings.window_duration = duration(),
        _ => {}
    }
}

/// The value with this key that a call `postk:<count>:<bytes>` posts: a string of that many bytes with its head, of
/// the number in the call, a counter and digits.
fn scripted(words: &[&str], key: PostKey) -> Option<Bytes> {
    let size: usize = words.get(3).filter(|_| words[1] == "postk")?.parse().ok()?;
    let text = |number: usize, counter: usize| {
        let digits = ('0'..='9').cycle();
        let text = format!("k{number}_{counter}");
        text.chars().chain(digits).take(size - 3).collect::<String>()
    };
    let values = (0..16).flat_map(|number| (0..200).map(move |counter| text(number, counter)));
    let head = [0x02, 0, (size - 3) as u8];
    let mut values = values.map(|text| Bytes::from([&head[..], text.as_bytes()].concat()));
    values.find(|value| MessageId::of(value).key() == key)
}
