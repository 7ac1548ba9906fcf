// SPDX-License-Identifier: GPL-2.0

//! What is read, what is not there, and what makes no sense.

use super::{drawn, recorded, view, virtuals, IPVS, STATS, TABLE};
use crate::{
    counters::{self, Counters},
    source::{self, Source, Trouble},
    table,
};
use std::{collections::HashSet, env, fs, path::PathBuf, process, time::Duration};

/// A folder of files that goes away with its value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = env::temp_dir().join(format!("lblctop-{}-{name}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn source(folder: &Folder) -> Source {
    Source::new(&folder.0, folder.0.join("dropin"), |_, _| {
        Ok(virtuals(&IPVS))
    })
}

#[test]
fn the_recorded_files_belong_together() {
    let view = recorded();
    let names: Vec<_> = view.services.iter().map(|it| it.name.as_str()).collect();
    let sorted: HashSet<_> = names.iter().copied().collect();
    let expected = [
        "FWM 1",
        "FWM 2",
        "FWM6 2",
        "TCP 10.0.1.100:80",
        "TCP [fd00:c::100]:80",
    ];
    assert_eq!(sorted, HashSet::from(expected));
    assert_eq!(names[0], "FWM 1", "the busiest is first");
    for service in &view.services {
        let table = service.table.as_ref().unwrap();
        let sum: u64 = service.servers.iter().map(|it| it.destinations).sum();
        assert_eq!(sum, table.entries, "{}", service.name);
        assert!(!service.scheduler.is_empty(), "{}", service.name);
        let listed = service
            .servers
            .iter()
            .filter(|it| it.listed.is_some())
            .count();
        assert!(listed >= 1, "{}: {:?}", service.name, service.servers);
    }
    let others: Vec<_> = view.others.iter().map(ToString::to_string).collect();
    assert_eq!(others, ["TCP 10.0.1.100:81 has rr"]);
}

#[test]
fn a_module_without_netlink_is_read_from_its_files() {
    let files = [("ip_vs_lblc_rs", *TABLE), ("ip_vs_lblc_rs_stats", *STATS)];
    let folder = Folder::new("old", &files);
    let view = source(&folder).read().unwrap();
    assert_eq!(view.services.len(), recorded().services.len());
    let screen = drawn(&view, 132, 24, 0, 0);
    assert!(
        screen.contains("read from /proc: the module is older than 0.2.0"),
        "{screen}"
    );
}

#[test]
fn a_server_that_only_the_table_knows_is_removed() {
    let entries = "  198.18.0.1 10.0.11.2:0 1\n  198.18.0.2 10.0.99.2:0 1 removed\n";
    let view = view(&STATS, &format!("FWM 1 entries 2\n{entries}"), &IPVS);
    let servers = &view.services[0].servers;
    let states: Vec<_> = servers
        .iter()
        .map(|it| (it.destinations, view.services[0].state(it)))
        .collect();
    assert_eq!(
        states,
        [(0, "weight 0"), (0, "overloaded"), (1, ""), (1, "removed")]
    );
}

#[test]
fn services_of_one_name_find_their_own_servers() {
    let view = recorded();
    for service in view.services.iter().filter(|it| it.name.ends_with(" 2")) {
        let six = service
            .servers
            .iter()
            .filter(|it| it.address.is_ipv6())
            .count();
        let expected = match service.name.starts_with("FWM6 ") {
            true => service.servers.len(),
            false => 0,
        };
        assert_eq!(six, expected, "{}: {:?}", service.name, service.servers);
    }
}

#[test]
fn cut_anywhere_the_files_give_whole_lines_only() {
    for end in 0..TABLE.len() {
        for (_, table) in table::parse(TABLE[..end].as_bytes(), Some("FWM 1")).unwrap() {
            let known: HashSet<_> = table.servers.keys().collect();
            for server in known {
                assert!(TABLE.contains(&format!(" {server} ")), "{server} of {end}");
            }
        }
    }
    for end in 0..STATS.len() {
        for (name, _) in counters::parse(STATS[..end].as_bytes()).unwrap() {
            assert!(STATS.contains(&format!("{name} hits ")), "{name} of {end}");
        }
    }
}

#[test]
fn nonsense_is_left_out() {
    let table = concat!(
        "  198.18.0.1 10.0.11.2:80 1\nFWM 1 entries x buckets\n\n  a\n  b c d\n",
        "  e 10.0.11.2:80 -\n\u{7f}\n  198.18.0.1 nobody 3\n",
        "  198.18.0.2 10.0.11.2:80 3 removed now\n",
    );
    let parsed = table::parse(table.as_bytes(), None).unwrap();
    assert_eq!(parsed.len(), 1);
    assert_eq!(parsed[0].1.entries, 0);
    let server = "10.0.11.2:80".parse().unwrap();
    assert_eq!(parsed[0].1.servers[&server].count, 1);
    assert!(parsed[0].1.servers[&server].removed);
    assert!(counters::parse(&b"\nFWM\nx \xff\xfe 3\n"[..])
        .unwrap()
        .is_empty());
    let stats =
        counters::parse(&b"FWM 1 hits 99999999999999999999 unknown -1 none 3 new\n"[..]).unwrap();
    assert_eq!(stats[0].1, Counters(vec![("none".into(), 3)]));
}

#[test]
fn counters_of_a_service_that_was_made_anew_start_from_nothing() {
    let old = Counters(vec![("hits".into(), 50), ("unknown".into(), 1)]);
    let new = Counters(vec![("hits".into(), 7), ("unknown".into(), 3)]);
    assert_eq!(new.since(&old), new);
    assert_eq!(old.since(&Counters::default()), old);
    let most = Counters(vec![
        ("hits".into(), u64::MAX),
        ("unknown".into(), u64::MAX),
    ]);
    assert_eq!(most.calls(), u64::MAX);
    assert_eq!(old.since(&most), old);
}

#[test]
fn a_million_entries_are_counted_by_server() {
    let mut text = String::from(
        "FWM 1 entries 1000000 buckets 1048576 max 2000000 expiration 86400 bytes 8\n",
    );
    for n in 0..1_000_000u32 {
        text += &format!(
            "  198.{}.{}.{} 10.0.{}.2:0 {}\n",
            n >> 16,
            (n >> 8) & 255,
            n & 255,
            n % 7,
            n % 99
        );
    }
    let table = &table::parse(text.as_bytes(), Some("FWM 1")).unwrap()[0].1;
    assert_eq!(table.servers.len(), 7);
    assert_eq!(table.latest.len(), 1000, "of a long table those used last");
    assert!(table.latest.iter().all(|it| it.idle == 0));
    assert_eq!(
        table.servers.values().map(|it| it.count).sum::<u64>(),
        1_000_000
    );
}

#[test]
fn what_is_not_there_is_told() {
    let folder = Folder::new("nothing", &[]);
    let said = source(&folder).read().unwrap_err().to_string();
    assert!(
        said.ends_with("network namespace: modprobe ip_vs_lblc_rs"),
        "{said}"
    );
    fs::write(folder.0.join("ip_vs"), "").unwrap();
    let said = source(&folder).read().unwrap_err().to_string();
    let others =
        "namespace (TCP 10.0.1.100:81 has rr, FWM 2 has lblc_rs, FWM 1 has lblc_rs and 3 more): ";
    assert!(said.contains(others), "{said}");
    let folder = Folder::new(
        "empty",
        &[("ip_vs_lblc_rs", ""), ("ip_vs_lblc_rs_stats", "")],
    );
    let trouble = |source: &mut Source| source.read().unwrap().some().unwrap_err().to_string();
    let mut source_of_others = Source::new(&folder.0, folder.0.join("dropin"), |_, _| {
        Ok(virtuals("FWM  00000001 wlc\nFWM  00000002 lblc\n"))
    });
    let said = trouble(&mut source_of_others);
    assert!(
        said.contains("(FWM 1 has wlc, FWM 2 has lblc of ip_vs_lblc)"),
        "{said}"
    );
    fs::write(folder.0.join("dropin"), "Y\n").unwrap();
    let said = trouble(&mut source_of_others);
    assert!(said.contains("(FWM 1 has wlc)"), "{said}");
    let folder = Folder::new("folder", &[]);
    fs::create_dir_all(folder.0.join("ip_vs_lblc_rs_stats")).unwrap();
    assert!(matches!(
        source(&folder).read(),
        Err(Trouble::Unreadable(..))
    ));
}

#[test]
fn a_second_reading_has_what_happened_since() {
    let folder = Folder::new(
        "twice",
        &[
            ("ip_vs_lblc_rs", *TABLE),
            ("ip_vs_lblc_rs_stats", "FWM 1 hits 5\n"),
        ],
    );
    let mut source = source(&folder);
    assert!(source.read().unwrap().elapsed.is_none());
    fs::write(
        folder.0.join("ip_vs_lblc_rs_stats"),
        "FWM 1 hits 7\nFWM 2 hits 3\n",
    )
    .unwrap();
    let view = source.read().unwrap();
    let recent: Vec<_> = view
        .services
        .iter()
        .map(|it| it.recent.as_ref().unwrap().get("hits"))
        .collect();
    assert_eq!(recent, [2, 3]);
    assert!(view.elapsed.unwrap() > Duration::ZERO);
}

#[test]
fn a_destination_that_moves_is_told_from_where() {
    let table = |servers: [u8; 2]| {
        let line = |at: usize| format!("  198.18.0.{at} 10.0.{}.2:0 {}\n", servers[at], 9 - at);
        format!(
            "FWM 2 entries 0\n  198.18.9.9 10.0.1.2:0 0\nFWM 1 entries 2\n{}{}",
            line(0),
            line(1)
        )
    };
    let files = [
        ("ip_vs_lblc_rs", &*table([11, 12])),
        ("ip_vs_lblc_rs_stats", "FWM 1 hits 5\n"),
    ];
    let folder = Folder::new("moves", &files);
    let mut source = source(&folder);
    let latest = |source: &mut Source| {
        source.read().unwrap().services[0]
            .table
            .clone()
            .unwrap()
            .latest
    };
    assert!(latest(&mut source).is_empty(), "nobody asked for them");
    source.wanted().set(Some("FWM 1".into()));
    let first = latest(&mut source);
    let addresses: Vec<_> = first.iter().map(|it| it.address.as_str()).collect();
    assert_eq!(
        addresses,
        ["198.18.0.1", "198.18.0.0"],
        "the one used last is first"
    );
    assert!(first.iter().all(|it| it.moved.is_none()));
    fs::write(folder.0.join("ip_vs_lblc_rs"), table([11, 13])).unwrap();
    let second = latest(&mut source);
    assert_eq!(second[0].moved.as_ref().unwrap().0, "10.0.12.2:0");
    assert!(second[1].moved.is_none());
    source.wanted().set(None);
    assert!(latest(&mut source).is_empty());
}

#[test]
fn a_long_table_is_left_alone_for_a_while() {
    assert_eq!(source::pause(Duration::from_millis(1)), Duration::ZERO);
    assert_eq!(
        source::pause(Duration::from_secs(2)),
        Duration::from_secs(18)
    );
}
