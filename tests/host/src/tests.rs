// SPDX-License-Identifier: GPL-2.0

use super::{
    c_oracle,
    hash::Hash,
    policy::{choose, is_idle, Collection, Server, HARD_MAX_ENTRIES, MAX_ENTRIES},
};
use proptest::prelude::*;
use std::cell::Cell;

fn server(weight: i32, active: i32) -> Server {
    Server::new(weight, (active, active), true, false, false)
}

/// `choose()` over a slice, by index.
fn ours(known: Option<usize>, servers: &[Server]) -> Option<usize> {
    choose(known, 0..servers.len(), |a, b| a == b, |i| servers[i])
}

#[test]
fn keeps_up_to_its_weight_and_leaves_above() {
    let other = server(100, 0);
    assert_eq!(ours(Some(1), &[other, server(3, 3)]), Some(1));
    assert_eq!(ours(Some(1), &[other, server(3, 4)]), Some(0));
}

#[test]
fn relief_is_strictly_less_than_half() {
    let full = server(1, 2);
    assert_eq!(ours(Some(0), &[full, server(4, 1)]), Some(1));
    assert_eq!(ours(Some(0), &[full, server(4, 2)]), Some(0));
}

#[test]
fn all_connections_count_if_asked_to() {
    let busy = |all, count| Server::new(3, (1, if all { 4 } else { 3 }), all, false, count).busy;
    assert_eq!((busy(true, false), busy(false, false)), (1, 1));
    assert_eq!((busy(true, true), busy(false, true)), (4, 4));
    let idle = Server::new(100, (0, 0), true, false, true);
    let full = Server::new(3, (0, 4), true, false, true);
    assert_eq!(ours(Some(0), &[full, idle]), Some(1));
    let used = Server::new(100, (0, 50), true, false, true);
    assert_eq!(ours(Some(0), &[full, used]), Some(0));
}

#[test]
fn ties_go_to_the_first() {
    assert_eq!(
        ours(None, &[server(0, 0), server(1, 0), server(1, 0)]),
        Some(1)
    );
    assert_eq!(ours(None, &[server(2, 2), server(1, 1)]), Some(0));
}

#[test]
fn nobody() {
    assert_eq!(ours(None, &[]), None);
    assert_eq!(ours(Some(0), &[server(0, 0), server(0, 0)]), None);
}

#[test]
fn a_good_server_is_read_once_and_the_list_not_at_all() {
    let reads = Cell::new(0);
    let read = |_| {
        reads.set(reads.get() + 1);
        server(10, 3)
    };
    let list = std::iter::from_fn(|| -> Option<usize> { panic!("walked") });
    assert_eq!(choose(Some(7), list, |a, b| a == b, read), Some(7));
    assert_eq!(reads.get(), 1);
}

#[test]
fn each_server_is_read_once_a_decision() {
    let reads = [const { Cell::new(0) }; 3];
    let read = |i: usize| {
        reads[i].set(reads[i].get() + 1);
        server(1, 5)
    };
    choose(Some(1), 0..3, |a, b| a == b, read);
    assert!(reads.iter().all(|reads| reads.get() == 1));
}

#[test]
fn no_number_of_connections_overflows() {
    let (most, many) = (server(i32::MAX, i32::MAX), server(i32::MAX, i32::MAX / 2));
    assert_eq!(ours(None, &[most, server(1, 0)]), Some(1));
    // C: active << 8 and active * 2 overflow here.
    assert_eq!(
        ours(Some(0), &[server(5, 1 << 30), server(i32::MAX, 1 << 30)]),
        Some(0)
    );
    assert_eq!(
        ours(None, &[server(100, 1 << 24), server(100, 1 << 23)]),
        Some(1)
    );
    assert!(ours(None, &[most, many]).is_some());
}

#[test]
fn idle_is_inclusive_and_survives_the_wrap_of_jiffies() {
    assert!(!is_idle(99, 0, 100) && is_idle(100, 0, 100));
    let before = usize::MAX - 10;
    assert!(!is_idle(5, before, 17) && is_idle(6, before, 17));
    assert!(!is_idle(10, 12, 5), "used after we looked at the clock");
    assert!(is_idle(10, 10, 0));
}

#[test]
fn collections() {
    let full: Vec<u32> = (1..=90)
        .filter(|tick| Collection::due(*tick, 0) == Collection::Full)
        .collect();
    assert_eq!(full, [30, 60, 90]);
    assert_eq!(Collection::due(30, usize::MAX), Collection::Full);
    assert_eq!(Collection::due(1, MAX_ENTRIES), Collection::None);
    assert_eq!(Collection::due(1, MAX_ENTRIES + 3), Collection::Partial(4));
    assert_eq!(
        Collection::due(29, HARD_MAX_ENTRIES),
        Collection::Partial(MAX_ENTRIES / 2)
    );
}

#[test]
fn the_hash_spreads_what_c_folds() {
    let mut state = 1u64;
    let hash = Hash::new(|| {
        // Any fixed keys will do here; the kernel's are random.
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        state
    });
    let buckets: std::collections::HashSet<u32> = (0..1024u32)
        .map(|x| hash.of(&[0xfd00, x, x, 7]) >> 22)
        .collect();
    assert!(buckets.len() > 500, "{}", buckets.len());
    assert_ne!(hash.of(&[1, 2, 0, 0]), hash.of(&[2, 1, 0, 0]));
}

prop_compose! {
    fn any_server()(
        weight in prop_oneof![Just(0), 0..20i32, 0..=i32::MAX],
        active in prop_oneof![0..40i32, 0..1 << 22],
        inactive in prop_oneof![0..40i32, 0..1 << 22],
        overload in prop::bool::weighted(0.1),
    ) -> Server {
        Server::new(weight, (active, active + inactive), true, overload, false)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn decides_as_c(
        servers in prop::collection::vec(any_server(), 0..9),
        known in prop::option::of(0..9usize),
    ) {
        let known = known.filter(|known| *known < servers.len());
        prop_assert_eq!(ours(known, &servers), c_oracle::schedule(known, &servers));
    }

    #[test]
    fn a_server_that_left_is_no_choice(servers in prop::collection::vec(any_server(), 0..9)) {
        prop_assert_eq!(ours(None, &servers), c_oracle::schedule(None, &servers));
    }

    #[test]
    fn idle_is_the_distance(now: usize, age in 0..1usize << 62, limit in 0..1usize << 62) {
        prop_assert_eq!(is_idle(now, now.wrapping_sub(age), limit), age >= limit);
    }
}
