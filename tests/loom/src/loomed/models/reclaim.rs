// SPDX-License-Identifier: GPL-2.0

//! A removed entry is freed once, and not before its last reader has finished.

use super::super::{
    platform::{read_lock, synchronize, ReadSide},
    rcu::spawn,
    world::{explore, World, TOGETHER},
};

#[test]
fn evict_an_entry_in_use() {
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
fn two_reclaim_at_once() {
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
fn drop_under_the_last_reader() {
    use super::super::platform::{AtomicPtr, Ordering};
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
