// SPDX-License-Identifier: GPL-2.0

//! The models: what two or three threads may do at once, and what must hold whoever is first. In each
//! of them the calling thread is one of the threads, and the table is looked over and freed at the end.

use super::{
    platform::{read_lock, synchronize, ReadSide},
    rcu::spawn,
    world::{explore, World, APART, LAST, TOGETHER},
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
fn evict_what_is_in_use() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let user = spawn(1, move || {
            let section = read_lock();
            if let Some(thing) = world.find_in(1, ReadSide::of(&section)) {
                assert_eq!([thing.value(), thing.value()], [10, 10]);
            }
        });
        let other = spawn(2, move || world.find(1));
        assert!(world.forget(1));
        world.list().reclaim();
        assert_eq!(world.list().in_limbo(), 0);
        user.join().unwrap();
        other.join().unwrap();
        world.is(&[(2, 20)]);
        world.drop();
    });
}

#[test]
fn remove_and_insert_again() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let other = spawn(1, move || {
            assert!(world.forget(2));
            world.list().reclaim();
            assert!(world.put(2, 21));
        });
        assert!(matches!(world.find(2), None | Some(20 | 21)));
        assert_eq!(world.find(1), Some(10));
        other.join().unwrap();
        world.is(&[(1, 10), (2, 21)]);
        world.drop();
    });
}

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
        assert_eq!(world.find(2), Some(20), "who inserted it sees it");
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
fn two_removals_and_reclaim() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2, 3]);
        let other = spawn(1, move || assert!(world.forget(3)));
        assert!(world.forget(1));
        world.list().reclaim();
        other.join().unwrap();
        assert!(world.list().in_limbo() <= 1);
        world.is(&[(2, 20)]);
        world.drop();
    });
}

#[test]
fn two_who_reclaim() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2, 3]);
        assert!(world.forget(1) && world.forget(2));
        let other = spawn(1, move || world.list().reclaim());
        world.list().reclaim();
        other.join().unwrap();
        assert_eq!(world.list().in_limbo(), 0);
        world.is(&[(3, 30)]);
        world.drop();
    });
}

#[test]
fn abandon_a_rebuild_under_writers() {
    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        let builder = spawn(1, move || world.rebuild(1, Some(LAST)));
        world.list().abandon();
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
fn abandon_a_rebuild_under_two_writers() {
    explore(|| {
        let world = World::new(TOGETHER, &[1]);
        let builder = spawn(1, move || {
            world.list().abandon();
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

#[test]
fn two_who_rebuild() {
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
fn drop_under_the_last_reader() {
    use super::platform::{AtomicPtr, Ordering};
    use std::{ptr, sync::Arc};

    explore(|| {
        let world = World::new(TOGETHER, &[1, 2]);
        // As the service leads to its scheduler's data.
        let service = Arc::new(AtomicPtr::new(&world as *const World as *mut World));
        let path = service.clone();
        let reader = spawn(1, move || {
            let section = read_lock();
            let world = path.load(Ordering::Acquire);
            if !world.is_null() {
                // SAFETY: The other thread's stack is there until it has joined us.
                let world = unsafe { *world };
                if let Some(thing) = world.find_in(1, ReadSide::of(&section)) {
                    assert_eq!(thing.value(), 10);
                }
            }
        });
        assert!(world.forget(1));
        service.store(ptr::null_mut(), Ordering::Release);
        synchronize();
        // What was removed is still in limbo.
        world.drop();
        reader.join().unwrap();
    });
}
