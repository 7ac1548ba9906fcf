// SPDX-License-Identifier: GPL-2.0

//! The scheduler that users know as `lblc_rs`, or as `lblc` if the module is to be a drop-in.

use super::{
    counters::{
        Counters,
        Event, //
    },
    entry::Entry,
    gc::{
        self,
        Collector, //
    },
    policy::{
        self,
        DestSnapshot,
        Verdict, //
    },
    rendezvous::{
        key_hash,
        server_hash,
        Score, //
    },
    show,
    table::Table, //
};
use crate::{
    ipvs::{
        Address,
        Dest,
        Endpoint,
        FastCheck,
        Header,
        Netns,
        SchedContext,
        Scheduler,
        Server,
        Service, //
    },
    netns::{
        expiration,
        trace,
        Shown,
        State, //
    }, //
};
use core::ops::Range;
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::Arc,
    time::Jiffies, //
};

/// The state of one service.
#[pin_data]
pub(crate) struct Lblc {
    pub(super) table: Table,
    collector: Collector,
    pub(super) counters: Counters,
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

    fn server_tag(server: Endpoint) -> u64 {
        let (address, port) = server.numbers();
        server_hash(address, port)
    }

    #[inline(always)]
    fn schedule<'g>(call: SchedContext<'g, Self>, header: &Header<'_>) -> Option<&'g Dest> {
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
            if !call.service.sched_flag1() && entry.touch(|| expiration(call.service)) {
                match entry.check_fast(call.rcu) {
                    FastCheck::Good(dest) => {
                        call.state().counters.count(Event::Hit);
                        return Some(dest);
                    }
                    FastCheck::Full(_) => return Self::keep_or_choose(call, key, entry),
                    FastCheck::Unclear => {}
                }
            }
        }
        Self::choose(call, key, entry)
    }

    fn work(&self, service: &Service, ticks: u32) {
        self.table.trim(service, &self.counters);
        let expiration = Jiffies::try_from(expiration(service)).unwrap_or(0);
        self.collector
            .collect(&self.table, ticks, expiration, &self.counters);
        self.table.fit(service, &self.counters);
        self.table.reclaim();
    }

    fn done_service(&self) {
        self.table.cancel();
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

/// The result of looking a key up in the table.
#[derive(Clone, Copy)]
enum Lookup<'g> {
    /// Nothing.
    Unknown,
    /// A server, but the entry has been idle for longer than `lblc_expiration`.
    Expired(&'g Server),
    /// A server that is not in the list.
    Removed(&'g Server),
    /// A server that is in the list, and what was read of it, once.
    Listed(&'g Server, &'g Dest, DestSnapshot),
}

impl<'g> Lookup<'g> {
    fn server(self) -> Option<&'g Server> {
        match self {
            Self::Unknown => None,
            Self::Expired(server) | Self::Removed(server) | Self::Listed(server, ..) => {
                Some(server)
            }
        }
    }
}

/// The decision on a connection.
#[derive(Clone, Copy)]
enum Decision<'g> {
    /// It goes where its key went before.
    Keep(&'g Dest),
    /// It goes to a server chosen anew, for this reason. The `Server` is missing if memory was too
    /// short to know it.
    Choose(Event, &'g Dest, Option<&'g Server>),
    /// No server accepts it.
    Refuse,
}

impl Lblc {
    /// As `schedule()`, for the header that an ICMP error quotes: the address that the client talks
    /// to is where the packet came from. C takes the client's address there.
    #[cold]
    #[inline(never)]
    fn schedule_inverse(call: SchedContext<'_, Self>, key: Address) -> Option<&Dest> {
        Self::choose(call, key, call.state().table.find(key, call.rcu))
    }

    /// Keeps a server that is good but for having many connections, unless another one is half
    /// idle. (Not a part of `schedule()`, which would save registers for it on every hit; and the
    /// server is not an argument, as that costs the hit an instruction.)
    #[inline(never)]
    fn keep_or_choose<'g>(
        call: SchedContext<'g, Self>,
        key: Address,
        entry: &'g Entry,
    ) -> Option<&'g Dest> {
        match entry.check_fast(call.rcu) {
            FastCheck::Full(dest) if !call.servers().any_half_idle(call.rcu) => {
                call.state().counters.count(Event::Hit);
                Some(dest)
            }
            _ => Self::choose(call, key, Some(entry)),
        }
    }

    /// Chooses a server when a fast check of the entry was not enough: look up, decide, record.
    #[cold]
    #[inline(never)]
    fn choose<'g>(
        call: SchedContext<'g, Self>,
        key: Address,
        entry: Option<&'g Entry>,
    ) -> Option<&'g Dest> {
        let found = Self::look_up(call, entry);
        let decision = Self::decide(call, key, found);
        Self::record(call, key, found, decision)
    }

    /// What `entry` says; notes that it was asked for.
    fn look_up<'g>(call: SchedContext<'g, Self>, entry: Option<&'g Entry>) -> Lookup<'g> {
        let Some(entry) = entry else {
            return Lookup::Unknown;
        };
        let server = entry.server(call.rcu);
        if !entry.touch(|| expiration(call.service)) {
            return Lookup::Expired(server);
        }
        entry.refresh(call.rcu);
        match server.dest(call.rcu) {
            None => Lookup::Removed(server),
            Some(dest) => Lookup::Listed(server, dest, read(dest, call.service.sched_flag1())),
        }
    }

    /// The decision. C: `ip_vs_lblc_schedule()`.
    fn decide<'g>(call: SchedContext<'g, Self>, key: Address, found: Lookup<'g>) -> Decision<'g> {
        let (current, reason) = match found {
            Lookup::Unknown => (None, Event::Unknown),
            Lookup::Expired(_) => (None, Event::Expired),
            Lookup::Removed(_) => (None, Event::Unavailable),
            Lookup::Listed(_, dest, reading) => {
                match policy::judge(&reading, || Self::any_half_idle(call)) {
                    Verdict::Keep => return Decision::Keep(dest),
                    Verdict::Quiesced => (Some(dest), Event::Weight0),
                    Verdict::AtThreshold => (Some(dest), Event::Threshold),
                    Verdict::Overloaded => (Some(dest), Event::Overloaded),
                }
            }
        };
        let best = match call.service.sched_flag2() {
            true => Self::first_in_order(call, key),
            false => Self::least_loaded(call),
        };
        match best {
            None => Decision::Refuse,
            // Overloaded, but still the least loaded.
            Some((best, _)) if current.is_some_and(|dest| core::ptr::eq(dest, best)) => {
                Decision::Keep(best)
            }
            Some((best, server)) => Decision::Choose(reason, best, server),
        }
    }

    /// Whether any listed server has less than half of the connections that its weight allows.
    fn any_half_idle(call: SchedContext<'_, Self>) -> bool {
        let (servers, rcu, count_all) = (call.servers(), call.rcu, call.service.sched_flag1());
        let is_half_idle = |dest: &Dest| read(dest, count_all).is_half_idle();
        match servers.listed(rcu) {
            Some(_) if !count_all => servers.any_half_idle(rcu),
            Some(slots) => slots.iter().any(|slot| is_half_idle(slot.dest(rcu))),
            None => call.service.dests(rcu).any(is_half_idle),
        }
    }

    /// The least loaded server: of the array, or of the core's list if memory was too short for
    /// that.
    fn least_loaded<'g>(call: SchedContext<'g, Self>) -> Option<(&'g Dest, Option<&'g Server>)> {
        let (servers, rcu, count_all) = (call.servers(), call.rcu, call.service.sched_flag1());
        if let Some(slots) = servers.listed(rcu) {
            let listed = slots.iter().rev().map(|slot| slot.get(rcu));
            policy::least_loaded(listed, |(dest, _)| read(dest, count_all))
        } else {
            let listed = call.service.dests(rcu);
            let best = policy::least_loaded(listed, |dest| read(dest, count_all));
            best.map(|dest| (dest, servers.find(dest, rcu)))
        }
    }

    /// The first server in the order of `key`, on which directors agree; see
    /// [`policy::first_in_order()`].
    #[inline(never)]
    fn first_in_order<'g>(
        call: SchedContext<'g, Self>,
        key: Address,
    ) -> Option<(&'g Dest, Option<&'g Server>)> {
        let (servers, rcu, count_all) = (call.servers(), call.rcu, call.service.sched_flag1());
        let hash = key_hash(call.netns().seed(), key.number(call.service.is_ipv6()));
        let numbers = |dest: &Dest| dest.endpoint().numbers();
        if let Some(slots) = servers.listed(rcu) {
            let tag = |server: Option<&Server>| server.map_or(0, Server::tag);
            policy::first_in_order(
                slots.iter().rev().map(|slot| slot.get(rcu)),
                |(dest, _)| read(dest, count_all),
                |(_, server), weight| Score::new(hash, tag(server), weight),
                |(one, _), (other, _)| numbers(one).cmp(&numbers(other)),
            )
        } else {
            let first = policy::first_in_order(
                call.service.dests(rcu),
                |dest| read(dest, count_all),
                |dest, weight| Score::new(hash, Self::server_tag(dest.endpoint()), weight),
                |one, other| numbers(one).cmp(&numbers(other)),
            );
            first.map(|dest| (dest, servers.find(dest, rcu)))
        }
    }

    /// Counts and remembers the decision. Returns its server.
    fn record<'g>(
        call: SchedContext<'g, Self>,
        key: Address,
        found: Lookup<'g>,
        decision: Decision<'g>,
    ) -> Option<&'g Dest> {
        let Self {
            table, counters, ..
        } = call.state();
        let (event, dest) = match decision {
            Decision::Keep(dest) => (Event::Hit, Some(dest)),
            Decision::Choose(reason, dest, _) => (reason, Some(dest)),
            Decision::Refuse => (Event::None, None),
        };
        counters.count(event);
        if event != Event::Hit {
            trace::miss(call.service, key, found.server(), dest, event.name());
        }
        match (decision, found) {
            (Decision::Keep(_), _) => {}
            (Decision::Refuse, _) => call.service.error(c"no destination available", call.rcu),
            (Decision::Choose(_, _, None), _) => counters.count(Event::Failure),
            (Decision::Choose(_, _, Some(server)), Lookup::Unknown) => {
                table.insert(call, key, server, counters);
            }
            (Decision::Choose(_, _, Some(server)), _) => table.turn(call, key, server, counters),
        }
        dest
    }
}

/// What is known of a server.
#[inline(always)]
fn read(dest: &Dest, count_all: bool) -> DestSnapshot {
    let connections = (dest.active(), dest.conns_in_load());
    let (all, overload) = (Dest::CONNS_INCLUDE_ACTIVE, dest.is_overload());
    DestSnapshot::new(dest.weight(), connections, all, overload, count_all)
}
