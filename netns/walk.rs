// SPDX-License-Identifier: GPL-2.0

//! Walks over the entries of a service, or of all services, that match a filter.
//!
//! A position is the number of a service and a hash. Entries are visited by ranges of hashes, and
//! shown by each range as a whole or not at all, so that a dump shows every entry that exists
//! throughout it exactly once, regardless of concurrent changes; except for a rekey, which reorders
//! the table, and sets `NLM_F_DUMP_INTR`. Numbers of services are not reused soon.
//!
//! All functions: process context. The namespace's list of services is locked for a limited number
//! of ranges at a time.

use super::{
    control::{
        Controlled,
        Known, //
    },
    message::{
        no_service,
        put_entry,
        put_service,
        Filter,
        Parsed, //
    },
    netlink::{
        Buffer,
        Position,
        Refusal,
        Request, //
    }, //
};
use crate::{
    ipvs::{
        Listed,
        Netns, //
    },
    work::cond_resched, //
};
use kernel::prelude::*;

/// The number of hashes: a walk uses the upper 32 bits of an entry's hash.
const HASHES: u64 = 1 << u32::BITS;

/// The number of ranges of hashes that are visited before the lock is released.
const SLICE: usize = 1024;

/// The number of slices that one call of a dump visits.
const SLICES: usize = 64;

/// A walk over the entries of one service, or of all services that can have matching entries.
struct Walk {
    filter: Filter,
    only_this: bool,
}

/// The result of visiting a slice.
enum Slice {
    /// The walk has ended.
    End,
    /// The buffer is full.
    Full,
    /// The walk goes on.
    More,
}

impl Walk {
    /// Begins a walk, or continues it at `position`. None if it is over one service, and that was
    /// unbound meanwhile.
    fn new<T: Controlled>(
        wanted: Parsed,
        netns: &Netns<T>,
        position: &mut Position,
    ) -> Result<Option<Self>, Refusal> {
        if let Some(service) = wanted.service {
            let id = netns.find_service(service, |found| u64::from(found.id));
            if position.service == 0 {
                position.service = id.ok_or_else(no_service)?;
            } else if id != Some(position.service) {
                return Ok(None);
            }
        }
        Ok(Some(Self {
            filter: wanted.filter.unwrap_or_default(),
            only_this: wanted.service.is_some(),
        }))
    }

    /// Calls `visit` with the service at `position`, or the next one, and the hash at which the
    /// slice begins; `visit` sets the hash to the one at which the next slice begins.
    fn slice<T: Controlled>(
        &self,
        netns: &Netns<T>,
        position: &mut Position,
        visit: impl FnOnce(&Listed<'_, T>, &mut u64) -> Result,
    ) -> Result<Slice> {
        let slice = netns.first_listed(position.service as u32, |found| {
            let id = u64::from(found.id);
            if id != position.service {
                if self.only_this {
                    return Ok(Slice::End);
                }
                *position = Position {
                    service: id,
                    hash: 0,
                };
            }
            let is_empty = found.state().summary().entries == 0;
            if is_empty || !self.filter.fits(found.service().is_ipv6()) {
                position.hash = HASHES;
            } else if let Err(error) = visit(&found, &mut position.hash) {
                return match error {
                    EMSGSIZE => Ok(Slice::Full),
                    _ => Err(error),
                };
            }
            if position.hash >= HASHES {
                if self.only_this {
                    return Ok(Slice::End);
                }
                *position = Position {
                    service: id.wrapping_add(1),
                    hash: 0,
                };
            }
            Ok(Slice::More)
        });
        slice.unwrap_or(Ok(Slice::End))
    }
}

/// `entry-get`, of all entries that match.
pub(crate) fn dump_entries<T: Controlled>(
    request: &Request<'_>,
    netns: &Netns<T>,
    buffer: &mut Buffer,
    position: &mut Position,
) -> Result<bool, Refusal> {
    let Some(walk) = Walk::new(Parsed::new(request)?, netns, position)? else {
        return Ok(false);
    };
    for _ in 0..SLICES {
        let slice = walk.slice(netns, position, |found, hash| {
            fill(found, &walk.filter, buffer, hash)
        });
        match slice? {
            Slice::End => return Ok(false),
            Slice::Full if buffer.len() > 0 => return Ok(true),
            Slice::Full => return Err(EMSGSIZE.into()),
            Slice::More => cond_resched(),
        }
    }
    if buffer.len() == 0 {
        // No entry matched yet: send an empty message, and continue when the next one is read.
        buffer.message(|_| Ok::<(), Refusal>(()))?;
    }
    Ok(true)
}

/// `entry-del`, of all entries that match. Returns the number of entries that were deleted.
pub(super) fn delete_wanted<T: Controlled>(
    request: &Request<'_>,
    netns: &Netns<T>,
    wanted: Parsed,
) -> Result<usize, Refusal> {
    if !request.is_last() {
        let why = c"entry-del with a filter must be the last message that is sent at once";
        return Err(Refusal::new(EINVAL, why));
    }
    let mut position = Position {
        service: 0,
        hash: 0,
    };
    let mut deleted = 0usize;
    let Some(walk) = Walk::new(wanted, netns, &mut position)? else {
        return Ok(0);
    };
    loop {
        let slice = walk.slice(netns, &mut position, |found, hash| {
            for _ in 0..SLICE {
                let end = found.state().range_end(*hash);
                let chosen = |entry: &Known| walk.filter.wants(entry);
                let hashes = *hash..end;
                let gone = found.state().delete(found.service(), hashes, &chosen);
                deleted = deleted.wrapping_add(gone);
                *hash = end;
                if end >= HASHES {
                    break;
                }
            }
            found.work().queue();
            Ok(())
        });
        match slice? {
            Slice::More => cond_resched(),
            _ => return Ok(deleted),
        }
    }
}

/// Appends a message with the matching entries from `hash` on to the buffer, if there are any; sets
/// `hash` to the one at which the next message begins. Fails with `EMSGSIZE` if the buffer is full.
fn fill<T: Controlled>(
    found: &Listed<'_, T>,
    filter: &Filter,
    buffer: &mut Buffer,
    hash: &mut u64,
) -> Result {
    let (state, ipv6) = (found.state(), found.service().is_ipv6());
    let before = buffer.len();
    let mut full = Ok(());
    let put = buffer.message(|message| {
        put_service(message, found.service().identity())?;
        let empty = message.len();
        for _ in 0..SLICE {
            let mut end = state.range_end(*hash);
            loop {
                let put = message.all_or_nothing(|message| {
                    state.entries(*hash..end, &mut |entry| match filter.wants(&entry) {
                        true => put_entry(message, &entry, ipv6),
                        false => Ok(()),
                    })
                });
                let range = end.wrapping_sub(*hash);
                match put {
                    Ok(()) => break,
                    // Not even one bucket fits into an empty buffer: take a part of its hashes.
                    Err(EMSGSIZE) if before == 0 && message.len() == empty && range > 1 => {
                        end = hash.wrapping_add(range / 2);
                    }
                    Err(error) => {
                        full = Err(error);
                        break;
                    }
                }
            }
            if full.is_err() {
                break;
            }
            *hash = end;
            if end >= HASHES {
                break;
            }
        }
        // A message without entries is taken back.
        if message.len() == empty {
            Err(ENOENT)
        } else {
            Ok(())
        }
    });
    match put {
        Ok(()) | Err(ENOENT) => full,
        Err(error) => Err(error),
    }
}
