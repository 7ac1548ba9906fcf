// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_lblc_rs`: what each service remembers. It may be long: it is read line by line, and
//! of a destination only its server is counted.
//!
//! ```text
//! FWM 1 entries 2 buckets 1024 max 262144 expiration 86400 bytes 8320
//!   198.18.0.7 10.0.11.2:80 12
//!   198.18.0.9 10.0.12.2:80 0 removed
//! ```

use crate::source::lines;
use std::{
    collections::HashMap,
    io::{self, BufRead},
    net::SocketAddr,
};

/// What a service remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) entries: u64,
    pub(crate) buckets: u64,
    pub(crate) max: u64,
    /// In seconds.
    pub(crate) expiration: u64,
    pub(crate) bytes: u64,
    /// The destinations of each server.
    pub(crate) servers: HashMap<SocketAddr, Destinations>,
}

/// The destinations that a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Destinations {
    pub(crate) count: u64,
    /// The server is not in the service at present.
    pub(crate) removed: bool,
}

impl Table {
    /// How much of the limit is used, from 0 to 1.
    pub(crate) fn filled(&self) -> f64 {
        self.entries as f64 / self.max.max(1) as f64
    }

    fn of<'a>(mut words: impl Iterator<Item = &'a str>) -> Self {
        let mut table = Self::default();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let Ok(value) = value.parse() else { continue };
            match name {
                "entries" => table.entries = value,
                "buckets" => table.buckets = value,
                "max" => table.max = value,
                "expiration" => table.expiration = value,
                "bytes" => table.bytes = value,
                _ => {}
            }
        }
        table
    }
}

/// The services in the file's order, with names as they are written there.
pub(crate) fn parse(file: impl BufRead) -> io::Result<Vec<(String, Table)>> {
    let mut services: Vec<(String, Table)> = Vec::new();
    // The servers of the service that is being read, by their text: a million lines name a few of them.
    let mut servers = HashMap::new();
    lines(file, |line| {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            return;
        };
        if !line.starts_with(' ') {
            settle(&mut services, &mut servers);
            services.push((format!("{first} {second}"), Table::of(words)));
        } else if words.next().is_some_and(is_number) {
            let removed = words.any(|word| word == "removed");
            if !servers.contains_key(second) {
                servers.insert(second.to_owned(), Destinations::default());
            }
            if let Some(it) = servers.get_mut(second) {
                it.count = it.count.saturating_add(1);
                it.removed = removed;
            }
        }
    })?;
    settle(&mut services, &mut servers);
    Ok(services)
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Gives the service that was read last its servers.
fn settle(services: &mut [(String, Table)], servers: &mut HashMap<String, Destinations>) {
    let known = servers
        .drain()
        .filter_map(|(text, it)| Some((text.parse().ok()?, it)));
    match services.last_mut() {
        Some((_, table)) => table.servers.extend(known),
        None => drop(known),
    }
}
