// SPDX-License-Identifier: GPL-2.0

//! Servers that are added and removed while entries refer to them. Thread 0 is the control plane
//! and often the work item, the others are readers, or one of them is the work item.

use super::super::{
    memory::all_freed,
    platform::{read_lock, ReadSide},
    rcu::spawn,
    servers::{Cell, Dest, ServerRef, Servers, Without},
    world::explore,
};
use std::sync::Arc;

fn section(run: impl FnOnce(ReadSide<'_>)) {
    let section = read_lock();
    run(ReadSide::of(&section));
}

#[test]
fn remove_and_reap_a_server_that_is_chosen() {
    explore(|| {
        let servers = Arc::new(Servers::listed(ServerRef::new(), Without::Nothing));
        let list = servers.clone();
        let chooser = spawn(1, move || {
            let section = read_lock();
            let (dest, server) = list.slot(ReadSide::of(&section))?;
            dest.active();
            server.map(Cell::new)
        });
        let removed = servers.remove();
        let callbacks = spawn(2, move || removed.drop());
        servers.reap();
        let cell = chooser.join().unwrap();
        callbacks.join().unwrap();
        if let Some(cell) = &cell {
            section(|rcu| assert!(cell.get(rcu).dest(rcu).is_none()));
        }
        drop((cell, servers));
        all_freed();
    });
}

/// A reader assigns an entry to a server that is being removed and freed, and then to another one,
/// while a second reader uses the entry.
fn follow_an_entry_that_is_turned_twice(without: Without) {
    let (server, other) = (ServerRef::new(), ServerRef::new());
    let cell = Arc::new(Cell::new(&other));
    let servers = Arc::new(Servers::listed(server, without));
    let (list, entry) = (servers.clone(), cell.clone());
    let chooser = spawn(1, move || {
        section(|rcu| {
            if let Some((_, Some(server))) = list.slot(rcu) {
                entry.set(server);
                entry.set(&other);
            }
        });
        other
    });
    let entry = cell.clone();
    let reader = spawn(2, move || {
        section(|rcu| {
            let server = entry.get(rcu);
            server.dest(rcu);
            server.dest(rcu);
        });
    });
    let removed = servers.remove();
    servers.reap();
    let other = chooser.join().unwrap();
    reader.join().unwrap();
    removed.drop();
    drop((cell, other, servers));
    all_freed();
}

#[test]
fn an_entry_is_turned_to_a_server_that_is_reaped_and_away() {
    explore(|| follow_an_entry_that_is_turned_twice(Without::Nothing));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_reference_that_was_taken_and_dropped_again_counts() {
    explore(|| follow_an_entry_that_is_turned_twice(Without::Taken));
}

/// A server is listed again and removed again while it is being reaped.
fn add_a_server_again_while_it_is_reaped(without: Without) {
    let servers = Arc::new(Servers::listed(ServerRef::new(), without));
    let removed = servers.remove();
    let list = servers.clone();
    let reaper = spawn(1, move || list.reap());
    let list = servers.clone();
    let reader = spawn(2, move || {
        section(|rcu| {
            if let Some((dest, server)) = list.slot(rcu) {
                dest.active();
                server.map(|server| server.dest(rcu));
            }
        });
    });
    let added = servers.add(Dest::new());
    let again = added.is_some().then(|| servers.remove());
    reaper.join().unwrap();
    reader.join().unwrap();
    removed.drop();
    added.map(|added| added.drop());
    again.map(|again| again.drop());
    drop(servers);
    all_freed();
}

#[test]
fn a_server_is_listed_again_while_it_is_reaped() {
    explore(|| add_a_server_again_while_it_is_reaped(Without::Nothing));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_server_that_is_listed_again_is_not_marked_any_more() {
    explore(|| add_a_server_again_while_it_is_reaped(Without::Unmarking));
}

#[test]
fn an_array_is_replaced_and_its_server_removed_under_a_walk() {
    explore(|| {
        let servers = Arc::new(Servers::listed(ServerRef::new(), Without::Nothing));
        let list = servers.clone();
        let walker = spawn(1, move || {
            section(|rcu| {
                if let Some((dest, server)) = list.slot(rcu) {
                    dest.active();
                    server.map(|server| server.dest(rcu));
                }
            });
        });
        let old = servers.rebuild();
        let removed = servers.remove();
        let callbacks = spawn(2, move || {
            old.drop();
            removed.drop();
        });
        servers.reap();
        walker.join().unwrap();
        callbacks.join().unwrap();
        drop(servers);
        all_freed();
    });
}

/// The last entry of a removed server is assigned to another one, under a reader.
fn turn_and_look(without: Without) {
    let (old, new) = (ServerRef::new(), ServerRef::new());
    let cell = Arc::new(Cell::new(&old));
    let servers = Servers::listed(old, without);
    servers.remove().drop();
    let entry = cell.clone();
    let reader = spawn(1, move || {
        section(|rcu| {
            let server = entry.get(rcu);
            assert!(server.dest(rcu).is_none());
            assert!(server.dest(rcu).is_none(), "and still there");
        });
    });
    cell.set(&new);
    assert!(servers.reap());
    reader.join().unwrap();
    drop((cell, new, servers));
    all_freed();
}

#[test]
fn turn_the_last_entry_of_a_server() {
    explore(|| turn_and_look(Without::Nothing));
}

#[test]
fn turn_the_last_entry_while_another_thread_reaps() {
    explore(|| {
        let (old, new) = (ServerRef::new(), ServerRef::new());
        let cell = Arc::new(Cell::new(&old));
        let servers = Servers::listed(old, Without::Nothing);
        servers.remove().drop();
        let entry = cell.clone();
        let reader = spawn(1, move || {
            section(|rcu| {
                let server = entry.get(rcu);
                assert!(server.dest(rcu).is_none());
                assert!(server.dest(rcu).is_none(), "and still there");
            });
        });
        let entry = cell.clone();
        let turner = spawn(2, move || {
            section(|_| entry.set(&new));
            new
        });
        servers.reap();
        reader.join().unwrap();
        let new = turner.join().unwrap();
        drop((cell, new, servers));
        all_freed();
    });
}

#[test]
fn a_server_goes_under_a_glance_and_a_refresh() {
    explore(|| {
        let server = ServerRef::new();
        let cell = Arc::new(Cell::new(&server));
        let servers = Servers::listed(server, Without::Nothing);
        let entry = cell.clone();
        let reader = spawn(1, move || {
            section(|rcu| {
                if let Some(dest) = entry.check_fast(rcu) {
                    dest.active();
                }
            });
        });
        let entry = cell.clone();
        let other = spawn(2, move || section(|rcu| entry.refresh(rcu)));
        servers.remove().drop();
        reader.join().unwrap();
        other.join().unwrap();
        drop((cell, servers));
        all_freed();
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn to_reap_a_server_takes_a_grace_period() {
    explore(|| turn_and_look(Without::GracePeriod));
}

#[test]
fn a_glance_at_an_entry_that_is_turned_while_its_server_is_reaped() {
    explore(|| {
        let (old, new) = (ServerRef::new(), ServerRef::new());
        let cell = Arc::new(Cell::new(&old));
        let servers = Arc::new(Servers::listed(old, Without::Nothing));
        let others = Servers::listed(ServerRef::to(&new), Without::Nothing);
        let entry = cell.clone();
        let reader = spawn(1, move || {
            section(|rcu| {
                if let Some(dest) = entry.check_fast(rcu) {
                    dest.active();
                }
            });
        });
        let list = servers.clone();
        let reaper = spawn(2, move || list.reap());
        let removed = servers.remove();
        cell.set(&new);
        removed.drop();
        reader.join().unwrap();
        reaper.join().unwrap();
        section(|rcu| cell.check_fast(rcu).unwrap().active());
        others.remove().drop();
        drop((cell, new, servers, others));
        all_freed();
    });
}

#[test]
fn turn_an_entry_to_a_server_that_was_just_made() {
    explore(|| {
        let old = ServerRef::new();
        let cell = Arc::new(Cell::new(&old));
        let entry = cell.clone();
        let reader = spawn(1, move || {
            section(|rcu| {
                entry.get(rcu).dest(rcu);
            });
        });
        let new = ServerRef::new();
        cell.set(&new);
        reader.join().unwrap();
        drop((cell, old, new));
        all_freed();
    });
}

#[test]
fn a_server_goes_and_comes_back_under_two_glances() {
    explore(|| {
        let server = ServerRef::new();
        let cell = Arc::new(Cell::new(&server));
        let servers = Servers::listed(server, Without::Nothing);
        let check_fast = |number, refresh: bool| {
            let entry = cell.clone();
            spawn(number, move || {
                section(|rcu| {
                    if refresh {
                        entry.refresh(rcu);
                    }
                    if let Some(dest) = entry.check_fast(rcu) {
                        dest.active();
                    }
                });
            })
        };
        let readers = [check_fast(1, true), check_fast(2, false)];
        servers.remove().drop();
        servers.add(Dest::new()).unwrap().drop();
        section(|rcu| {
            cell.refresh(rcu);
            cell.check_fast(rcu).unwrap().active();
        });
        readers.map(|reader| reader.join().unwrap());
        servers.remove().drop();
        drop((cell, servers));
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
            section(|rcu| {
                one.get(rcu).dest(rcu);
            });
            drop(one);
        });
        drop(two);
        other.join().unwrap();
        all_freed();
    });
}
