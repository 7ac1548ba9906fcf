// SPDX-License-Identifier: GPL-2.0

//! `/proc/net/ip_vs_lblc_rs_stats`: the counters of each service since its table was made.
//!
//! ```text
//! FWM 1 hits 412 unknown 57 expired 0 ... rekeys 0
//! ```

use crate::{misses, source::lines};
use liblblc::tables;
use std::{
    borrow::Cow,
    io::{self, BufRead},
};

/// The counters of one service, in the file's order. A name that we do not know is kept and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(pub(crate) Vec<(Cow<'static, str>, u64)>);

impl Counters {
    /// A counter's value; 0 if there is none of that name.
    pub(crate) fn get(&self, name: &str) -> u64 {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or(0, |(_, value)| *value)
    }

    /// How many decisions there were: each is a hit or has its reason not to be one.
    pub(crate) fn calls(&self) -> u64 {
        let misses = misses::ALL.iter().map(|miss| self.get(miss.name));
        misses.fold(self.get("hits"), u64::saturating_add)
    }

    /// The part of all decisions that were hits, from 0 to 1, if there were any.
    pub(crate) fn hit_ratio(&self) -> Option<f64> {
        let calls = self.calls();
        (calls > 0).then(|| self.get("hits") as f64 / calls as f64)
    }

    /// Connections that left a server that was too full for them.
    pub(crate) fn spills(&self) -> u64 {
        self.get("overloaded").saturating_add(self.get("threshold"))
    }

    /// The increase since `before`. A counter that decreased means that the table is new: then the
    /// increase is the whole counter.
    pub(crate) fn since(&self, before: &Counters) -> Counters {
        let anew = self.0.iter().any(|(name, value)| *value < before.get(name));
        let grown = self.0.iter().map(|(name, value)| {
            let start = if anew { 0 } else { before.get(name) };
            (name.clone(), value.saturating_sub(start))
        });
        Counters(grown.collect())
    }
}

/// The counters of a service, from netlink.
pub(crate) fn of(service: &tables::Service) -> Counters {
    let all = service.counters.iter();
    Counters(all.map(|(name, it)| (Cow::Borrowed(*name), *it)).collect())
}

/// The services in the file's order, with names as they are written there.
pub(crate) fn parse(file: impl BufRead) -> io::Result<Vec<(String, Counters)>> {
    let mut services = Vec::new();
    lines(file, |line| {
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(rest)) = (words.next(), words.next()) else {
            return;
        };
        let mut counters = Vec::new();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if let Ok(value) = value.parse() {
                counters.push((name.to_owned().into(), value));
            }
        }
        services.push((format!("{kind} {rest}"), Counters(counters)));
    })?;
    Ok(services)
}
