// SPDX-License-Identifier: GPL-2.0

use super::{
    c_oracle,
    hash::Hash,
    policy::{
        idle_time, is_expired, judge, least_loaded, most_entries, table_bits, Collection,
        DestSnapshot, EvictionRank, Verdict,
    },
};
use proptest::prelude::*;
use std::cell::Cell;

fn server(weight: i32, active: i32) -> DestSnapshot {
    DestSnapshot::new(weight, (active, active), true, false, false)
}

/// `judge()` and `least_loaded()` over a slice, by index.
fn ours(known: Option<usize>, servers: &[DestSnapshot]) -> Option<usize> {
    let any_half_idle = || servers.iter().any(DestSnapshot::is_half_idle);
    if known.is_some_and(|i| judge(&servers[i], any_half_idle) == Verdict::Keep) {
        return known;
    }
    least_loaded(0..servers.len(), |i| servers[*i])
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
    let busy =
        |all, count| DestSnapshot::new(3, (1, if all { 4 } else { 3 }), all, false, count).busy;
    assert_eq!((busy(true, false), busy(false, false)), (1, 1));
    assert_eq!((busy(true, true), busy(false, true)), (4, 4));
    let idle = DestSnapshot::new(100, (0, 0), true, false, true);
    let full = DestSnapshot::new(3, (0, 4), true, false, true);
    assert_eq!(ours(Some(0), &[full, idle]), Some(1));
    let used = DestSnapshot::new(100, (0, 50), true, false, true);
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
fn without_a_usable_server_none_is_chosen() {
    assert_eq!(ours(None, &[]), None);
    assert_eq!(ours(Some(0), &[server(0, 0), server(0, 0)]), None);
}

#[test]
fn a_good_server_needs_no_walk() {
    let verdict = judge(&server(10, 3), || panic!("asked"));
    assert_eq!(verdict, Verdict::Keep);
}

#[test]
fn a_server_is_left_for_the_first_reason_that_holds() {
    let at =
        |weight, active, overload| DestSnapshot::new(weight, (active, 0), true, overload, false);
    let asked = || panic!("asked");
    assert_eq!(judge(&at(0, 5, true), asked), Verdict::Quiesced);
    assert_eq!(judge(&at(1, 5, true), asked), Verdict::AtThreshold);
    assert_eq!(judge(&at(1, 5, false), || true), Verdict::Overloaded);
    assert_eq!(judge(&at(1, 5, false), || false), Verdict::Keep);
}

#[test]
fn without_relief_or_entry_there_is_one_walk() {
    let asked = Cell::new(0);
    let any_half_idle = || {
        asked.set(asked.get() + 1);
        false
    };
    assert_eq!(judge(&server(1, 5), any_half_idle), Verdict::Keep);
    assert_eq!(
        asked.get(),
        1,
        "one walk for relief, and none for another server"
    );

    let reads = [const { Cell::new(0) }; 3];
    let read = |i: &usize| {
        reads[*i].set(reads[*i].get() + 1);
        server(1, 5)
    };
    assert_eq!(least_loaded(0..3, read), Some(0));
    assert_eq!(reads.map(|reads| reads.get()), [1; 3]);
}

#[test]
fn no_number_of_connections_overflows() {
    let (most, many) = (server(i32::MAX, i32::MAX), server(i32::MAX, i32::MAX / 2));
    assert_eq!(ours(None, &[most, server(1, 0)]), Some(1));
    // In C active * 2 overflows, so a server at half its weight is considered idle.
    let half_full = server(i32::MAX, 1 << 30);
    assert!(c_oracle::is_relief_in_int(&half_full));
    assert_eq!(ours(Some(0), &[server(5, 1 << 30), half_full]), Some(0));
    // In C active << 8 overflows, so the server with 128 times the connections is chosen.
    let servers = [server(100, 1 << 24), server(100, 1 << 17)];
    assert_eq!(c_oracle::least_in_int(&servers), Some(0));
    assert_eq!(ours(None, &servers), Some(1));
    assert!(ours(None, &[most, many]).is_some());
}

#[test]
fn a_table_is_roomy_up_to_the_entries_that_make_it_grow() {
    for bits in 10..31 {
        let most = most_entries(bits);
        assert!(
            table_bits(bits, most) <= bits,
            "{most} entries, {bits} bits"
        );
        assert!(
            table_bits(bits, most + 1) > bits,
            "{most} + 1 entries, {bits} bits"
        );
    }
}

#[test]
fn idle_time_survives_the_wrap_of_jiffies() {
    assert_eq!(idle_time(100, 0), 100);
    assert_eq!(idle_time(5, usize::MAX - 10), 16);
    assert_eq!(idle_time(10, 12), 0, "used after we looked at the clock");
    assert!(!is_expired(5, usize::MAX - 10, 16) && is_expired(5, usize::MAX - 10, 15));
    assert!(!is_expired(10, 12, 0) && is_expired(10, 9, 0) && is_expired(10, 9, -1));
}

/// The ticks of `ticks` at which a collector that sees only those makes a full collection.
fn full_collections(ticks: impl Iterator<Item = u32>, entries: usize, max: usize) -> Vec<u32> {
    let mut last = 0;
    let due = |tick: &u32| {
        let last = std::mem::replace(&mut last, *tick);
        Collection::due(last, *tick, entries, max) == Collection::Full
    };
    ticks.filter(due).collect()
}

#[test]
fn collections_are_those_of_c_at_cs_size() {
    let max = 24 * 1024;
    let due = |tick, entries| Collection::due(tick - 1, tick, entries, max);
    assert_eq!(full_collections(1..=90, 0, max), [30, 60, 90]);
    assert_eq!(
        full_collections(1..=90, 0, max),
        c_oracle::full_collections(90, 0)
    );
    assert_eq!(due(1, 16 * 1024), Collection::None);
    assert_eq!(due(1, 16 * 1024 + 3), Collection::Partial(4));
    assert_eq!(due(29, 24 * 1024), Collection::Partial(8 * 1024));
}

#[test]
fn a_late_collector_makes_up_for_the_full_collection() {
    // The collector ran from tick 29 to 31, and later from 58 to 93.
    let busy = |tick: &u32| *tick != 30 && !(59..93).contains(tick);
    let full = full_collections((1..=121).filter(busy), 0, 24 * 1024);
    assert_eq!(full, [31, 93, 120]);
    // After hours without a tick there is one full collection, not one for each half hour.
    let full = full_collections([1, 301, 302].into_iter(), 0, 24 * 1024);
    assert_eq!(full, [301]);
}

#[test]
fn a_full_table_is_collected_in_full_as_well() {
    let (max, entries) = (24 * 1024, 20 * 1024);
    assert_eq!(full_collections(1..=90, entries, max), [30, 60, 90]);
    let none: [u32; 0] = [];
    assert_eq!(c_oracle::full_collections(90, entries), none);
}

#[test]
fn the_hash_spreads_addresses_that_c_folds() {
    let mut state = 1u64;
    let hash = Hash::new(|| {
        // Fixed keys; the kernel's are random.
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        state
    });
    let buckets: std::collections::HashSet<u64> = (0..1024u32)
        .map(|x| hash.of([0xfd00, x, x, 7]) >> 54)
        .collect();
    assert!(buckets.len() > 500, "{}", buckets.len());
    assert_ne!(hash.of([1, 2, 0, 0]), hash.of([2, 1, 0, 0]));
}

#[test]
fn an_ipv4_address_hashes_as_one_word_and_zeros() {
    let mut key = 1u64 << 63;
    let hash = Hash::new(|| {
        key = key.rotate_left(7) ^ 0x5bd1_e995;
        key
    });
    for word in [0, 1, 7, u32::MAX] {
        assert_eq!(hash.of_word(word), hash.of([word, 0, 0, 0]));
    }
    let words = (0..1000).map(|word| hash.of_word(word));
    assert_eq!(words.collect::<std::collections::HashSet<_>>().len(), 1000);
}

#[test]
fn the_table_grows_and_shrinks_at_its_bounds() {
    // Empty, or with few entries, it has as many buckets as C's.
    assert_eq!([0, 1, 9, 10].map(|bits| table_bits(bits, 0)), [10; 4]);
    // Small arrays have 16 buckets for an entry: 1024 for 64 entries, 2048 for 128.
    assert_eq!((table_bits(10, 64), table_bits(10, 65)), (10, 11));
    assert_eq!((table_bits(11, 128), table_bits(11, 129)), (11, 12));
    // Large arrays have 20/9 for an entry: 4096 for 1843 entries.
    assert_eq!((table_bits(12, 1843), table_bits(12, 1844)), (12, 13));
    // 64 buckets for an entry are not too many, 65 are; a smaller array has a reserve of two.
    assert_eq!((table_bits(16, 1024), table_bits(16, 1023)), (16, 13));
    assert_eq!(
        (table_bits(20, 1 << 14), table_bits(20, (1 << 14) - 1)),
        (20, 17)
    );
    assert_eq!(
        [1, 64, 65, 128].map(|entries| table_bits(16, entries)),
        [10, 10, 11, 11]
    );
    assert_eq!(
        table_bits(10, 1 << 20),
        22,
        "at once as large as it must be"
    );
}

#[test]
fn an_entry_of_a_removed_server_makes_room_first() {
    let entry = |removed, idle| EvictionRank { removed, idle };
    assert!(entry(true, 0) > entry(false, usize::MAX));
    assert!(entry(true, 2) > entry(true, 1) && entry(false, 2) > entry(false, 1));
    assert_eq!(
        EvictionRank::CHAINS / 64,
        EvictionRank::SAMPLE,
        "a whole sample in a sparse table"
    );
}

prop_compose! {
    fn any_server()(
        weight in prop_oneof![Just(0), 0..20i32, 0..=i32::MAX],
        active in prop_oneof![0..40i32, 0..1 << 22],
        inactive in prop_oneof![0..40i32, 0..1 << 22],
        overload in prop::bool::weighted(0.1),
    ) -> DestSnapshot {
        DestSnapshot::new(weight, (active, active + inactive), true, overload, false)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100_000,
        failure_persistence: None,
        ..Default::default()
    })]

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
    fn idle_is_the_distance(now: usize, age in 0..1usize << 62) {
        prop_assert_eq!(idle_time(now, now.wrapping_sub(age)), age);
    }
}
