// SPDX-License-Identifier: GPL-2.0

//! What is made of netlink's attributes.

use crate::{
    ipvs::{self, Server, Service},
    netlink::{put, Attributes},
};

fn attributes(all: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in all {
        put(&mut bytes, *kind, value);
    }
    bytes
}

fn service(family: u16, more: &[(u16, &[u8])]) -> Vec<u8> {
    let family = family.to_ne_bytes();
    let flags = [1u32.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat();
    let mut bytes = attributes(&[(1, &family)]);
    bytes.extend(attributes(more));
    bytes.extend(attributes(&[
        (6, b"lblc_rs\0"),
        (7, &flags),
        (10, b"sip\0"),
    ]));
    bytes
}

fn parsed(bytes: &[u8]) -> Option<(Service, Vec<u8>)> {
    ipvs::service(Attributes(bytes))
}

#[test]
fn netlink_says_which_family_a_mark_is_of() {
    let mark = 9u32.to_ne_bytes();
    for (family, name) in [(2, "FWM 9"), (10, "FWM6 9")] {
        let (service, id) = parsed(&service(family, &[(5, &mark)])).unwrap();
        assert_eq!(service.name, name);
        assert_eq!(service.scheduler, "lblc_rs");
        assert!(service.persistent);
        let inner = attributes(&[(1, &family.to_ne_bytes()), (5, &mark)]);
        assert_eq!(id, attributes(&[(1, &inner)]), "what a request names it by");
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
        let found = parsed(&bytes).map(|(it, _)| it.name);
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
    assert_eq!(ipvs::server(Attributes(&bytes)), Some(whole));
    assert!(whole.is_full());
    // The last attribute is two bytes, and two to fill up.
    for end in 0..bytes.len() - 2 {
        assert_eq!(ipvs::server(Attributes(&bytes[..end])), None, "{end}");
    }
    let nonsense: Vec<u8> = (0..=255).collect();
    for start in 0..nonsense.len() {
        assert!(Attributes(&nonsense[start..]).count() < 64);
    }
}
