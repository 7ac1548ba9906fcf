// SPDX-License-Identifier: GPL-2.0

//! The scheduler that users know as `lblc_rs`, or as `lblc` if the module is to be a drop-in.

use super::{
    counters::{Counters, Event},
    gc::{self, Collector},
    policy::{self, Reading},
    show,
    table::{Entry, Table}, //
};
use crate::{
    ipvs::{Address, Call, Dest, Header, Limit, Scheduler, Server, Service},
    work::Work,
};
use core::ops::Range;
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
    time::Jiffies,
};

/// The state of one service.
#[pin_data]
pub(crate) struct Lblc {
    table: Table,
    collector: Collector,
    counters: Counters,
}

impl Scheduler for Lblc {
    const TICK: Jiffies = gc::TICK;

    fn init_service(service: &Service) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table: Table::new(Limit::of(service)?)?,
            collector: Collector::new(),
            counters: Counters::new()?,
        })
    }

    #[inline(always)]
    fn schedule<'g>(&'g self, call: Call<'g>, header: &Header<'_>) -> Option<&'g Dest> {
        let key = key(header);
        let entry = self.table.find(key, call.rcu);
        let known = match entry {
            Some(entry) if entry.touch(call.service.lblc_expiration()) => {
                let server = entry.server(call.rcu);
                let read = server
                    .dest(call.rcu)
                    .map(|dest| (dest, read(server, dest, call.service.flag_1())));
                if let Some((dest, _)) = read.filter(|(_, reading)| reading.is_good()) {
                    self.counters.count(Event::Hit);
                    return Some(dest);
                }
                Some((server, read.map(|(_, reading)| reading)))
            }
            _ => None,
        };
        self.choose(call, key, entry, known)
    }

    fn tick(&self, work: &Work) {
        self.collector.tick(work);
    }

    fn work(&self, service: &Service) {
        self.table.trim(&self.counters);
        self.collector
            .collect(&self.table, service.lblc_expiration(), &self.counters);
        self.table.fit(&self.counters);
    }

    const RECORDS: u64 = show::RECORDS;

    fn span(&self, record: u64) -> u64 {
        show::span(&self.table, record)
    }

    fn show(&self, service: &Service, records: Range<u64>, out: &SeqFile) {
        show::records(&self.table, service, records, out);
    }

    fn stats(&self, service: &Service, out: &SeqFile) {
        seq_print!(out, "{}", service.name());
        self.counters.show(out);
        seq_print!(out, "\n");
    }
}

impl Lblc {
    /// Chooses a server when the entry alone does not say it: `known` is the entry's server, and what
    /// was read of it if that is listed, unless there is no entry, or an expired one.
    #[cold]
    #[inline(never)]
    fn choose<'g>(
        &'g self,
        call: Call<'g>,
        key: Address,
        entry: Option<&Entry>,
        known: Option<(&'g Server, Option<Reading>)>,
    ) -> Option<&'g Dest> {
        let count_all = call.service.flag_1();
        let Some(servers) = call.servers.listed(call.rcu) else {
            return self.choose_from_list(call, key, entry, known);
        };
        // A server may be removed at any time: what was read of it decides, and it is alive until our
        // section ends.
        let listed = servers.filter_map(|server| Some((server, server.dest(call.rcu)?)));
        let current =
            known.and_then(|(server, reading)| Some(((server, server.dest(call.rcu)?), reading?)));
        let chosen = policy::choose(
            current,
            listed,
            |(a, _), (b, _)| core::ptr::eq(a, b),
            |(server, dest)| read(server, dest, count_all),
        );
        let server = chosen.map(|(server, _)| server);
        self.note(call, key, entry, known, server, chosen.is_some());
        chosen.map(|(_, dest)| dest)
    }

    /// As `choose()`, when memory was too short for the array of servers.
    #[cold]
    #[inline(never)]
    fn choose_from_list<'g>(
        &'g self,
        call: Call<'g>,
        key: Address,
        entry: Option<&Entry>,
        known: Option<(&'g Server, Option<Reading>)>,
    ) -> Option<&'g Dest> {
        let count_all = call.service.flag_1();
        let current = known.and_then(|(server, reading)| Some((server.dest(call.rcu)?, reading?)));
        let chosen = policy::choose(
            current,
            call.service.dests(call.rcu),
            |a, b| a.is(b),
            |dest| read_dest(dest, dest.weight(), dest.is_overload(), count_all),
        );
        let server = chosen.and_then(|dest| call.servers.find(dest, call.rcu));
        self.note(call, key, entry, known, server, chosen.is_some());
        chosen
    }

    /// Counts how it came to a choice, and remembers the server that was chosen.
    fn note<'g>(
        &self,
        call: Call<'g>,
        key: Address,
        entry: Option<&Entry>,
        known: Option<(&'g Server, Option<Reading>)>,
        chosen: Option<&'g Server>,
        any: bool,
    ) {
        let kept = known
            .is_some_and(|(known, _)| chosen.is_some_and(|chosen| core::ptr::eq(known, chosen)));
        self.counters.count(match (any, entry, known) {
            (false, ..) => Event::None,
            (true, ..) if kept => Event::Hit,
            (true, None, _) => Event::Unknown,
            (true, Some(_), None) => Event::Expired,
            (true, _, Some((_, None))) => Event::Unavailable,
            (true, _, Some((_, Some(reading)))) => match reading {
                Reading { weight: ..=0, .. } => Event::Weight0,
                Reading { overload: true, .. } => Event::Threshold,
                _ => Event::Overloaded,
            },
        });
        if !any {
            call.service.error(c"no destination available", call.rcu);
        }
        if let Some(chosen) = chosen.filter(|_| !kept) {
            self.table.remember(
                key,
                chosen,
                entry.is_some(),
                &self.counters,
                call.work,
                call.rcu,
            );
        }
    }
}

/// The address that the client talks to. In the header that an ICMP error quotes, that is where the
/// packet came from; C takes the client's address there.
#[inline(always)]
fn key(header: &Header<'_>) -> Address {
    if header.is_inverse() {
        header.source()
    } else {
        header.destination()
    }
}

/// What is known of a listed server.
#[inline(always)]
fn read(server: &Server, dest: &Dest, count_all: bool) -> Reading {
    read_dest(dest, server.weight(), server.is_overload(dest), count_all)
}

#[inline(always)]
fn read_dest(dest: &Dest, weight: i32, overload: bool, count_all: bool) -> Reading {
    let connections = (dest.active(), dest.others());
    let all = Dest::OTHERS_ARE_ALL;
    Reading::new(weight, connections, all, overload, count_all)
}
