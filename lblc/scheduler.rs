// SPDX-License-Identifier: GPL-2.0

//! The scheduler `lblc_rs`, which is also called `lblc` if the module parameter `dropin` is set.

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
        Draw, //
    },
    report,
    show,
    table::Table, //
};
use crate::{
    ipvs::{
        Address,
        Candidate,
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
        Setting,
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
    fn schedule<'g>(call: SchedContext<'g, Self>, header: Header<'g>) -> Option<&'g Dest> {
        if header.is_inverse() {
            return Self::schedule_inverse(call, header);
        }
        let Some(entry) = call.state().table.lookup(header, call.rcu) else {
            return Self::learn(call, header);
        };
        // Nearly always the entry and a fast check of its server decide. (UDP connections never
        // count as active: with `ipvsadm -b flag-1` all count.)
        let all = call.service.sched_flag1();
        if entry.touch(|| expiration(call.service)) {
            let kept = match entry.check_fast(all, call.rcu) {
                FastCheck::Good(dest) => Some(dest),
                // More connections than its weight: it is kept unless another server is below half
                // of its own.
                FastCheck::Full(dest) => {
                    let listed = call.servers().listed(call.rcu);
                    listed
                        .is_some_and(|listed| !listed.any_half_idle(all))
                        .then_some(dest)
                }
                FastCheck::Unclear => None,
            };
            if kept.is_some() {
                call.state().counters.count(Event::Hit);
                return kept;
            }
        }
        Self::reconsider(call, header, entry)
    }

    fn work(&self, service: &Service, ticks: u32) {
        self.table.trim(service, &self.counters);
        let expiration = Jiffies::try_from(expiration(service)).unwrap_or(0);
        self.collector
            .collect(service, &self.table, ticks, expiration, &self.counters);
        self.table.fit(service, &self.counters);
        self.table.reclaim();
    }

    fn done_service(&self) {
        self.table.cancel();
    }

    fn keep(netns: &State) -> Jiffies {
        Jiffies::try_from(netns.get(Setting::Keep)).unwrap_or(0)
    }

    fn resume(&self) {
        self.table.retry();
        self.table.list().resume();
    }

    fn num_entries(&self) -> usize {
        self.table.list().len()
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

/// A server that was chosen. The `Server` is missing if memory was too short for its record, or if
/// it was removed meanwhile.
type Choice<'g> = (&'g Dest, Option<&'g Server>);

impl Lblc {
    /// As `schedule()`, for the header that an ICMP error quotes.
    #[cold]
    #[inline(never)]
    fn schedule_inverse<'g>(call: SchedContext<'g, Self>, header: Header<'g>) -> Option<&'g Dest> {
        match call.state().table.find(Self::key(header), call.rcu) {
            Some(entry) => Self::reconsider(call, header, entry),
            None => Self::learn(call, header),
        }
    }

    /// The key of a packet: its destination address. An ICMP error quotes a packet of the other
    /// direction, so its key is the source address of that packet. (C takes the destination address
    /// of that as well, which is the client's.)
    fn key(header: Header<'_>) -> Address {
        match header.is_inverse() {
            true => header.source(),
            false => header.destination(),
        }
    }

    /// Chooses a server for a key without an entry, and inserts one.
    #[cold]
    #[inline(never)]
    fn learn<'g>(call: SchedContext<'g, Self>, header: Header<'g>) -> Option<&'g Dest> {
        let (key, table) = (Self::key(header), &call.state().table);
        let best = Self::best(call, key);
        let (dest, server) = Self::missed(call, key, None, best, Event::Unknown)?;
        if let Some(server) = server {
            table.insert(call, key, server, &call.state().counters);
        }
        Some(dest)
    }

    /// Decides about a key with an entry when the fast check did not. C: `ip_vs_lblc_schedule()`.
    #[cold]
    #[inline(never)]
    fn reconsider<'g>(
        call: SchedContext<'g, Self>,
        header: Header<'g>,
        entry: &'g Entry,
    ) -> Option<&'g Dest> {
        let (
            key,
            Self {
                table, counters, ..
            },
        ) = (Self::key(header), call.state());
        let before = entry.server(call.rcu);
        let (current, reason) = if entry.touch(|| expiration(call.service)) {
            entry.refresh(call.rcu);
            let current = before.dest(call.rcu);
            let verdict = current.map(|dest| {
                let server = read(dest, call.service.sched_flag1());
                policy::judge(&server, || Self::any_half_idle(call))
            });
            let reason = match verdict {
                None => Event::Unavailable,
                Some(Verdict::Quiesced) => Event::Weight0,
                Some(Verdict::AtThreshold) => Event::Threshold,
                Some(Verdict::Overloaded) => Event::Overloaded,
                Some(Verdict::Keep) => {
                    counters.count(Event::Hit);
                    return current;
                }
            };
            (current, reason)
        } else {
            (None, Event::Expired)
        };
        let best = Self::best(call, key);
        if let (Some(dest), Some((best, _))) = (current, best) {
            if core::ptr::eq(dest, best) {
                // Overloaded, but still the least loaded.
                counters.count(Event::Hit);
                return current;
            }
        }
        let (dest, server) = Self::missed(call, key, Some(before), best, reason)?;
        if let Some(server) = server {
            table.reassign(call, key, server, report::reason(reason), counters);
        }
        Some(dest)
    }

    /// Counts and traces a miss: the key, which had the server `before` if it is known, gets the
    /// server `best` for this reason, or none. Returns `best`.
    #[inline(always)]
    fn missed<'g>(
        call: SchedContext<'g, Self>,
        key: Address,
        before: Option<&Server>,
        best: Option<Choice<'g>>,
        reason: Event,
    ) -> Option<Choice<'g>> {
        let counters = &call.state().counters;
        let event = if best.is_some() { reason } else { Event::None };
        counters.count(event);
        let dest = best.map(|(dest, _)| dest);
        trace::miss(call.service, key, before, dest, event.name());
        match best {
            None => call.service.error(c"no destination available", call.rcu),
            Some((_, None)) => counters.count(Event::Failure),
            Some(_) => {}
        }
        best
    }

    /// The best server for `key`.
    #[inline(always)]
    fn best<'g>(call: SchedContext<'g, Self>, key: Address) -> Option<Choice<'g>> {
        match call.service.sched_flag2() {
            true => Self::first_in_order(call, key),
            false => Self::least_loaded(call),
        }
    }

    /// Whether any listed server has less than half of the connections that its weight allows.
    fn any_half_idle(call: SchedContext<'_, Self>) -> bool {
        let (servers, rcu, count_all) = (call.servers(), call.rcu, call.service.sched_flag1());
        match servers.listed(rcu) {
            Some(listed) => listed.any_half_idle(count_all),
            None => {
                let mut dests = call.service.dests(rcu);
                dests.any(|dest| read(dest, count_all).is_half_idle())
            }
        }
    }

    /// The least loaded server: of the array, or of the core's list if memory was too short for
    /// that.
    #[inline(always)]
    fn least_loaded<'g>(call: SchedContext<'g, Self>) -> Option<Choice<'g>> {
        let (servers, rcu, count_all) = (call.servers(), call.rcu, call.service.sched_flag1());
        if let Some(listed) = servers.listed(rcu) {
            let best = policy::least_loaded(listed.accepting(), |one| read_open(one, count_all));
            // While the service is unbound, the slots are emptied, but the list is not.
            if best.is_some() || servers.listed(rcu).is_some() {
                return best.map(|one| (one.dest, one.server(rcu)));
            }
        }
        let listed = call.service.dests(rcu);
        let best = policy::least_loaded(listed, |dest| read(dest, count_all));
        best.map(|dest| (dest, servers.find(dest, rcu)))
    }

    /// The first server in the order of `key`, on which directors agree; see
    /// [`policy::first_in_order()`].
    #[inline(never)]
    fn first_in_order<'g>(call: SchedContext<'g, Self>, key: Address) -> Option<Choice<'g>> {
        let (servers, rcu, count_all) = (call.servers(), call.rcu, call.service.sched_flag1());
        let hash = key_hash(call.netns().seed(), key.number(call.service.is_ipv6()));
        let numbers = |dest: &Dest| dest.endpoint().numbers();
        if let Some(listed) = servers.listed(rcu) {
            let tag = |one: Candidate<'_>| one.server(rcu).map_or(0, Server::tag);
            let first = policy::first_in_order(
                listed.accepting(),
                |one| read_open(&one, count_all),
                |one, weight| Draw::new(hash, tag(one), weight),
                |one, other| numbers(one.dest).cmp(&numbers(other.dest)),
            );
            // As in `least_loaded()`.
            if first.is_some() || servers.listed(rcu).is_some() {
                return first.map(|one| (one.dest, one.server(rcu)));
            }
        }
        let first = policy::first_in_order(
            call.service.dests(rcu),
            |dest| read(dest, count_all),
            |dest, weight| Draw::new(hash, Self::server_tag(dest.endpoint()), weight),
            |one, other| numbers(one).cmp(&numbers(other)),
        );
        first.map(|dest| (dest, servers.find(dest, rcu)))
    }
}

/// A snapshot of a server. Any context; plain loads.
#[inline(always)]
fn read(dest: &Dest, count_all: bool) -> DestSnapshot {
    let connections = (dest.active(), dest.conns_in_load());
    let (all, overload) = (Dest::CONNS_INCLUDE_ACTIVE, dest.is_overload());
    DestSnapshot::new(dest.weight(), connections, all, overload, count_all)
}

/// A snapshot of a server that accepts connections.
#[inline(always)]
fn read_open(one: &Candidate<'_>, count_all: bool) -> DestSnapshot {
    let connections = (one.dest.active(), one.dest.conns_in_load());
    let all = Dest::CONNS_INCLUDE_ACTIVE;
    DestSnapshot::new(one.weight, connections, all, false, count_all)
}
