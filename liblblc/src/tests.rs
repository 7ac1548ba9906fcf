// SPDX-License-Identifier: GPL-2.0

//! What is made of netlink's attributes, of names, and of lines.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::{
    attributes::{put, put_nested, Attributes},
    changes::{self, Change},
    identity::Identity,
    ipvs::{self, Server, Service},
    lines::Line,
    proc,
    tables::{self, Entry},
};
use std::time::Duration;

/// What follows `prefix` in the names of the header that is generated from the specification.
fn names(prefix: &str) -> Vec<String> {
    const HEADER: &str = include_str!("../../bindings/netlink/uapi/linux/ip_vs_lblc_rs.h");
    let words = HEADER.lines().map(str::trim_start);
    words
        .filter_map(|line| line.strip_prefix(prefix))
        .filter_map(|line| line.split([',', ' ']).next())
        .map(str::to_lowercase)
        .filter(|name| name != "max")
        .collect()
}

#[test]
fn names_are_in_the_order_of_the_specification() {
    assert_eq!(tables::NAMES, *names("LBLC_RS_A_COUNTER_"));
    assert_eq!(changes::KINDS, *names("IP_VS_LBLC_RS_CHANGE_KIND_"));
    assert_eq!(changes::REASONS, *names("IP_VS_LBLC_RS_CHANGE_REASON_"));
}

fn attributes(all: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in all {
        put(&mut bytes, *kind, value);
    }
    bytes
}

fn service(family: u16, more: &[(u16, &[u8])]) -> Vec<u8> {
    let family = family.to_ne_bytes();
    let flags = [17u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat();
    let mut bytes = attributes(&[(1, &family)]);
    bytes.extend(attributes(more));
    bytes.extend(attributes(&[
        (6, b"lblc_rs\0"),
        (7, &flags),
        (10, b"sip\0"),
    ]));
    bytes
}

fn parsed(bytes: &[u8]) -> Option<Service> {
    ipvs::service(Attributes::new(bytes))
}

#[test]
fn netlink_says_which_family_a_mark_is_of() {
    let mark = 9u32.to_ne_bytes();
    for (family, name) in [(2, "FWM 9"), (10, "FWM6 9")] {
        let service = parsed(&service(family, &[(5, &mark)])).unwrap();
        assert_eq!(service.identity.to_string(), name);
        assert_eq!(service.scheduler, "lblc_rs");
        assert!(service.persistent);
        assert_eq!(service.flags, ["flag-2"]);
        let inner = attributes(&[(1, &family.to_ne_bytes()), (5, &mark)]);
        let request = service.identity.attributes();
        assert_eq!(request, inner, "what a request names it by");
    }
}

#[test]
fn netlink_names_services_as_the_module_does() {
    let mut four = [0; 16];
    four[..4].copy_from_slice(&[10, 0, 1, 100]);
    let mut six = [0; 16];
    six[0] = 0xfd;
    six[15] = 1;
    let port = 80u16.to_be_bytes();
    for (family, protocol, address, name) in [
        (2, 6u16, four, Some("TCP 10.0.1.100:80")),
        (10, 17, six, Some("UDP [fd00::1]:80")),
        (2, 132, four, Some("SCTP 10.0.1.100:80")),
        (2, 1, four, None),
    ] {
        let protocol = protocol.to_ne_bytes();
        let bytes = service(family, &[(2, &protocol), (3, &address), (4, &port)]);
        let found = parsed(&bytes).map(|it| it.identity.to_string());
        assert_eq!(found.as_deref(), name);
    }
}

#[test]
fn netlink_cut_anywhere_is_no_trouble() {
    let number = |it: u32| it.to_ne_bytes();
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[10, 0, 11, 2]);
    let bytes = attributes(&[
        (1, &address),
        (2, &80u16.to_be_bytes()),
        (4, &number(1000)),
        (5, &number(7)),
        (7, &number(3)),
        (8, &number(4)),
        (11 | 0x8000, &2u16.to_ne_bytes()),
    ]);
    let whole = Server {
        address: "10.0.11.2:80".parse().unwrap(),
        weight: 1000,
        active: 3,
        inactive: 4,
        threshold: 7,
    };
    assert_eq!(ipvs::server(Attributes::new(&bytes)), Some(whole));
    assert!(whole.is_full());
    // The last attribute is two bytes, and two to fill up.
    for end in 0..bytes.len() - 2 {
        assert_eq!(ipvs::server(Attributes::new(&bytes[..end])), None, "{end}");
    }
    let nonsense: Vec<u8> = (0..=255).collect();
    for start in 0..nonsense.len() {
        assert!(Attributes::new(&nonsense[start..]).count() < 64);
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for name in [
        "FWM 1",
        "FWM6 1",
        "FWM 61",
        "TCP 192.0.2.1:80",
        "UDP [2001:db8::1]:53",
        "SCTP [::]:0",
    ] {
        let identity: Identity = name.parse().unwrap();
        assert_eq!(identity.to_string(), name);
        let bytes = identity.attributes();
        assert_eq!(Identity::parse(Attributes::new(&bytes)), Some(identity));
    }
    for (text, name) in [
        ("fwm1", "FWM 1"),
        ("fwm61", "FWM 61"),
        (" fwm6 1 ", "FWM6 1"),
        ("tcp 192.0.2.1:80", "TCP 192.0.2.1:80"),
        ("tcp[::1]:80", "TCP [::1]:80"),
    ] {
        let identity = text.parse::<Identity>().map(|it| it.to_string());
        assert_eq!(identity.as_deref(), Ok(name));
    }
    for wrong in [
        "",
        "FWM",
        "FWM 0",
        "FWM -1",
        "FWM 4294967296",
        "FWM6 x",
        "TCP 192.0.2.1",
        "ICMP 1.2.3.4:0",
        "TCP 1.2.3.4:65536",
        "é",
        "fwm6é 1",
        "F",
    ] {
        assert!(wrong.parse::<Identity>().is_err(), "{wrong}");
    }
}

#[test]
fn lines_are_those_of_proc() {
    let text = "198.18.0.9 10.0.12.2:80 7 removed";
    let entry = Entry {
        key: "198.18.0.9".parse().unwrap(),
        server: "10.0.12.2:80".parse().unwrap(),
        idle: Duration::from_secs(7),
        removed: true,
    };
    assert_eq!(entry.to_string(), text);
    assert_eq!(Line::parse(&format!("  {text}")), Ok(Line::Entry(entry)));
    let six = "2001:db8::7 [fd00::1]:0 0";
    let Ok(Line::Entry(entry)) = Line::parse(six) else {
        unreachable!("{six}");
    };
    assert_eq!(entry.to_string(), six);
    let service = "FWM6 9 entries 2 buckets 1024 max 262144 expiration 86400 bytes 8320";
    assert_eq!(
        Line::parse(service),
        Ok(Line::Service(Identity::Mark(9, true)))
    );
    assert_eq!(
        Line::parse("FWM 9"),
        Ok(Line::Service(Identity::Mark(9, false)))
    );
    for nothing in ["", "   ", "# saved yesterday"] {
        assert_eq!(Line::parse(nothing), Ok(Line::Nothing));
    }
    for (wrong, why) in [
        ("  198.18.0.9", "the server is missing"),
        (
            "  198.18.0.9 10.0.12.2 7",
            "\"10.0.12.2\" is no server: address:port or [address]:port is",
        ),
        (
            "  198.18.0.9 10.0.12.2:80 -7",
            "\"-7\" is no number of seconds",
        ),
        (
            "  198.18.0.9 10.0.12.2:80 99999999999",
            "\"99999999999\" is no number of seconds",
        ),
        (
            "  198.18.0.9 10.0.12.2:80 7 remove",
            "\"remove\" is not known",
        ),
        (
            "  198.18.0.9 10.0.12.2:80 7 removed x",
            "\"x\" is not known",
        ),
        (
            "  198.18.0.900 10.0.12.2:80 7",
            "\"198.18.0.900\" is neither a destination nor a service",
        ),
        ("FWM", "\"FWM\" is neither a destination nor a service"),
        ("FWM 1 entries", "\"entries\" has no value"),
        ("FWM 1 entries x", "\"entries\" has no value"),
    ] {
        assert_eq!(Line::parse(wrong), Err(why.to_owned()), "{wrong}");
    }
}

#[test]
fn the_file_of_ipvs_has_all_servers() {
    let text = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000164:0050 lblc_rs persistent 300
  -> 0A000B02:0050      Masq    1000   3          4
UDP  [fd00:000c:0000:0000:0000:0000:0000:0100]:0051 lblc_rs
  -> [fd00:0001:0000:0000:0000:0000:0000:0002]:0050      Masq    7   0          0
  -> 0A000B03:0000      Tunnel  8      0          0
FWM  0000000A lblc_rs
FWM  00000002 lblc_rs
FWM  00000002 lblc_rs
  -> 0A000B02:0000      Route   1000   0          0
FWM  00000003 lblc_rs
  -> 0A000B02:0000      Route   10";
    let servers = proc::parse(text.as_bytes());
    let of = |name: &str| {
        let identity: Identity = name.parse().unwrap();
        let found = servers.get(&proc::Name::of(&identity))?;
        Some(
            found
                .iter()
                .map(|it| (it.address.to_string(), it.weight))
                .collect::<Vec<_>>(),
        )
    };
    let two = "TCP 10.0.1.100:80";
    assert_eq!(of(two), Some(vec![("10.0.11.2:80".into(), 1000)]));
    let server = servers[&proc::Name::of(&two.parse().unwrap())][0];
    assert_eq!((server.active, server.inactive), (3, 4));
    assert_eq!(
        of("UDP [fd00:c::100]:81"),
        Some(vec![
            ("[fd00:1::2]:80".into(), 7),
            ("10.0.11.3:0".into(), 8)
        ])
    );
    assert_eq!(of("FWM 10"), Some(Vec::new()));
    assert_eq!(of("FWM 2"), None, "two services have this name");
    assert_eq!(of("FWM6 2"), None, "two services have this name");
    assert_eq!(of("FWM 3"), Some(Vec::new()), "the line has no end");
}

#[test]
fn changes_are_read_as_they_are_specified() {
    let mut entry = attributes(&[
        (1, &[198, 18, 0, 7]),
        (2, &[10, 0, 12, 2]),
        (3, &80u16.to_be_bytes()),
        (4, &1500u32.to_ne_bytes()),
    ]);
    let mut bytes = attributes(&[(1, &1u32.to_ne_bytes())]);
    put_nested(&mut bytes, 2, &entry);
    let inserted = Change::parse(Attributes::new(&bytes)).unwrap();
    assert_eq!((inserted.kind, inserted.reason), ("replace", None));
    bytes.extend(attributes(&[
        (3, &4u32.to_ne_bytes()),
        (4, &[10, 0, 11, 2]),
        (5, &80u16.to_be_bytes()),
    ]));
    let replaced = Change::parse(Attributes::new(&bytes)).unwrap();
    assert_eq!(replaced.reason, Some("overloaded"));
    assert_eq!(replaced.old_server, "10.0.11.2:80".parse().ok());
    assert_eq!(replaced.entry.to_string(), "198.18.0.7 10.0.12.2:80 1");
    entry.truncate(8);
    let mut cut = attributes(&[(1, &1u32.to_ne_bytes())]);
    put_nested(&mut cut, 2, &entry);
    assert_eq!(Change::parse(Attributes::new(&cut)), None);
}
