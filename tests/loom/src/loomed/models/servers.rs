// SPDX-License-Identifier: GPL-2.0

//! Servers that come and go while entries lead to them.

use super::super::{
    memory::all_freed,
    platform::{read_lock, ReadSide},
    rcu::spawn,
    servers::{comes_back, forget, goes, Cell, Dest, Listed, ServerRef},
    world::explore,
};
use std::sync::Arc;

#[test]
fn remove_and_forget_a_server_that_is_chosen() {
    explore(|| {
        let server = ServerRef::new();
        let listed = Arc::new(Listed::new(&server, Dest::new()));
        let list = listed.clone();
        let chooser = spawn(1, move || {
            let section = read_lock();
            let rcu = ReadSide::of(&section);
            let server = list.slot(rcu)?;
            if let Some(dest) = server.dest(rcu) {
                dest.active();
            }
            Some(Cell::new(server))
        });
        let removed = listed.remove(&server);
        let callbacks = spawn(2, move || removed.drop());
        let known = forget(server, true);
        let cell = chooser.join().unwrap();
        callbacks.join().unwrap();
        if let Some(cell) = &cell {
            let section = read_lock();
            let rcu = ReadSide::of(&section);
            assert!(cell.get(rcu).dest(rcu).is_none());
        }
        drop((cell, known));
        all_freed();
    });
}

/// The last entry that led to a removed server is turned to another one, under a reader.
fn turn_and_look(wait: bool) {
    let [old, new] = [ServerRef::new(), ServerRef::new()];
    let listed = Listed::new(&old, Dest::new());
    let cell = Arc::new(Cell::new(&old));
    listed.remove(&old).drop();
    let entry = cell.clone();
    let reader = spawn(1, move || {
        let section = read_lock();
        let rcu = ReadSide::of(&section);
        let server = entry.get(rcu);
        assert!(server.dest(rcu).is_none());
        assert!(server.dest(rcu).is_none(), "and still there");
    });
    cell.set(&new);
    let known = forget(old, wait);
    assert!(known.is_none());
    reader.join().unwrap();
    drop((cell, new));
    all_freed();
}

#[test]
fn turn_the_last_entry_of_a_server() {
    explore(|| turn_and_look(true));
}

#[test]
fn turn_the_last_entry_while_another_thread_forgets() {
    explore(|| {
        let [old, new] = [ServerRef::new(), ServerRef::new()];
        let listed = Listed::new(&old, Dest::new());
        let cell = Arc::new(Cell::new(&old));
        listed.remove(&old).drop();
        let entry = cell.clone();
        let reader = spawn(1, move || {
            let section = read_lock();
            let rcu = ReadSide::of(&section);
            let server = entry.get(rcu);
            assert!(server.dest(rcu).is_none());
            assert!(server.dest(rcu).is_none(), "and still there");
        });
        let entry = cell.clone();
        let turner = spawn(2, move || {
            let _section = read_lock();
            entry.set(&new);
            new
        });
        let known = forget(old, true);
        reader.join().unwrap();
        let new = turner.join().unwrap();
        drop((cell, new, known));
        all_freed();
    });
}

#[test]
fn a_server_goes_under_a_glance_and_a_refresh() {
    explore(|| {
        let server = Arc::new(ServerRef::new());
        comes_back(&server, Dest::new());
        let cell = Arc::new(Cell::new(&server));
        let entry = cell.clone();
        let reader = spawn(1, move || {
            let section = read_lock();
            if let Some(dest) = entry.glance(ReadSide::of(&section)) {
                dest.active();
            }
        });
        let entry = cell.clone();
        let other = spawn(2, move || {
            let section = read_lock();
            entry.refresh(ReadSide::of(&section));
        });
        goes(&server);
        reader.join().unwrap();
        other.join().unwrap();
        drop((cell, server));
        all_freed();
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn to_forget_a_server_takes_a_grace_period() {
    explore(|| turn_and_look(false));
}

#[test]
fn turn_an_entry_to_a_server_that_was_just_made() {
    explore(|| {
        let old = ServerRef::new();
        let cell = Arc::new(Cell::new(&old));
        let entry = cell.clone();
        let reader = spawn(1, move || {
            let section = read_lock();
            let rcu = ReadSide::of(&section);
            entry.get(rcu).dest(rcu);
        });
        let new = ServerRef::new();
        cell.set(&new);
        reader.join().unwrap();
        drop((cell, old, new));
        all_freed();
    });
}

#[test]
fn a_server_goes_and_comes_back_under_a_glance() {
    explore(|| {
        let server = ServerRef::new();
        comes_back(&server, Dest::new());
        let cell = Arc::new(Cell::new(&server));
        let entry = cell.clone();
        let reader = spawn(1, move || {
            let section = read_lock();
            if let Some(dest) = entry.glance(ReadSide::of(&section)) {
                dest.active();
            }
        });
        goes(&server);
        comes_back(&server, Dest::new());
        {
            let section = read_lock();
            let rcu = ReadSide::of(&section);
            cell.refresh(rcu);
            cell.glance(rcu).unwrap().active();
        }
        reader.join().unwrap();
        goes(&server);
        drop((cell, server));
        all_freed();
    });
}

#[test]
fn two_entries_of_a_server_are_freed_at_once() {
    explore(|| {
        let server = ServerRef::new();
        let [one, two] = [Cell::new(&server), Cell::new(&server)];
        drop(server);
        let other = spawn(1, move || {
            let section = read_lock();
            let rcu = ReadSide::of(&section);
            one.get(rcu).dest(rcu);
            drop(section);
            drop(one);
        });
        drop(two);
        other.join().unwrap();
        all_freed();
    });
}
