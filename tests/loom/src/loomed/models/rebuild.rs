// SPDX-License-Identifier: GPL-2.0

//! A rebuild, alone, finished or cancelled, under readers and writers.

use super::super::{
    rcu::spawn,
    world::{explore, explore_with, World, APART, LAST, TOGETHER},
};

/// Rebuilds under a reader.
fn rebuild_and_lookup(from: fn(u32) -> u64, bits: u32, to: Option<fn(u32) -> u64>) {
    let world = World::new(from, &[1, 2]);
    let other = spawn(1, move || world.rebuild(bits, to));
    assert_eq!(world.find(1), Some(10));
    assert_eq!(world.find(2), Some(20));
    other.join().unwrap();
    world.is(&[(1, 10), (2, 20)]);
    world.drop();
}

#[test]
fn grow_and_lookup() {
    explore(|| rebuild_and_lookup(APART, 2, None));
}

#[test]
fn rekey_and_lookup() {
    explore(|| rebuild_and_lookup(TOGETHER, 1, Some(LAST)));
}

#[test]
fn shrink_and_lookup() {
    explore(|| {
        let world = World::new(APART, &[]);
        world.rebuild(2, None);
        assert!(world.put(1, 10) && world.put(3, 30));
        let other = spawn(1, move || world.rebuild(1, None));
        assert_eq!(world.find(1), Some(10));
        assert_eq!(world.find(3), Some(30));
        other.join().unwrap();
        world.is(&[(1, 10), (3, 30)]);
        world.drop();
    });
}

#[test]
fn rebuild_twice_and_lookup() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || {
            world.rebuild(1, Some(LAST));
            world.rebuild(1, Some(APART));
        });
        assert_eq!(world.find(1), Some(10));
        other.join().unwrap();
        world.is(&[(1, 10), (2, 20)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_walk() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || world.rebuild(2, Some(APART)));
        assert_eq!(world.keys(), [1, 2]);
        other.join().unwrap();
        world.is(&[(1, 10), (2, 20)]);
        world.drop();
    });
}

#[test]
fn grow_and_visit() {
    explore(|| {
        let world = World::new(APART, &[1, 2]);
        let other = spawn(1, move || world.rebuild(2, None));
        assert_eq!(world.visited(), [1, 2]);
        other.join().unwrap();
        world.is(&[(1, 10), (2, 20)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_insert() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let other = spawn(1, move || world.rebuild(1, Some(LAST)));
        assert!(world.put(2, 20));
        assert_eq!(world.find(2), Some(20), "its writer sees it");
        assert_eq!(world.find(1), Some(10));
        other.join().unwrap();
        world.is(&[(1, 10), (2, 20)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_replace() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || world.rebuild(1, Some(LAST)));
        assert!(!world.put(1, 11));
        assert_eq!(world.find(1), Some(11));
        other.join().unwrap();
        world.is(&[(1, 11), (2, 20)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_remove() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || world.rebuild(2, Some(APART)));
        assert!(world.forget(2));
        world.list().reclaim();
        assert_eq!(world.find(2), None);
        assert_eq!(world.find(1), Some(10));
        other.join().unwrap();
        world.is(&[(1, 10)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_insert_and_remove() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let other = spawn(1, move || world.rebuild(1, Some(LAST)));
        assert!(world.put(2, 20));
        assert!(world.forget(2));
        assert!(world.put(2, 21));
        other.join().unwrap();
        world.is(&[(1, 10), (2, 21)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_remove_under_a_reader() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || world.rebuild(1, Some(LAST)));
        let reader = spawn(2, move || {
            assert_eq!(world.find(1), Some(10));
        });
        assert!(world.forget(2));
        world.list().reclaim();
        other.join().unwrap();
        reader.join().unwrap();
        world.is(&[(1, 10)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_two_inserts_of_one_key() {
    explore(|| {
        let world = World::new(TOGETHER, &[]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        let other = spawn(2, move || world.put(1, 11));
        let ours = world.put(1, 12);
        let theirs = other.join().unwrap();
        builder.join().unwrap();
        assert!(ours != theirs, "one inserts, the other replaces");
        world.is(&[(1, if ours { 11 } else { 12 })]);
        world.drop();
    });
}

#[test]
fn rebuild_and_two_removals_of_one_entry() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        let other = spawn(2, move || world.forget(1));
        let ours = world.forget(1);
        world.list().reclaim();
        let theirs = other.join().unwrap();
        builder.join().unwrap();
        assert!(ours != theirs, "one of us removes it");
        world.is(&[]);
        world.drop();
    });
}

#[test]
fn rebuild_and_insert_and_removal_of_one_key() {
    explore(|| {
        let world = World::new(TOGETHER, &[]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        let other = spawn(2, move || world.forget(1));
        assert!(world.put(1, 10));
        let removed = other.join().unwrap();
        builder.join().unwrap();
        world.is(if removed { &[] } else { &[(1, 10)] });
        world.drop();
    });
}

#[test]
fn rebuild_and_insert_and_removal_under_the_lock() {
    explore(|| {
        let world = World::new(TOGETHER, &[]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        let other = spawn(2, move || world.take(1));
        assert!(world.put(1, 10));
        let removed = other.join().unwrap();
        builder.join().unwrap();
        world.is(if removed { &[] } else { &[(1, 10)] });
        world.drop();
    });
}

#[test]
fn cancel_a_rebuild_under_writers() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        world.list().cancel();
        assert!(world.forget(1));
        world.list().reclaim();
        assert!(world.put(3, 30));
        assert_eq!(world.find(2), Some(20));
        builder.join().unwrap();
        world.is(&[(2, 20), (3, 30)]);
        world.drop();
    });
}

#[test]
fn cancel_a_rebuild_under_two_writers() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let builder = spawn(1, move || {
            world.list().cancel();
            world.rebuild(1, Some(LAST));
        });
        let other = spawn(2, move || world.forget(1));
        let ours = world.forget(1);
        world.list().reclaim();
        let theirs = other.join().unwrap();
        builder.join().unwrap();
        assert!(ours != theirs, "one of us removes it");
        world.is(&[]);
        world.drop();
    });
}

/// As when a table is parked, and adopted by another service.
#[test]
fn rebuild_again_after_a_cancelled_rebuild() {
    explore_with(2, || {
        let world = World::new(TOGETHER, &[1, 2]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        world.list().cancel();
        assert!(world.put(3, 30));
        builder.join().unwrap();
        world.list().resume();
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        assert!(world.forget(1));
        assert!(world.put(4, 40));
        assert_eq!(world.find(2), Some(20));
        builder.join().unwrap();
        world.is(&[(2, 20), (3, 30), (4, 40)]);
        world.drop();
    });
}

#[test]
fn two_rebuild_at_once() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let other = spawn(1, move || world.rebuild(1, Some(LAST)));
        world.rebuild(1, Some(APART));
        other.join().unwrap();
        world.is(&[(1, 10)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_collect() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || world.rebuild(1, Some(LAST)));
        assert!(world.collect(1, 10));
        world.list().reclaim();
        other.join().unwrap();
        world.is(&[(2, 20)]);
        world.drop();
    });
}

#[test]
fn rebuild_and_collect_and_replace() {
    explore_with(2, || {
        let world = World::new(TOGETHER, &[1]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        let other = spawn(2, move || world.put(1, 11));
        let collected = world.collect(1, 10);
        world.list().reclaim();
        builder.join().unwrap();
        assert_eq!(other.join().unwrap(), collected);
        world.is(&[(1, 11)]);
        world.drop();
    });
}
