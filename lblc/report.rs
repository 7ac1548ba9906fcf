// SPDX-License-Identifier: GPL-2.0

//! Reports the changes of a table's entries to the listeners of the multicast group `changes`. The
//! functions that report one are called under the lock of the entry's chain, so that the changes of
//! one entry are reported in their order. A report costs a plain load until a socket has joined the
//! group for the first time.

use super::{
    counters::Event,
    entry::Entry,
    policy::idle_time,
    table::Table, //
};
use crate::{
    ipvs::{
        Address,
        Server,
        Service, //
    },
    jiffies::{
        self,
        milliseconds, //
    },
    netns::{
        changes,
        Change,
        ChangeKind,
        ChangeReason,
        Known,
        State, //
    },
    rcu::ReadSide, //
};
use kernel::time::Jiffies;

/// An entry, as netlink shows it. Any context.
pub(super) fn known(entry: &Entry, rcu: ReadSide<'_>) -> Known {
    let server = entry.server(rcu);
    Known {
        key: entry.key(),
        server: server.endpoint(),
        idle: milliseconds(entry.idle(jiffies::now())),
        removed: server.is_removed(),
    }
}

impl Table {
    /// The service and the state of its namespace: the first argument of the functions below.
    pub(super) fn listeners<'a>(&'a self, service: &'a Service) -> (&'a Service, &'a State) {
        (service, self.netns.state())
    }
}

/// The reason of a change, from the counter of the miss that caused it.
pub(super) fn reason(event: Event) -> ChangeReason {
    match event {
        Event::Expired => ChangeReason::Expired,
        Event::Unavailable => ChangeReason::Unavailable,
        Event::Weight0 => ChangeReason::Weight0,
        Event::Overloaded => ChangeReason::Overloaded,
        Event::Threshold => ChangeReason::Threshold,
        _ => ChangeReason::Unknown,
    }
}

/// An entry of `service` was made: `key` is assigned to `server`, and was last used at `last_use`,
/// in jiffies.
#[inline(always)]
pub(super) fn inserted(
    told: (&Service, &State),
    key: Address,
    target: (&Server, Jiffies),
    reason: ChangeReason,
) {
    if changes::may_be_heard() {
        note_inserted(told, key, target, reason);
    }
}

/// The part of `inserted()` that needs much of the stack.
#[cold]
#[inline(never)]
fn note_inserted(
    (service, state): (&Service, &State),
    key: Address,
    (server, last_use): (&Server, Jiffies),
    reason: ChangeReason,
) {
    state.note_change(Change {
        service: service.identity(),
        kind: ChangeKind::Insert,
        entry: Known {
            key,
            server: server.endpoint(),
            idle: milliseconds(idle_time(jiffies::now(), last_use)),
            removed: server.is_removed(),
        },
        reason: Some(reason),
        old: None,
    });
}

/// `entry` of `service` was reassigned from the server `old` to another one.
#[inline(always)]
pub(super) fn reassigned(
    (service, state): (&Service, &State),
    entry: &Entry,
    old: &Server,
    reason: ChangeReason,
    rcu: ReadSide<'_>,
) {
    if changes::may_be_heard() {
        state.note_change(Change {
            service: service.identity(),
            kind: ChangeKind::Replace,
            entry: known(entry, rcu),
            reason: Some(reason),
            old: Some(old.endpoint()),
        });
    }
}

/// `entry` of `service` was removed.
#[inline(always)]
pub(super) fn removed(
    (service, state): (&Service, &State),
    entry: &Entry,
    kind: ChangeKind,
    rcu: ReadSide<'_>,
) {
    if changes::may_be_heard() {
        state.note_change(Change {
            service: service.identity(),
            kind,
            entry: known(entry, rcu),
            reason: None,
            old: None,
        });
    }
}
