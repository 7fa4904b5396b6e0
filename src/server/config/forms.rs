//! The forms that values of settings have in a file: how each is read, and how it is written.
//!
//! An error is the end of a sentence that names the setting, and says what to write.

use crate::driver::Listen;
use crate::flash::Keepalive;
use crate::flash::uri::DEFAULT_PORT;
use crate::transport::Rate;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toml::Value;

type Read<T> = Result<T, String>;

/// A word that stands for the absence of a value.
const OFF: &str = "off";

fn must(what: &str, value: &Value) -> String {
    // A value of the operator's own file; no more of it than fits a line.
    let found: String = value.to_string().chars().take(60).collect();
    format!("must be {what}, not {found}")
}

/// A text, or several.
fn texts(value: &Value) -> Option<Vec<&str>> {
    let one = value.as_str().map(|_| std::slice::from_ref(value));
    value.as_array().map(Vec::as_slice).or(one)?.iter().map(Value::as_str).collect()
}

/// Whole numbers from 1.
pub(super) mod count {
    use super::{Display, Read, Value, must};

    pub(in super::super) fn read<T: TryFrom<i64>>(value: &Value) -> Read<T> {
        let number = value.as_integer().filter(|number| *number > 0);
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| must("a whole number from 1, such as 1000", value))
    }

    pub(in super::super) fn write<T: Display>(number: &T) -> String {
        number.to_string()
    }
}

/// Bytes sent for each byte of a stranger: no more than QUIC allows (RFC 9000 §8.1).
pub(super) mod reply_factor {
    pub(in super::super) use super::count::write;
    use super::{Read, Value, must};

    pub(in super::super) fn read<T: TryFrom<i64>>(value: &Value) -> Read<T> {
        let number = value.as_integer().filter(|number| (1..=3).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| must("a whole number from 1 to 3", value))
    }
}

/// Whole numbers from 0.
pub(super) mod count_or_none {
    pub(in super::super) use super::count::write;
    use super::{Read, Value, must};

    pub(in super::super) fn read<T: TryFrom<i64>>(value: &Value) -> Read<T> {
        let number = value.as_integer().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| must("a whole number from 0, such as 1000", value))
    }
}

/// Numbers of workers.
pub(super) mod workers {
    pub(in super::super) use super::count::write;
    use super::{Read, Value, must};
    use crate::server::ServerConfig;
    use crate::transport::MAX_WORKERS;

    pub(in super::super) fn read(value: &Value) -> Read<usize> {
        if value.as_str() == Some("auto") {
            return Ok(ServerConfig::workers_for_all_processors());
        }
        let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
        match number.filter(|number| *number <= MAX_WORKERS) {
            Some(0) => Ok(ServerConfig::workers_for_all_processors()),
            Some(number) => Ok(number),
            None => {
                Err(must(&format!("\"auto\", or a whole number from 0 to {MAX_WORKERS}"), value))
            }
        }
    }
}

/// Addresses of NATS.
#[cfg(feature = "cluster-nats")]
pub(super) mod cluster_urls {
    use super::{Read, Value, must};
    use crate::server::ClusterUrl;

    pub(in super::super) fn read(value: &Value) -> Read<Vec<ClusterUrl>> {
        let error = || must(r#"addresses such as ["nats://bus.example:4222"]"#, value);
        let url = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let one = value.as_str().map(|_| std::slice::from_ref(value));
        let values = value.as_array().map(Vec::as_slice).or(one).ok_or_else(error)?;
        values.iter().map(|value| url(value).ok_or_else(error)).collect()
    }

    pub(in super::super) fn write(urls: &[ClusterUrl]) -> String {
        Value::from(urls.iter().map(ClusterUrl::as_str).collect::<Vec<_>>()).to_string()
    }
}

/// Other servers.
pub(super) mod servers {
    use super::{Read, Value, must};
    use crate::server::ClusterConfig;

    pub(in super::super) fn read(value: &Value) -> Read<Vec<String>> {
        let error = || must(r#"servers such as ["b.example", "c.example:1936"]"#, value);
        let server = |value: &Value| {
            let text = value.as_str().filter(|text| ClusterConfig::is_server(text));
            text.map(str::to_owned)
        };
        let one = value.as_str().map(|_| std::slice::from_ref(value));
        let values = value.as_array().map(Vec::as_slice).or(one).ok_or_else(error)?;
        values.iter().map(|value| server(value).ok_or_else(error)).collect()
    }

    pub(in super::super) fn write(servers: &[String]) -> String {
        Value::from(servers.to_vec()).to_string()
    }
}

/// Numbers of which 0 stands for the usual one.
pub(super) mod enough {
    use super::{Read, Value, count_or_none};

    pub(in super::super) fn read(value: &Value) -> Read<Option<usize>> {
        let number: usize = count_or_none::read(value)?;
        Ok(Some(number).filter(|number| *number > 0))
    }

    pub(in super::super) fn write(number: &Option<usize>) -> String {
        number.unwrap_or(0).to_string()
    }
}

/// Names of clusters.
pub(super) mod cluster_name {
    use super::{Read, Value, must};
    use crate::server::ClusterConfig;

    pub(in super::super) fn read(value: &Value) -> Read<String> {
        let name = value.as_str().filter(|name| ClusterConfig::is_name(name));
        let error = || must("a name of at most 64 letters, digits, - and _", value);
        name.map(str::to_owned).ok_or_else(error)
    }

    pub(in super::super) fn write(name: &str) -> String {
        Value::from(name).to_string()
    }
}

/// Bytes.
pub(super) mod size {
    use super::{Read, Value, must};
    use bytesize::ByteSize;

    /// The units that sizes are written in.
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

    pub(in super::super) fn read<T: TryFrom<u64>>(value: &Value) -> Read<T> {
        let bytes = match value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::String(text) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
            _ => None,
        };
        let bytes = bytes.filter(|bytes| *bytes > 0).and_then(|bytes| T::try_from(bytes).ok());
        bytes.ok_or_else(|| must(r#"a number of bytes such as "64 KiB", "1.5 MB" or 1500"#, value))
    }

    pub(in super::super) fn write<T: TryInto<u64> + Copy>(bytes: &T) -> String {
        // No size of a computer's memory is longer.
        let bytes: u64 = (*bytes).try_into().unwrap_or(u64::MAX);
        match UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
            Some((unit, name)) => format!("\"{} {name}\"", bytes / unit),
            None => bytes.to_string(),
        }
    }
}

/// Times.
pub(super) mod duration {
    use super::{Duration, Read, Value, must};

    pub(in super::super) fn read(value: &Value) -> Read<Duration> {
        let time = match value {
            Value::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            Value::String(text) => humantime::parse_duration(text).ok(),
            _ => None,
        };
        let time = time.filter(|time| !time.is_zero());
        time.ok_or_else(|| must(r#"a time such as "20s", "1m 30s" or "500ms""#, value))
    }

    pub(in super::super) fn write(time: &Duration) -> String {
        format!("\"{}\"", humantime::format_duration(*time))
    }
}

/// Budgets that refill.
pub(super) mod rate {
    use super::{Rate, Read, Value, must};

    pub(in super::super) fn read(value: &Value) -> Read<Rate> {
        let read = |table: &toml::Table| {
            let number = |key| u32::try_from(table.get(key)?.as_integer()?).ok();
            let rate = Rate { burst: number("burst")?, per_second: number("per_second")? };
            (table.len() == 2 && rate.burst > 0 && rate.per_second > 0).then_some(rate)
        };
        let rate = value.as_table().and_then(read);
        rate.ok_or_else(|| must("two numbers from 1: { burst = 40, per_second = 10 }", value))
    }

    pub(in super::super) fn write(rate: &Rate) -> String {
        format!("{{ burst = {}, per_second = {} }}", rate.burst, rate.per_second)
    }
}

/// Keepalive periods, or none.
pub(super) mod keepalive {
    use super::{Duration, Keepalive, OFF, Read, Value, duration, must};

    pub(in super::super) fn read(value: &Value) -> Read<Option<Keepalive>> {
        let read = |table: &toml::Table| {
            let time = |key| -> Option<Duration> { duration::read(table.get(key)?).ok() };
            let periods = Keepalive { server: time("server")?, peer: time("peer")? };
            (table.len() == 2 && periods == periods.at_least_min()).then_some(periods)
        };
        match value {
            Value::String(word) if word == OFF => Ok(None),
            _ => value.as_table().and_then(read).map(Some).ok_or_else(|| {
                must(r#"{ server = "20s", peer = "20s" }, each from 5s, or "off""#, value)
            }),
        }
    }

    pub(in super::super) fn write(periods: &Option<Keepalive>) -> String {
        periods.as_ref().map_or_else(
            || format!("\"{OFF}\""),
            |Keepalive { server, peer }| {
                let (server, peer) = (duration::write(server), duration::write(peer));
                format!("{{ server = {server}, peer = {peer} }}")
            },
        )
    }
}

/// Addresses to listen on.
pub(super) mod listen {
    use super::{DEFAULT_PORT, Listen, Read, SocketAddr, Value, must};

    pub(in super::super) fn read(value: &Value) -> Read<Vec<SocketAddr>> {
        let texts = match value {
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        let read = |value: &Value| match value {
            Value::String(text) => Listen::parse(text, DEFAULT_PORT).map_err(|e| e.to_string()),
            Value::Integer(port) => {
                Listen::parse(&port.to_string(), DEFAULT_PORT).map_err(|error| error.to_string())
            }
            _ => Err(must(r#"addresses such as ["1935", "192.0.2.7:443"]"#, value)),
        };
        let all: Vec<Listen> = texts.into_iter().map(read).collect::<Result<_, _>>()?;
        match all.is_empty() {
            true => Err(must(r#"at least one address, such as ["1935"]"#, value)),
            false => Ok(Listen::merged(all)),
        }
    }

    pub(in super::super) fn write(addresses: &[SocketAddr]) -> String {
        let all: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        format!("[{}]", all.join(", "))
    }
}

/// IP addresses.
pub(super) mod ips {
    use super::{IpAddr, Read, Value, must};

    pub(in super::super) fn read(value: &Value) -> Read<Vec<IpAddr>> {
        let ip = |value: &Value| value.as_str()?.parse().ok();
        let all: Option<Vec<IpAddr>> = match value {
            Value::Array(values) => values.iter().map(ip).collect(),
            value => ip(value).map(|ip| vec![ip]),
        };
        all.ok_or_else(|| must(r#"IP addresses such as ["192.0.2.7"]"#, value))
    }

    pub(in super::super) fn write(ips: &[IpAddr]) -> String {
        let all: Vec<_> = ips.iter().map(|ip| format!("\"{ip}\"")).collect();
        format!("[{}]", all.join(", "))
    }
}

/// Yes or no.
pub(super) mod toggle {
    use super::{Read, Value, must};

    pub(in super::super) fn read(value: &Value) -> Read<bool> {
        value.as_bool().ok_or_else(|| must("true or false", value))
    }

    pub(in super::super) fn write(yes: &bool) -> String {
        yes.to_string()
    }
}

/// Names of applications; none are any.
pub(super) mod names {
    use super::{BTreeSet, Read, Value, must};

    pub(in super::super) fn read(value: &Value) -> Read<Option<BTreeSet<String>>> {
        let name = |value: &Value| value.as_str().map(|name| name.trim_matches('/').to_owned());
        let names: Option<BTreeSet<String>> = match value {
            Value::Array(values) => values.iter().map(name).collect(),
            value => name(value).map(|name| [name].into()),
        };
        let names = names.filter(|names| !names.contains(""));
        let names =
            names.ok_or_else(|| must(r#"names of applications such as ["chat"]"#, value))?;
        Ok((!names.is_empty()).then_some(names))
    }

    pub(in super::super) fn write(names: &Option<BTreeSet<String>>) -> String {
        let names = names.iter().flatten().map(|name| Value::String(name.clone()).to_string());
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    }
}

/// What a hook is asked.
pub(super) mod hook_events {
    use super::{BTreeSet, Read, Value, must};
    use crate::rendezvous::HookKind;

    pub(in super::super) fn read(value: &Value) -> Read<BTreeSet<HookKind>> {
        let kind = |value: &Value| {
            HookKind::ALL.into_iter().find(|kind| value.as_str() == Some(kind.name()))
        };
        let kinds = value.as_array().and_then(|all| all.iter().map(kind).collect());
        kinds.ok_or_else(|| must(&format!("some of {}", write(&HookKind::ALL.into())), value))
    }

    pub(in super::super) fn write(kinds: &BTreeSet<HookKind>) -> String {
        let names: Vec<_> = kinds.iter().map(|kind| format!("\"{}\"", kind.name())).collect();
        format!("[{}]", names.join(", "))
    }
}

/// Texts; the empty one is none.
pub(super) mod text {
    use super::{Read, Value, must};

    pub(in super::super) fn read(value: &Value) -> Read<Option<String>> {
        let text = value.as_str().ok_or_else(|| must("a text in quotes", value))?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    pub(in super::super) fn write(text: &Option<String>) -> String {
        Value::String(text.clone().unwrap_or_default()).to_string()
    }
}

/// Paths of files; the empty one is none.
pub(super) mod path {
    use super::{PathBuf, Read, Value, text};

    pub(in super::super) fn read(value: &Value) -> Read<Option<PathBuf>> {
        Ok(text::read(value)?.map(PathBuf::from))
    }

    pub(in super::super) fn write(path: &Option<PathBuf>) -> String {
        text::write(&path.as_ref().map(|path| path.display().to_string()))
    }
}

/// Groupspecs. They are secret: no error repeats one.
pub(super) mod groupspecs {
    use super::{Read, Value, texts};
    use crate::group::GroupSpec;

    pub(in super::super) fn read(value: &Value) -> Read<Vec<GroupSpec>> {
        let texts = texts(value).ok_or(r#"must be groupspecs such as ["G:0103..."]"#)?;
        let specs = texts.into_iter().enumerate().map(|(at, text)| {
            GroupSpec::parse(text).map_err(|error| format!("has no groupspec at {at}: {error}"))
        });
        specs.collect()
    }

    pub(in super::super) fn write(specs: &[GroupSpec]) -> String {
        Value::from(specs.iter().map(GroupSpec::as_str).collect::<Vec<_>>()).to_string()
    }
}

/// Streams that go into groups. Their groupspecs are secret: no error repeats one.
pub(super) mod ingests {
    use super::super::Ingest;
    use super::{Read, Value, texts};

    pub(in super::super) fn read(value: &Value) -> Read<Vec<Ingest>> {
        let texts = texts(value).ok_or(r#"must be texts such as ["live/cam=G:0103..."]"#)?;
        let ingests = texts.into_iter().map(|text| {
            text.parse().map_err(|error| format!("has a stream without a group: {error}"))
        });
        ingests.collect()
    }

    pub(in super::super) fn write(ingests: &[Ingest]) -> String {
        Value::from(ingests.iter().map(Ingest::to_text).collect::<Vec<_>>()).to_string()
    }
}

/// Rates of transfer, or none.
pub(super) mod bandwidth {
    use super::{OFF, Read, Value, must};
    use crate::transport::Bandwidth;

    pub(in super::super) fn read(value: &Value) -> Read<Option<Bandwidth>> {
        let error = || must(r#"a rate such as "2 MB/s" or "10 Mbit/s", or "off""#, value);
        match value.as_str().ok_or_else(error)? {
            OFF => Ok(None),
            text => text.parse().map(Some).map_err(|_| error()),
        }
    }

    pub(in super::super) fn write(rate: &Option<Bandwidth>) -> String {
        rate.map_or_else(|| format!("\"{OFF}\""), |rate| format!("\"{rate}\""))
    }
}

/// Where the status page is.
pub(super) mod admin_listen {
    use super::{Read, Value};
    use crate::server::{AdminListen, AdminListenError};

    pub(in super::super) fn read(value: &Value) -> Read<AdminListen> {
        let text = match value {
            Value::Integer(port) => port.to_string(),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        text.parse().map_err(|error: AdminListenError| error.to_string())
    }

    pub(in super::super) fn write(listen: &AdminListen) -> String {
        format!("\"{listen}\"")
    }
}

/// Names of hosts.
pub(super) mod admin_hosts {
    use super::{BTreeSet, Read, Value, must};
    use crate::server::AdminSettings;

    pub(in super::super) fn read(value: &Value) -> Read<BTreeSet<String>> {
        let one = value.as_str().map(|_| std::slice::from_ref(value));
        let values = value.as_array().map(Vec::as_slice).or(one);
        let host = |value: &Value| AdminSettings::host(value.as_str()?).ok();
        let hosts = values.and_then(|values| values.iter().map(host).collect());
        hosts.ok_or_else(|| must(r#"names of hosts such as ["status.example.org"]"#, value))
    }

    pub(in super::super) fn write(hosts: &BTreeSet<String>) -> String {
        Value::from(hosts.iter().cloned().collect::<Vec<_>>()).to_string()
    }
}

/// One of the words of an enumeration.
pub(super) mod word {
    use super::super::settings::Word;
    use super::{Read, Value, must};

    pub(in super::super) fn read<W: Word>(value: &Value) -> Read<W> {
        let found = value.as_str().and_then(|text| {
            W::WORDS.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
        });
        found.ok_or_else(|| {
            let words: Vec<_> = W::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            must(&format!("one of {}", words.join(", ")), value)
        })
    }

    pub(in super::super) fn write<W: Word>(meaning: &W) -> String {
        let word = W::WORDS.iter().find(|(_, other)| other == meaning);
        format!("\"{}\"", word.map_or("", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        let table: toml::Table = format!("x = {text}").parse().unwrap();
        table["x"].clone()
    }

    #[test]
    fn sizes_and_times_as_people_write_them() {
        for (text, bytes) in
            [("\"64 KiB\"", 65_536), ("\"64KiB\"", 65_536), ("\"1.5 MB\"", 1_500_000), ("7", 7)]
        {
            assert_eq!(size::read::<u64>(&value(text)), Ok(bytes), "{text}");
        }
        assert_eq!(size::write(&(256_u64 << 20)), "\"256 MiB\"");
        assert_eq!(size::write(&1500_usize), "1500");
        let time = |ms| Ok(Duration::from_millis(ms));
        for (text, ms) in
            [("\"20s\"", 20_000), ("\"1m 30s\"", 90_000), ("\"500ms\"", 500), ("2", 2000)]
        {
            assert_eq!(duration::read(&value(text)), time(ms), "{text}");
        }
        assert_eq!(duration::write(&Duration::from_millis(90_500)), "\"1m 30s 500ms\"");
    }

    #[test]
    fn what_is_refused() {
        for text in ["0", "-1", "\"0s\"", "\"soon\"", "1.5", "true"] {
            assert!(duration::read(&value(text)).is_err(), "{text}");
        }
        for text in ["0", "-1", "\"64 bananas\"", "1.5", "[]"] {
            assert!(size::read::<u64>(&value(text)).is_err(), "{text}");
        }
        for text in ["0", "-1", "1.5", "\"7\"", "5000000000"] {
            assert!(count::read::<u32>(&value(text)).is_err(), "{text}");
        }
        for text in ["0", "4", "100"] {
            assert!(reply_factor::read::<usize>(&value(text)).is_err(), "{text}");
        }
        for text in [
            "7",
            "{ burst = 1 }",
            "{ burst = 1, per_second = 0 }",
            "{ burst = 1, per_second = 1, x = 1 }",
        ] {
            assert!(rate::read(&value(text)).is_err(), "{text}");
        }
        for text in ["\"on\"", "{ server = \"20s\" }", "{ server = \"1s\", peer = \"20s\" }"] {
            assert!(keepalive::read(&value(text)).is_err(), "{text}");
        }
        for text in ["[]", "[true]", "[\"99999\"]", "99999"] {
            assert!(listen::read(&value(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_show_what_to_write() {
        let error = size::read::<u64>(&value("\"64 bananas\"")).unwrap_err();
        assert_eq!(
            error,
            "must be a number of bytes such as \"64 KiB\", \"1.5 MB\" or 1500, not \"64 bananas\""
        );
    }
}
