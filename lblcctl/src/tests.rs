// SPDX-License-Identifier: GPL-2.0

//! The command line, and the text of `save`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::{
    failure::Failure,
    options::{Options, Prefix, Server},
    restore::parse,
};
use clap::{CommandFactory, Parser};

#[test]
fn the_command_line_is_consistent() {
    Options::command().debug_assert();
}

#[test]
fn servers_and_prefixes_are_read() {
    for (text, address, port) in [
        ("10.0.0.1", "10.0.0.1", None),
        ("10.0.0.1:0", "10.0.0.1", Some(0)),
        ("fd00::1", "fd00::1", None),
        ("[fd00::1]", "fd00::1", None),
        ("[fd00::1]:80", "fd00::1", Some(80)),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(text.parse(), Ok(Server { address, port }), "{text}");
    }
    for wrong in [
        "",
        "10.0.0",
        "10.0.0.1:",
        "10.0.0.1:65536",
        "[fd00::1",
        "name:80",
    ] {
        assert!(wrong.parse::<Server>().is_err(), "{wrong}");
    }
    for (text, address, length) in [
        ("10.0.0.0/8", "10.0.0.0", 8),
        ("10.0.0.1", "10.0.0.1", 32),
        ("fd00::/7", "fd00::", 7),
        ("::", "::", 128),
        ("::/0", "::", 0),
    ] {
        assert_eq!(
            text.parse(),
            Ok(Prefix(address.parse().unwrap(), length)),
            "{text}"
        );
    }
    for wrong in [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/-1",
    ] {
        assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |words: &str| {
        let words = ["lblcctl"]
            .into_iter()
            .chain(words.split_ascii_whitespace());
        Options::try_parse_from(words).is_err()
    };
    for wrong in [
        "",
        "shove",
        "set",
        "set 198.18.0.1",
        "set 198.18.0.1 10.0.0.1 --batch -",
        "set --batch - --idle 3",
        "set 198.18.0.1 10.0.0.1 --idle -1",
        "set 198.18.0.1 10.0.0.1 --idle 9999999999",
        "move --from 10.0.0.1",
        "get",
        "get name",
        "show everything",
        "del --server x",
        "flush 198.18.0.1",
    ] {
        assert!(refused(wrong), "{wrong}");
    }
    for right in [
        "show",
        "show entries --idle 0.5",
        "-s fwm1 flush",
        "flush -s fwm1 --json",
    ] {
        assert!(!refused(right), "{right}");
    }
}

const SAVED: &str = "\
FWM 1 entries 2 buckets 1024 max 262144 expiration 86400 bytes 8320
  198.18.0.7 10.0.11.2:80 12
  198.18.0.9 10.0.12.2:80 0 removed
FWM6 1 entries 1 buckets 1024 max 262144 expiration 86400 bytes 8320
  fd00::7 [fd00:1::2]:80 3
";

fn refusal(text: &[u8]) -> String {
    match parse(text, None) {
        Err(Failure::Usage(why)) => why,
        other => format!("{other:?}"),
    }
}

#[test]
fn all_of_a_saved_text_is_read() {
    let parts = parse(SAVED.as_bytes(), None).unwrap();
    let found: Vec<_> = parts
        .iter()
        .map(|it| {
            (
                it.service.to_string(),
                it.line,
                it.entries.len(),
                it.lines.clone(),
            )
        })
        .collect();
    let want = [
        ("FWM 1".to_owned(), 1, 2, vec![2, 3]),
        ("FWM6 1".to_owned(), 4, 1, vec![5]),
    ];
    assert_eq!(found, want);
}

#[test]
fn bad_input_is_refused_as_a_whole_with_its_line() {
    let with = |old: &str, new: &str| refusal(SAVED.replace(old, new).as_bytes());
    for (why, said) in [
        (
            "line 3: \"10.0.12.2\" is no server",
            with("10.0.12.2:80", "10.0.12.2"),
        ),
        ("line 3: \"remo\" is not known", with(" removed", " remo")),
        (
            "line 5: 198.18.0.1 is not of the family of FWM6 1",
            with("fd00::7", "198.18.0.1"),
        ),
        (
            "line 1: no line above names the service",
            refusal(b"198.18.0.7 10.0.11.2:80\n"),
        ),
        ("line 2: it is not text", refusal(b"FWM 1\n \xff\n")),
        (
            "line 2: it has no end",
            refusal(b"FWM 1\n  198.18.0.7 10.0.11.2:80 1"),
        ),
        ("line 4: \"FWM7 1\" names no service", with("FWM6", "FWM7")),
    ] {
        assert!(said.starts_with(why), "{said}");
        assert!(said.ends_with("; nothing was changed"), "{said}");
    }
}

/// Every text that is cut off, or has one byte changed, is refused or read: nothing else happens.
#[test]
fn no_text_is_too_strange() {
    let text = SAVED.as_bytes();
    for at in 0..text.len() {
        let cut = parse(&text[..at], None);
        assert!(
            cut.is_ok() == (at == 0 || text[at - 1] == b'\n'),
            "{at}: {cut:?}"
        );
        for byte in [0, b' ', b'\n', b'9', b':', b'[', 0xff] {
            let mut changed = text.to_vec();
            changed[at] = byte;
            let _ = parse(&changed, None);
        }
    }
}
