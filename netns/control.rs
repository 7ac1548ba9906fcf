// SPDX-License-Identifier: GPL-2.0

//! The operations of the generic netlink family on the services of a network namespace. All of
//! them: process context; the lock of the namespace's services is taken. They fail with `ENOENT` if
//! there is no such service or entry, `EINVAL` if the request is not valid, `EMSGSIZE` or `ENOMEM`.

use super::{
    attributes::Nest,
    message::{
        self,
        entries,
        entry,
        key,
        no_service,
        number,
        put_entry,
        put_service,
        Parsed, //
    },
    netlink::{
        Buffer,
        Message,
        Position,
        Refusal,
        Request, //
    },
    settings::expiration,
    walk::delete_wanted,
    State, //
};
use crate::{
    ipvs::{
        Address,
        Endpoint,
        Identity,
        Listed,
        Netns,
        Scheduler,
        Service,
        ID_BITS, //
    },
    jiffies::milliseconds,
    work::cond_resched, //
};
use core::ops::Range;
use kernel::{
    prelude::*,
    time::Jiffies, //
};

pub(crate) use super::walk::dump_entries;

/// An entry, as netlink shows it.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// The destination address.
    pub(crate) key: Address,
    /// The server to which it is assigned.
    pub(crate) server: Endpoint,
    /// The time since its last use, in milliseconds.
    pub(crate) idle: u64,
    /// Whether the server is out of the service.
    pub(crate) removed: bool,
}

/// The effect of setting an entry.
pub(crate) enum Outcome {
    /// The destination had no entry; now it has one.
    Created,
    /// Its entry got the server and the idle time.
    Changed,
    /// Its entry had been used later, and is unchanged.
    Kept,
}

/// The size of a service's table, and its limit.
pub(crate) struct Summary {
    pub(crate) entries: usize,
    pub(crate) buckets: usize,
    pub(crate) max_entries: usize,
    pub(crate) bytes: usize,
}

/// A scheduler whose tables can be seen and changed. All methods: process context, under the lock
/// of the namespace's services. Hashes have 32 bits.
pub(crate) trait Controlled: Scheduler<Netns = State> {
    /// The number of counters.
    const COUNTERS: usize;

    /// The sizes of the table.
    fn summary(&self) -> Summary;

    /// The value of a counter.
    fn counter(&self, number: usize) -> u64;

    /// The entry of an address.
    fn entry(&self, key: Address) -> Option<Known>;

    /// The end of a range of hashes that begins with `start` and has few entries.
    fn range_end(&self, start: u64) -> u64;

    /// Calls `each` with the entries of a range of hashes, until that fails.
    fn entries(&self, hashes: Range<u64>, each: &mut dyn FnMut(Known) -> Result) -> Result;

    /// Sets an entry of the service `found`. With `keep_newer`, one that was idle for as long, or
    /// less, is kept. Fails with `ENOMEM`, or `ENOSPC` if too many removed servers are known.
    fn set(found: &Listed<'_, Self>, entry: &Known, keep_newer: bool) -> Result<Outcome>;

    /// Removes the entry of an address. Returns whether there was one.
    fn delete_key(&self, service: &Service, key: Address) -> bool;

    /// Removes those entries of a range of hashes that are chosen. Returns how many.
    fn delete(
        &self,
        service: &Service,
        hashes: Range<u64>,
        chosen: &dyn Fn(&Known) -> bool,
    ) -> usize;
}

/// The owner of a table.
enum Life<'a> {
    /// This service.
    Bound(&'a Service),
    /// None: the table is freed in this number of jiffies, unless a service adopts it.
    Parked(Jiffies),
}

fn put_all<T: Controlled>(
    message: &mut Message<'_>,
    identity: Identity,
    state: &T,
    life: Life<'_>,
) -> Result {
    put_service(message, identity)?;
    let summary = state.summary();
    message.put_u32(message::ENTRIES, number(summary.entries))?;
    message.put_u32(message::BUCKETS, number(summary.buckets))?;
    message.put_u32(message::MAX_ENTRIES, number(summary.max_entries))?;
    match life {
        Life::Bound(service) => {
            let expiration = Jiffies::try_from(expiration(service)).unwrap_or(0);
            message.put_uint(message::EXPIRATION, milliseconds(expiration))?;
        }
        Life::Parked(left) => message.put_uint(message::PARKED, milliseconds(left))?,
    }
    message.put_uint(message::BYTES, summary.bytes as u64)?;
    let mut nest = Nest::<256>::new();
    for counter in 0..T::COUNTERS {
        let number = message::COUNTER_FIRST.wrapping_add(counter as u16);
        nest.put_uint(number, state.counter(counter))?;
    }
    message.put_nested(message::COUNTERS, nest.bytes())
}

fn put_bound<T: Controlled>(message: &mut Message<'_>, found: &Listed<'_, T>) -> Result {
    let (service, state) = (found.service(), found.state());
    put_all(message, service.identity(), state, Life::Bound(service))
}

/// The sequence number of dumps: it changes when a table of the namespace is rekeyed, and so
/// reordered.
pub(crate) fn generation<T: Controlled>(netns: &Netns<T>) -> u32 {
    netns.state().generation()
}

/// `service-get`, of one service.
pub(crate) fn get_service<T: Controlled>(
    request: &Request<'_>,
    netns: &Netns<T>,
    answer: &mut Message<'_>,
) -> Result<(), Refusal> {
    let service = Parsed::new(request)?.service()?;
    let found = netns.find_service(service, |found| put_bound(answer, &found));
    Ok(found.ok_or_else(no_service)??)
}

/// The place of the first parked table in a dump. Smaller places are numbers of services; the n-th
/// parked table, from 0 on in the order of the identities, is n places behind this one.
const FIRST_PARKED: u64 = 1 << ID_BITS;

/// `service-get`, of all services, and then of the parked tables, in the order of their identities.
/// The dump may miss a table that is parked or adopted meanwhile, or show one twice.
pub(crate) fn dump_services<T: Controlled>(
    _: &Request<'_>,
    netns: &Netns<T>,
    buffer: &mut Buffer,
    position: &mut Position,
) -> Result<bool, Refusal> {
    while position.service < FIRST_PARKED {
        let put = netns.first_listed(position.service as u32, |found| {
            buffer.message(|message| put_bound(message, &found))?;
            Ok(found.id)
        });
        position.service = match put {
            None => FIRST_PARKED,
            Some(Ok(id)) => u64::from(id).wrapping_add(1),
            Some(Err(EMSGSIZE)) if buffer.len() > 0 => return Ok(true),
            Some(Err(error)) => return Err(Error::into(error)),
        };
        cond_resched();
    }
    let (mut number, mut put) = (FIRST_PARKED, Ok(()));
    netns.each_parked(|identity, state, left| {
        if number == position.service {
            let life = Life::Parked(left);
            put = buffer.message(|message| put_all(message, identity, state, life));
            if put.is_err() {
                return false;
            }
            position.service = position.service.wrapping_add(1);
        }
        number = number.wrapping_add(1);
        true
    });
    match put {
        Ok(()) => Ok(false),
        Err(EMSGSIZE) if buffer.len() > 0 => Ok(true),
        Err(error) => Err(Error::into(error)),
    }
}

/// `entry-get`, of one entry.
pub(crate) fn get_entry<T: Controlled>(
    request: &Request<'_>,
    netns: &Netns<T>,
    answer: &mut Message<'_>,
) -> Result<(), Refusal> {
    let service = Parsed::new(request)?.service()?;
    let mut entries = entries(request);
    let (Some(entry), None) = (entries.next(), entries.next()) else {
        return Err(Refusal::new(EINVAL, c"one entry is needed"));
    };
    let found = netns.find_service(service, |found| {
        let ipv6 = found.service().is_ipv6();
        let key = key(entry, ipv6)?;
        let no_entry = || Refusal::new(ENOENT, c"there is no entry with this key");
        let known = found.state().entry(key).ok_or_else(no_entry)?;
        put_service(answer, found.service().identity())?;
        put_entry(answer, &known, ipv6)?;
        Ok(())
    });
    found.ok_or_else(no_service)?
}

/// `entry-set`.
pub(crate) fn set_entries<T: Controlled>(
    request: &Request<'_>,
    netns: &Netns<T>,
    answer: &mut Message<'_>,
) -> Result<(), Refusal> {
    let wanted = Parsed::new(request)?;
    let service = wanted.service()?;
    if entries(request).next().is_none() {
        return Err(Refusal::missing(message::ENTRY));
    }
    let found = netns.find_service(service, |found| {
        let ipv6 = found.service().is_ipv6();
        // Check all entries before the first one is set.
        for one in entries(request) {
            entry(one, ipv6)?;
        }
        let (mut created, mut changed, mut kept, mut failed) = (0u32, 0u32, 0u32, 0u32);
        for one in entries(request) {
            let count = match T::set(&found, &entry(one, ipv6)?, wanted.keep_newer) {
                Ok(Outcome::Created) => &mut created,
                Ok(Outcome::Changed) => &mut changed,
                Ok(Outcome::Kept) => &mut kept,
                Err(_) => &mut failed,
            };
            *count = count.wrapping_add(1);
        }
        answer.put_u32(message::CREATED, created)?;
        answer.put_u32(message::CHANGED, changed)?;
        answer.put_u32(message::KEPT, kept)?;
        Ok(answer.put_u32(message::FAILED, failed)?)
    });
    found.ok_or_else(no_service)?
}

/// `entry-del`.
pub(crate) fn delete_entries<T: Controlled>(
    request: &Request<'_>,
    netns: &Netns<T>,
    answer: &mut Message<'_>,
) -> Result<(), Refusal> {
    let wanted = Parsed::new(request)?;
    let deleted = match (&wanted.filter, entries(request).next()) {
        (None, Some(_)) => delete_keys(request, netns, wanted.service()?)?,
        (Some(_), None) => delete_wanted(request, netns, wanted)?,
        _ => {
            let why = c"either entries, or a filter, which may be empty, are needed";
            return Err(Refusal::new(EINVAL, why));
        }
    };
    Ok(answer.put_u32(message::DELETED, number(deleted))?)
}

fn delete_keys<T: Controlled>(
    request: &Request<'_>,
    netns: &Netns<T>,
    service: Identity,
) -> Result<usize, Refusal> {
    let found = netns.find_service(service, |found| {
        let ipv6 = found.service().is_ipv6();
        // Check all keys before the first entry is deleted.
        for entry in entries(request) {
            key(entry, ipv6)?;
        }
        let mut deleted = 0usize;
        for entry in entries(request) {
            let key = key(entry, ipv6)?;
            let gone = found.state().delete_key(found.service(), key);
            deleted = deleted.wrapping_add(usize::from(gone));
        }
        found.work().queue();
        Ok(deleted)
    });
    found.ok_or_else(no_service)?
}
