//! The addresses that a client reports to its server with `setPeerInfo` (RFC 7425 §5.3.3).

use std::net::SocketAddr;

use crate::amf::Value;

/// The command's name.
pub const COMMAND: &str = "setPeerInfo";

/// The most addresses that are taken from or put into one command; the rest is ignored.
pub const MAX_ADDRESSES: usize = 16;

/// The usable addresses in the arguments of `setPeerInfo`, without repetition.
///
/// Ignored are what is not a string of the form `192.0.2.1:5` or `[2001:db8::1]:5`, port 0, the
/// unspecified address (Flash Player always lists `0.0.0.0`), multicast and broadcast addresses.
pub fn parse(args: &[Value]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in args.iter().filter_map(Value::as_str).filter_map(|text| text.parse().ok()) {
        if addresses.len() == MAX_ADDRESSES {
            break;
        }
        if is_usable(&address) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The arguments of `setPeerInfo` for these addresses, unusable ones left out.
pub fn encode(addresses: &[SocketAddr]) -> Vec<Value> {
    let usable = addresses.iter().filter(|address| is_usable(address)).take(MAX_ADDRESSES);
    // Without a scope, which means nothing to others.
    usable.map(|address| SocketAddr::new(address.ip(), address.port()).to_string().into()).collect()
}

/// True if a client that lists these addresses is behind an address translator: if and only if the
/// address that its packets come from is not among them (RFC 7425 §5.3.3).
pub fn is_behind_nat(observed: SocketAddr, reported: &[SocketAddr]) -> bool {
    !reported.contains(&observed)
}

fn is_usable(address: &SocketAddr) -> bool {
    let broadcast = match address {
        SocketAddr::V4(v4) => v4.ip().is_broadcast(),
        SocketAddr::V6(_) => false,
    };
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn parse_texts(texts: &[&str]) -> Vec<SocketAddr> {
        parse(&texts.iter().map(|&text| text.into()).collect::<Vec<_>>())
    }

    #[test]
    fn what_flash_sends() {
        let parsed = parse_texts(&["0.0.0.0:58379", "10.77.0.1:58379"]);
        assert_eq!(parsed, addresses(&["10.77.0.1:58379"]));
    }

    #[test]
    fn the_example_of_the_rfc() {
        let texts = ["192.0.2.129:50001", "[2001:db8:1::2]:50002"];
        assert_eq!(parse_texts(&texts), addresses(&texts));
        assert_eq!(encode(&addresses(&texts)), texts.map(Value::from));
    }

    #[test]
    fn hostile_addresses_are_ignored() {
        let bad = [
            "",
            "1.2.3.4",
            "1.2.3.4:0",
            "1.2.3.4:65536",
            "::1:80",
            "[::]:80",
            "host:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[ff02::1]:80",
            " 1.2.3.4:5",
            "1.2.3.4:5\0",
        ];
        assert_eq!(parse_texts(&bad), []);
        assert_eq!(parse(&[Value::Null, Value::from(1.0), Value::object([("a", 1.0)])]), []);
        assert_eq!(parse_texts(&["1.2.3.4:5"; 3]), addresses(&["1.2.3.4:5"]));
    }

    #[test]
    fn the_number_is_bounded() {
        let many: Vec<_> = (1..100).map(|port| SocketAddr::from(([1, 2, 3, 4], port))).collect();
        assert_eq!(encode(&many).len(), MAX_ADDRESSES);
        let texts: Vec<_> = many.iter().map(|address| address.to_string().into()).collect();
        assert_eq!(parse(&texts), many[..MAX_ADDRESSES]);
    }

    #[test]
    fn a_scope_is_not_sent() {
        assert_eq!(encode(&addresses(&["[fe80::1%3]:5", "0.0.0.0:5"])), ["[fe80::1]:5".into()]);
    }

    #[test]
    fn nat_detection() {
        let reported = addresses(&["10.0.0.2:5"]);
        assert!(!is_behind_nat(reported[0], &reported));
        assert!(is_behind_nat("192.0.2.1:5".parse().unwrap(), &reported));
    }
}
