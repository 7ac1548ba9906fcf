// SPDX-License-Identifier: GPL-2.0

//! The scheduler that users know as `lblc_rs`, or as `lblc` if the module is to be a drop-in.

use super::{
    counters::{Counters, Event},
    gc::{self, Collector},
    policy::{self, Choice, Reading},
    show,
    table::{Entry, Table}, //
};
use crate::{
    ipvs::{Address, Call, Dest, Glance, Header, Netns, Scheduler, Server, Service},
    netns::{expiration, trace, Shown, State},
    work::Work,
};
use core::ops::Range;
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
    sync::Arc,
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
    type Netns = State;

    const TICK: Jiffies = gc::TICK;

    fn init_service<'a>(
        _: &'a Service,
        netns: &'a Arc<Netns<Self>>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            table: Table::new(netns.clone())?,
            collector: Collector::new(),
            counters: Counters::new()?,
        })
    }

    #[inline(always)]
    fn schedule<'g>(call: Call<'g, Self>, header: &Header<'_>) -> Option<&'g Dest> {
        if header.is_inverse() {
            return Self::schedule_inverse(call, header.source());
        }
        let (key, table) = (header.destination(), &call.state().table);
        let entry = match header.is_ipv6() {
            true => table.find(key, call.rcu),
            false => table.find_ipv4(key.words()[0], call.rcu),
        };
        // Nearly always the entry says it all. (UDP connections never count as active: with
        // `ipvsadm -b flag-1` all count, and there is more to look at.)
        if let Some(entry) = entry {
            if !call.service.flag_1() && entry.touch(|| expiration(call.service)) {
                match entry.glance(call.rcu) {
                    Glance::Good(dest) => {
                        call.state().counters.count(Event::Hit);
                        return Some(dest);
                    }
                    Glance::Full(_) => return Self::keep_or_choose(call, key, entry),
                    Glance::Unclear => {}
                }
            }
        }
        Self::choose(call, key, entry)
    }

    fn tick(&self, work: &Work) {
        self.collector.tick(work);
    }

    fn work(&self, service: &Service) {
        self.table.trim(service, &self.counters);
        let expiration = Jiffies::try_from(expiration(service)).unwrap_or(0);
        self.collector
            .collect(&self.table, expiration, &self.counters);
        self.table.fit(service, &self.counters);
        self.table.reclaim();
    }

    fn close(&self) {
        self.table.abandon();
    }
}

impl Shown for Lblc {
    const RECORDS: u64 = show::RECORDS;

    fn batch_end(&self, record: u64) -> u64 {
        show::batch_end(&self.table, record)
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

/// What the table knows of a key.
#[derive(Clone, Copy)]
enum Known<'g> {
    Nothing,
    /// A server, by an entry that must not be used any more.
    Expired(&'g Server),
    /// A server that is not in the list.
    Removed(&'g Server),
    /// A server, and what was read of it.
    Listed(&'g Server, Reading),
}

impl<'g> Known<'g> {
    fn server(self) -> Option<&'g Server> {
        match self {
            Self::Nothing => None,
            Self::Expired(server) | Self::Removed(server) | Self::Listed(server, _) => Some(server),
        }
    }
}

impl Lblc {
    /// As `schedule()`, for the header that an ICMP error quotes: the address that the client talks to is
    /// where the packet came from. C takes the client's address there.
    #[cold]
    #[inline(never)]
    fn schedule_inverse(call: Call<'_, Self>, key: Address) -> Option<&Dest> {
        Self::choose(call, key, call.state().table.find(key, call.rcu))
    }

    /// Keeps a server that is good but for having many connections, unless another one is half idle. (Not a
    /// part of `schedule()`, which would save registers for it on every hit.)
    #[inline(never)]
    fn keep_or_choose<'g>(
        call: Call<'g, Self>,
        key: Address,
        entry: &'g Entry,
    ) -> Option<&'g Dest> {
        match entry.glance(call.rcu) {
            Glance::Full(dest) if !call.servers().any_half_idle(call.rcu) => {
                call.state().counters.count(Event::Hit);
                Some(dest)
            }
            _ => Self::choose(call, key, Some(entry)),
        }
    }

    /// Chooses a server when a glance at the entry did not do.
    #[cold]
    #[inline(never)]
    fn choose<'g>(
        call: Call<'g, Self>,
        key: Address,
        entry: Option<&'g Entry>,
    ) -> Option<&'g Dest> {
        let rcu = call.rcu;
        let count_all = call.service.flag_1();
        let known = match entry {
            None => Known::Nothing,
            Some(entry) if !entry.touch(|| expiration(call.service)) => {
                Known::Expired(entry.server(rcu))
            }
            Some(entry) => {
                let server = entry.server(rcu);
                let listed = server.dest(rcu);
                entry.refresh(rcu);
                listed.map_or(Known::Removed(server), |dest| {
                    Known::Listed(server, read(dest, count_all))
                })
            }
        };
        let current = match known {
            Known::Listed(_, reading) => Some(reading),
            _ => None,
        };
        let (chosen, server) = match call.servers().listed(rcu) {
            Some(slots) => {
                let relief = || match count_all {
                    false => call.servers().any_half_idle(rcu),
                    true => slots
                        .iter()
                        .any(|slot| read(slot.dest(rcu), true).is_half_idle()),
                };
                let choice = policy::choose(current, relief, slots.iter(), |slot| {
                    read(slot.dest(rcu), count_all)
                });
                match choice {
                    Choice::Take(slot) => (Choice::Take(slot.dest(rcu)), Some(slot.server())),
                    Choice::Keep => (Choice::Keep, None),
                    Choice::Nobody => (Choice::Nobody, None),
                }
            }
            None => Self::choose_from_list(call, current),
        };
        Self::answer(call, key, known, chosen, server)
    }

    /// The choice from the core's own list, when memory was too short for the array of servers.
    #[cold]
    fn choose_from_list<'g>(
        call: Call<'g, Self>,
        current: Option<Reading>,
    ) -> (Choice<&'g Dest>, Option<&'g Server>) {
        let count_all = call.service.flag_1();
        let choice = policy::choose(
            current,
            || {
                call.service
                    .dests(call.rcu)
                    .any(|dest| read(dest, count_all).is_half_idle())
            },
            call.service.dests(call.rcu),
            |dest| read(dest, count_all),
        );
        let server = match choice {
            Choice::Take(dest) => call.servers().find(dest, call.rcu),
            _ => None,
        };
        (choice, server)
    }

    /// Counts how it came to a choice, and remembers the server that was chosen.
    fn answer<'g>(
        call: Call<'g, Self>,
        key: Address,
        known: Known<'g>,
        choice: Choice<&'g Dest>,
        server: Option<&'g Server>,
    ) -> Option<&'g Dest> {
        let (event, dest) = match (choice, known) {
            (Choice::Nobody, _) => (Event::None, None),
            (Choice::Keep, Known::Listed(old, _)) => (Event::Hit, old.dest(call.rcu)),
            (Choice::Keep, _) => (Event::None, None),
            (Choice::Take(dest), Known::Listed(old, _)) if old.is_for(dest) => {
                (Event::Hit, Some(dest))
            }
            (Choice::Take(dest), Known::Nothing) => (Event::Unknown, Some(dest)),
            (Choice::Take(dest), Known::Expired(_)) => (Event::Expired, Some(dest)),
            (Choice::Take(dest), Known::Removed(_)) => (Event::Unavailable, Some(dest)),
            (Choice::Take(dest), Known::Listed(_, reading)) => {
                let event = match reading {
                    Reading { weight: ..=0, .. } => Event::Weight0,
                    Reading { overload: true, .. } => Event::Threshold,
                    _ => Event::Overloaded,
                };
                (event, Some(dest))
            }
        };
        let Self {
            table, counters, ..
        } = call.state();
        counters.count(event);
        if event != Event::Hit {
            trace::miss(call.service, key, known.server(), dest, event.name());
        }
        match (event, server) {
            (Event::Hit, _) => {}
            (Event::None, _) => call.service.error(c"no destination available", call.rcu),
            (_, Some(server)) => {
                let known = known.server().is_some();
                table.remember(call, key, server, known, counters);
            }
            (_, None) => counters.count(Event::Failure),
        }
        dest
    }
}

/// What is known of a server.
#[inline(always)]
fn read(dest: &Dest, count_all: bool) -> Reading {
    let connections = (dest.active(), dest.others());
    let (all, overload) = (Dest::OTHERS_ARE_ALL, dest.is_overload());
    Reading::new(dest.weight(), connections, all, overload, count_all)
}
