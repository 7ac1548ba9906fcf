// SPDX-License-Identifier: GPL-2.0

//! `lblc/rendezvous.rs` against the exact logarithm.

use super::{
    policy::{first_in_order, DestSnapshot},
    rendezvous::{join, key_hash, log, server_hash, siphash, Draw, Number, Score, LOG},
};
use proptest::prelude::*;
use std::{cell::RefCell, cmp::Ordering, net::Ipv4Addr};

const KEYS: u32 = 1_000_000;

/// The number of an IPv4 address.
pub(super) fn mapped(ipv4: u32) -> Number {
    Ipv4Addr::from(ipv4).to_ipv6_mapped().into()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Server {
    address: Number,
    port: u16,
    pub(super) weight: i32,
    pub(super) hash: u64,
}

impl Server {
    pub(super) fn new(address: Number, port: u16, weight: i32) -> Self {
        let hash = server_hash(address, port);
        Self {
            address,
            port,
            weight,
            hash,
        }
    }

    pub(super) fn name(&self) -> (Number, u16) {
        (self.address, self.port)
    }
}

/// 10.0.0.1:80 and so on.
fn farm(weights: &[i32]) -> Vec<Server> {
    let server = |(at, weight)| Server::new(mapped(0x0a00_0001 + at), 80, weight);
    (0u32..).zip(weights.iter().copied()).map(server).collect()
}

/// Neighbouring addresses from 198.18.0.0 on: a good hash makes no difference of that.
fn keys() -> impl Iterator<Item = u64> {
    (0..KEYS).map(|at| key_hash(0, mapped(0xc612_0000 + at)))
}

/// The first in the order of a key.
fn first(key: u64, servers: &[Server]) -> usize {
    let mut best: Option<(usize, Score)> = None;
    for (at, server) in servers.iter().enumerate() {
        let score = Draw::new(key, server.hash, server.weight).score();
        let name = server.name();
        if best
            .is_none_or(|(best, other)| score.is_before(&other, || name.cmp(&servers[best].name())))
        {
            best = Some((at, score));
        }
    }
    best.expect("there are servers").0
}

/// `-log2(u)`, with all bits of an f64 also where u is close to 1.
fn exact_log(hash: u64) -> f64 {
    let odd = hash | 1;
    match odd >> 63 {
        0 => 64.0 - (odd as f64).log2(),
        _ => -(-(odd.wrapping_neg() as f64) / 2f64.powi(64)).ln_1p() / std::f64::consts::LN_2,
    }
}

/// `first()` by the exact logarithm.
fn exact_first(key: u64, servers: &[Server]) -> usize {
    let score = |server: &Server| exact_log(join(key, server.hash)) / f64::from(server.weight);
    let scores: Vec<f64> = servers.iter().map(score).collect();
    let by_score = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
    (0..servers.len())
        .min_by(by_score)
        .expect("there are servers")
}

/// The numbers of keys that have each server first, by `first()` and by the exact logarithm; and
/// the number of keys for which the two differ.
fn shares(weights: &[i32], keys: impl Iterator<Item = u64>) -> (Vec<f64>, Vec<f64>, usize) {
    let servers = farm(weights);
    let (mut ours, mut exact) = (vec![0.0; servers.len()], vec![0.0; servers.len()]);
    let mut differ = 0;
    for key in keys {
        let (is, should) = (first(key, &servers), exact_first(key, &servers));
        ours[is] += 1.0;
        exact[should] += 1.0;
        differ += usize::from(is != should);
    }
    (ours, exact, differ)
}

/// Asserts that the shares of `weights` are in proportion, within the noise of this number of keys,
/// and differ by a small part of that noise from those of the exact logarithm with the same keys.
fn shares_are_exact(weights: &[i32]) {
    let (ours, exact, differ) = shares(weights, keys());
    let sum: f64 = weights.iter().copied().map(f64::from).sum();
    let mut chi_squared = 0.0;
    for (at, weight) in weights.iter().enumerate() {
        let share = f64::from(*weight) / sum;
        let expected = f64::from(KEYS) * share;
        let noise = (expected * (1.0 - share)).sqrt().max(1.0);
        chi_squared += (ours[at] - expected).powi(2) / expected.max(1.0);
        let (off, beside) = (
            (ours[at] - expected) / noise,
            (ours[at] - exact[at]) / noise,
        );
        println!(
            "weight {weight}: {} keys of {expected:.0}, {off:+.2} sigma; exact {}, {beside:+.2}",
            ours[at], exact[at],
        );
        assert!(
            off.abs() < 4.0,
            "weight {weight}: {off} sigma from its share"
        );
        assert!(
            beside.abs() < 0.5,
            "weight {weight}: {beside} sigma from the exact logarithm"
        );
    }
    // Its mean is the number of servers less one, its variance twice that.
    let freedom = weights.len() as f64 - 1.0;
    let limit = freedom + 4.0 * (2.0 * freedom).sqrt();
    println!("chi squared {chi_squared:.1} of {limit:.1}; {differ} keys differ");
    assert!(chi_squared < limit, "chi squared {chi_squared} of {limit}");
}

#[test]
fn shares_of_1_2_3_10() {
    shares_are_exact(&[1, 2, 3, 10]);
}

#[test]
fn shares_of_31_equal_servers_and_one_of_ten_times_their_weight() {
    let mut weights = vec![100; 31];
    weights.push(1000);
    shares_are_exact(&weights);
}

#[test]
fn shares_of_1_1000_1000000() {
    shares_are_exact(&[1, 1000, 1_000_000]);
}

#[test]
fn shares_of_equal_servers() {
    shares_are_exact(&[1; 32]);
}

/// A million keys when servers change: only keys move whose first server must change.
fn moves(before: &[Server], after: &[Server], may_move: impl Fn(Server, Server) -> bool) -> usize {
    let mut moved = 0;
    for key in keys() {
        let (was, is) = (before[first(key, before)], after[first(key, after)]);
        if was.name() != is.name() {
            assert!(may_move(was, is), "a key moves from {was:?} to {is:?}");
            moved += 1;
        }
    }
    moved
}

#[test]
fn a_removed_server_loses_its_keys_and_nobody_else_does() {
    let with = farm(&[3, 1, 4, 1, 5, 9, 2, 6, 5, 3]);
    let gone = with[5];
    let without: Vec<Server> = with.iter().copied().filter(|it| *it != gone).collect();
    let moved = moves(&with, &without, |was, _| was == gone);
    let back = moves(&without, &with, |_, is| is == gone);
    assert_eq!(moved, back);
    let share = moved as f64 / f64::from(KEYS);
    assert!((share - 9.0 / 39.0).abs() < 0.002, "its share was {share}");
}

#[test]
fn a_changed_weight_moves_keys_to_or_from_that_server_only() {
    let light = farm(&[10, 10, 10, 10, 10, 10, 10, 10]);
    let mut heavy = light.clone();
    heavy[3].weight = 30;
    let name = light[3].name();
    let to = moves(&light, &heavy, |_, is| is.name() == name);
    let from = moves(&heavy, &light, |was, _| was.name() == name);
    assert_eq!(to, from);
    // From 1/8 to 3/10.
    let share = to as f64 / f64::from(KEYS);
    assert!((share - 0.175).abs() < 0.002, "{share} of the keys moved");
}

#[test]
fn another_seed_is_another_order_and_seeds_spread_evenly() {
    let servers = farm(&[1; 8]);
    let mut same = 0;
    for at in 0..KEYS {
        let of = |seed| first(key_hash(seed, mapped(0xc612_0000 + at)), &servers);
        same += usize::from(of(0) == of(1));
    }
    let share = same as f64 / f64::from(KEYS);
    assert!((share - 0.125).abs() < 0.002, "{share} of the keys stay");
}

#[test]
fn equal_scores_go_by_address_and_port() {
    // 1024 servers in two orders: some of the 200 000 keys have two best servers of the same score.
    let servers = farm(&[7; 1024]);
    let mut reversed = servers.clone();
    reversed.reverse();
    let mut equal = 0;
    for key in keys().take(200_000) {
        let best = servers[first(key, &servers)];
        assert_eq!(best, reversed[first(key, &reversed)]);
        let score = Draw::new(key, best.hash, best.weight).score();
        let other = |it: &Server| Draw::new(key, it.hash, it.weight).score();
        equal += servers
            .iter()
            .filter(|it| !score.is_before(&other(it), || Ordering::Equal))
            .filter(|it| **it != best)
            .inspect(|it| assert!(best.name() < it.name()))
            .count();
    }
    println!("{equal} equal scores");
    assert!(equal > 0, "the case shows nothing");
}

#[test]
fn nearly_all_draws_behind_the_first_are_known_without_their_scores() {
    let servers = farm(&[100; 64]);
    let (mut behind, mut known) = (0, 0);
    for key in keys().take(10_000) {
        let draws = servers.iter().map(|it| Draw::new(key, it.hash, it.weight));
        let best = servers[first(key, &servers)];
        let best = Draw::new(key, best.hash, best.weight).score();
        let others = draws.filter(|it| best.is_before(&it.score(), || Ordering::Less));
        for draw in others {
            behind += 1;
            known += u32::from(draw.is_behind(&best));
        }
    }
    println!("{known} of {behind}");
    assert!(known * 100 > behind * 95);
}

#[test]
fn siphash_is_that_of_its_authors() {
    // vectors_sip64 of the reference implementation: 00 01 02 ..., 16 and 18 bytes of them.
    let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    let [a, b] = key;
    assert_eq!(siphash(key, [a, b, 16 << 56]), 0x3f2a_cc7f_57c2_9bdb);
    let last = 18 << 56 | 0x1110;
    assert_eq!(siphash(key, [a, b, last]), 0x4bc1_b3f0_968d_d39c);
}

#[test]
fn the_table_is_the_logarithm() {
    for (at, entry) in LOG.iter().enumerate() {
        let exact = (1.0 - (1.0 + at as f64 / 32.0).log2()) * 2f64.powi(24);
        assert_eq!(f64::from(*entry), exact.round(), "entry {at}");
    }
}

#[test]
fn the_logarithm_keeps_its_bounds() {
    assert_eq!((log(0), log(1), log(u64::MAX)), (1 << 30, 1 << 30, 1));
    // The greatest product.
    let last = u128::from(log(0)) * u128::from(i32::MAX.unsigned_abs());
    assert!(last <= u128::from(u64::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    /// The straight lines are above the curve, by 2^-12.4 at most, and by a 120th of it.
    #[test]
    fn the_logarithm_is_near_the_exact_one(bits in any::<u64>(), shift in 0..64u32, ones: bool) {
        let hash = if ones { !(bits >> shift) } else { bits >> shift };
        let (ours, exact) = (log(hash) as f64 / 2f64.powi(24), exact_log(hash));
        let off = ours - exact;
        let unit = 2f64.powi(-24);
        prop_assert!(off > -unit, "{ours} for {exact}");
        prop_assert!(off < 1.8e-4 + unit, "{ours} for {exact}");
        prop_assert!(off < exact / 120.0 + unit, "{ours} for {exact}");
    }

    #[test]
    fn a_logarithm_is_at_least_what_its_argument_lacks_to_1(
        bits in any::<u64>(), shift in 0..64u32, ones: bool
    ) {
        let hash = if ones { !(bits >> shift) } else { bits >> shift };
        prop_assert!(log(hash) >= !hash >> 40);
    }

    #[test]
    fn a_draw_that_is_behind_has_a_score_that_is(
        hashes: [u64; 2], weights in [1..=i32::MAX, 1..=i32::MAX], alike: bool
    ) {
        let [one, other] = [0, 1].map(|at| {
            Draw::new(0, hashes[at], if alike { 100 } else { weights[at] })
        });
        let best = other.score();
        if one.is_behind(&best) {
            prop_assert!(best.is_before(&one.score(), || Ordering::Greater));
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_list(
        seed: u64,
        key: u128,
        servers in prop::collection::vec((any::<u32>(), any::<u16>(), 1..=i32::MAX), 1..20),
    ) {
        let servers: Vec<Server> = servers
            .into_iter()
            .map(|(address, port, weight)| Server::new(mapped(address), port, weight))
            .collect();
        let key = key_hash(seed, key);
        let best = servers[first(key, &servers)];
        let mut other = servers;
        other.sort_by_key(|it| it.hash);
        prop_assert_eq!(best, other[first(key, &other)]);
    }
}

/// A server with this number of connections, all of them active.
fn busy(weight: i32, connections: i32) -> DestSnapshot {
    DestSnapshot::new(weight, (connections, connections), true, false, false)
}

/// `first_in_order()` over servers with these snapshots, whose addresses differ in the last digit
/// only; each must be read once.
fn chosen(key: u64, readings: &[DestSnapshot]) -> Option<usize> {
    let servers = farm(&vec![1; readings.len()]);
    let reads = RefCell::new(vec![0; readings.len()]);
    let first = first_in_order(
        0..readings.len(),
        |at| {
            reads.borrow_mut()[at] += 1;
            readings[at]
        },
        |at, weight| Draw::new(key, servers[at].hash, weight),
        |a, b| servers[a].name().cmp(&servers[b].name()),
    );
    assert_eq!(*reads.borrow(), vec![1; readings.len()]);
    first
}

#[test]
fn a_server_above_its_weight_is_passed_over() {
    for key in keys().take(1000) {
        let best = first(key, &farm(&[3; 5]));
        let mut readings = [busy(3, 3); 5];
        assert_eq!(chosen(key, &readings), Some(best));
        readings[best] = busy(3, 4);
        let mut others = farm(&[3; 5]);
        others.remove(best);
        let next = first(key, &others);
        let next = next + usize::from(next >= best);
        assert_eq!(chosen(key, &readings), Some(next));
        // Quiesced, or at its threshold.
        for reading in [
            busy(0, 0),
            DestSnapshot {
                overload: true,
                ..busy(3, 0)
            },
        ] {
            readings[best] = reading;
            assert_eq!(chosen(key, &readings), Some(next));
        }
    }
}

#[test]
fn with_all_above_their_weight_the_least_loaded_is_first() {
    for key in keys().take(100) {
        let overload = DestSnapshot {
            overload: true,
            ..busy(9, 0)
        };
        let readings = [busy(1, 4), busy(0, 0), overload, busy(2, 5), busy(4, 10)];
        // 5/2 and 10/4 are equal: the earlier one.
        assert_eq!(chosen(key, &readings), Some(3));
        assert_eq!(chosen(key, &readings[..3]), Some(0));
        assert_eq!(chosen(key, &readings[1..3]), None);
    }
}
