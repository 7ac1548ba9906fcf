// SPDX-License-Identifier: GPL-2.0

//! Three threads: one that writes, one that reclaims or rebuilds, one that reads or writes as well.
//!
//! With two threads, all writes of a writer happen before the grace period for which the writer
//! itself, or the only other thread, waits. With three, a section of the third thread can begin
//! after that grace period, and sees these writes only if the table itself orders the two.

use super::super::{
    platform::{read_lock, ReadSide},
    rcu::spawn,
    world::{explore_with, World, APART, LAST, TOGETHER},
};

type Job = fn(World);

/// The keys 1 and 2, with 2 at the head of the only chain that is used, and the entry that was
/// before them in limbo.
fn world() -> World {
    let world = World::new(TOGETHER, &[1, 2, 3]);
    assert!(world.forget(3));
    world
}

/// Runs all jobs at once, the first one in the calling thread. The table must be `after` at the
/// end.
fn at_once(world: World, [first, second, third]: [Job; 3], after: &[(u32, usize)]) {
    let others = [
        spawn(1, move || second(world)),
        spawn(2, move || third(world)),
    ];
    first(world);
    for other in others {
        other.join().unwrap();
    }
    world.is(after);
    world.drop();
}

const INSERT: Job = |world| assert!(world.put(4, 40));
const REMOVE: Job = |world| assert!(world.forget(2));
/// Removes an entry, and inserts another one of the same key.
const REPLACE: Job = |world| {
    assert!(world.forget(2));
    assert!(world.put(2, 21));
};

const INSERTED: &[(u32, usize)] = &[(1, 10), (2, 20), (4, 40)];
const REMOVED: &[(u32, usize)] = &[(1, 10)];
const REPLACED: &[(u32, usize)] = &[(1, 10), (2, 21)];

const RECLAIM: Job = |world| {
    world.list().reclaim();
};
const REKEY: Job = |world| world.rebuild(1, Some(LAST));
const GROW: Job = |world| world.rebuild(2, Some(APART));
/// As the work item does.
const REKEY_AND_RECLAIM: Job = |world| {
    world.rebuild(1, Some(LAST));
    world.list().reclaim();
};
const CANCEL: Job = |world| {
    world.list().cancel();
    world.rebuild(1, Some(LAST));
    world.list().reclaim();
};

const RESUME: Job = |world| {
    CANCEL(world);
    world.list().resume();
    world.rebuild(1, Some(LAST));
};

/// Uses an entry for a while.
const READ: Job = |world| {
    let section = read_lock();
    if let Some(thing) = world.find_in(2, ReadSide::of(&section)) {
        assert!(matches!(thing.value(), 20 | 21));
        thing.key();
    }
};
/// Passes the head of the chain.
const READ_LAST: Job = |world| assert_eq!(world.find(1), Some(10));
const WALK: Job = |world| assert!(world.keys().contains(&1));

macro_rules! trios {
    ($($name:ident: $preemptions:literal, $jobs:expr => $after:expr;)+) => {
        $(#[test]
        fn $name() {
            explore_with($preemptions, || at_once(world(), $jobs, $after));
        })+
    };
}

trios! {
    reclaim_and_insert_and_read: 3, [RECLAIM, INSERT, READ] => INSERTED;
    reclaim_and_remove_and_read: 3, [RECLAIM, REMOVE, READ] => REMOVED;
    reclaim_and_replace_and_read: 3, [RECLAIM, REPLACE, READ] => REPLACED;
    reclaim_and_read_and_remove: 3, [RECLAIM, READ, REMOVE] => REMOVED;
    reclaim_and_remove_and_walk: 3, [RECLAIM, REMOVE, WALK] => REMOVED;
    reclaim_and_remove_and_read_behind: 3, [RECLAIM, REMOVE, READ_LAST] => REMOVED;
    rekey_and_insert_and_read: 3, [REKEY, INSERT, READ] => INSERTED;
    rekey_and_remove_and_read: 3, [REKEY, REMOVE, READ] => REMOVED;
    rekey_and_replace_and_read: 2, [REKEY, REPLACE, READ] => REPLACED;
    rekey_and_remove_and_reclaim: 3, [REKEY, REMOVE, RECLAIM] => REMOVED;
    rekey_and_insert_and_reclaim: 3, [REKEY, INSERT, RECLAIM] => INSERTED;
    grow_and_insert_and_read: 3, [GROW, INSERT, READ_LAST] => INSERTED;
    grow_and_remove_and_walk: 2, [GROW, REMOVE, WALK] => REMOVED;
    work_and_remove_and_read: 2, [REKEY_AND_RECLAIM, REMOVE, READ] => REMOVED;
    cancel_and_insert_and_read: 3, [CANCEL, INSERT, READ] => INSERTED;
    cancel_and_remove_and_read: 3, [CANCEL, REMOVE, READ] => REMOVED;
    resume_and_insert_and_read: 2, [RESUME, INSERT, READ] => INSERTED;
    resume_and_remove_and_read: 2, [RESUME, REMOVE, READ] => REMOVED;
    cancel_and_remove_and_insert: 3, [CANCEL, REMOVE, INSERT] => &[(1, 10), (4, 40)];
    reclaim_and_remove_and_insert: 3, [RECLAIM, REMOVE, INSERT] => &[(1, 10), (4, 40)];
}
