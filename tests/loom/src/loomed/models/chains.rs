// SPDX-License-Identifier: GPL-2.0

//! One array of chains: insert, replace, remove, look up.

use super::super::{
    rcu::spawn,
    world::{explore, World, TOGETHER},
};

#[test]
fn insert_and_lookup() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let other = spawn(1, move || assert!(world.put(2, 20)));
        assert!(matches!(world.find(2), None | Some(20)));
        assert_eq!(world.find(1), Some(10));
        other.join().unwrap();
        world.is(&[(1, 10), (2, 20)]);
        world.drop();
    });
}

#[test]
fn two_inserts_in_one_chain() {
    explore(|| {
        let world = World::new(TOGETHER, &[]);
        let other = spawn(1, move || assert!(world.put(1, 10)));
        assert!(world.put(2, 20));
        other.join().unwrap();
        world.is(&[(1, 10), (2, 20)]);
        world.drop();
    });
}

#[test]
fn two_inserts_of_one_key() {
    explore(|| {
        let world = World::new(TOGETHER, &[]);
        let other = spawn(1, move || world.put(1, 11));
        let ours = world.put(1, 12);
        let theirs = other.join().unwrap();
        assert!(ours != theirs, "one inserts, the other replaces");
        world.is(&[(1, if ours { 11 } else { 12 })]);
        world.drop();
    });
}

#[test]
fn replace_and_lookup() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let other = spawn(1, move || assert!(!world.put(1, 11)));
        let seen = [world.find(1), world.find(1)];
        assert!(
            seen[0] == Some(10) || seen == [Some(11), Some(11)],
            "{seen:?}"
        );
        other.join().unwrap();
        world.is(&[(1, 11)]);
        world.drop();
    });
}

#[test]
fn remove_and_lookup() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2, 3]);
        let other = spawn(1, move || {
            assert!(world.forget(2));
            world.list().reclaim();
        });
        assert_eq!(world.find(1), Some(10), "behind the one that is removed");
        assert!(matches!(world.find(2), None | Some(20)));
        assert_eq!(world.find(3), Some(30));
        other.join().unwrap();
        world.is(&[(1, 10), (3, 30)]);
        world.drop();
    });
}

#[test]
fn two_removals_of_one_entry() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || world.forget(2));
        let ours = world.forget(2);
        assert!(ours != other.join().unwrap(), "one of us removes it");
        world.is(&[(1, 10)]);
        world.drop();
    });
}

#[test]
fn two_removals_of_neighbours() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2, 3, 4]);
        let other = spawn(1, move || assert!(world.forget(2)));
        assert!(world.forget(3));
        assert_eq!(world.find(1), Some(10));
        other.join().unwrap();
        world.is(&[(1, 10), (4, 40)]);
        world.drop();
    });
}

#[test]
fn collect_and_replace() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || world.collect(1, 10));
        let new = world.put(1, 11);
        let collected = other.join().unwrap();
        assert_eq!(new, collected, "what is in use again is not collected");
        world.is(&[(1, 11), (2, 20)]);
        world.drop();
    });
}

#[test]
fn collect_and_evict_and_insert() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let collector = spawn(1, move || world.collect(1, 10));
        let other = spawn(2, move || world.put(2, 20));
        let evicted = world.forget(1);
        let collected = collector.join().unwrap();
        assert!(other.join().unwrap());
        assert!(evicted != collected, "one of us removes it");
        world.is(&[(2, 20)]);
        world.drop();
    });
}

#[test]
fn remove_the_entry_before_one_that_is_looked_up() {
    explore(|| {
        let world = World::new(TOGETHER, &[]);
        let maker = spawn(1, move || assert!(world.put(1, 10) && world.put(2, 20)));
        let other = spawn(2, move || world.forget(2));
        assert!(matches!(world.find(1), None | Some(10)));
        maker.join().unwrap();
        let removed = other.join().unwrap();
        world.is(if removed {
            &[(1, 10)]
        } else {
            &[(1, 10), (2, 20)]
        });
        world.drop();
    });
}
