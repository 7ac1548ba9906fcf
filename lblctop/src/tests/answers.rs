// SPDX-License-Identifier: GPL-2.0

//! The verdict, and what machines get.

use super::{after, drawn, recorded, view, IPVS};
use crate::{
    json,
    model::View,
    prometheus,
    verdict::{self, Level},
};
use std::collections::HashSet;

#[test]
fn an_unknown_counter_is_shown_and_passed_on() {
    let view = after("", &[("hits", 5), ("rehomes", 7)]);
    assert!(drawn(&view, 80, 24, 0, 0).contains("rehomes 7.0/s"));
    assert!(json::text(&view).contains("\"rehomes\": 1007"));
    assert!(prometheus::text(&view).contains("{service=\"FWM 1\",event=\"rehomes\"} 1007\n"));
}

#[test]
fn verdicts_name_the_reason_and_the_remedy() {
    let full = "FWM 1 entries 400 buckets 1024 max 400 expiration 60 bytes 8\n";
    let half = "FWM 1 entries 400 buckets 1024 max 800 expiration 60 bytes 8\n";
    for (table, grown, level, answer, advice) in [
        (
            half,
            &[("hits", 97), ("overloaded", 3)][..],
            Level::Good,
            "works: 97.0 %",
            "",
        ),
        (
            half,
            &[("hits", 70), ("overloaded", 30)],
            Level::Fair,
            "suffers: 70.0 % stay where they were; 30.0 % overloaded",
            "weight",
        ),
        (
            half,
            &[("hits", 10), ("overloaded", 90)],
            Level::Bad,
            "fails: 10.0 %",
            "raise it",
        ),
        (
            half,
            &[("hits", 10), ("unknown", 90)],
            Level::Fair,
            "building up",
            "400 destinations",
        ),
        (
            full,
            &[("hits", 60), ("unknown", 40), ("evictions", 40)],
            Level::Fair,
            "suffers",
            "lblc_rs_max_entries (now 400)",
        ),
        (
            full,
            &[("hits", 99), ("unknown", 1), ("evictions", 1)],
            Level::Good,
            "works",
            "lblc_rs_max_entries",
        ),
        (
            half,
            &[("hits", 60), ("expired", 40)],
            Level::Fair,
            "expired",
            "every 60 s",
        ),
        (
            half,
            &[("hits", 60), ("unavailable", 40)],
            Level::Fair,
            "unavailable",
            "health",
        ),
        (
            half,
            &[("hits", 60), ("weight0", 40)],
            Level::Fair,
            "weight0",
            "quiesced",
        ),
        (
            half,
            &[("hits", 60), ("threshold", 40)],
            Level::Fair,
            "threshold",
            "-x",
        ),
        (
            half,
            &[("hits", 98), ("none", 2)],
            Level::Bad,
            "2.0 % of the connections are REFUSED",
            "weight 0",
        ),
        (
            half,
            &[("hits", 99), ("failures", 1)],
            Level::Good,
            "works",
            "Memory",
        ),
        (
            half,
            &[("hits", 0)],
            Level::Good,
            "No new connections now. Before: ",
            "",
        ),
    ] {
        let view = after(table, grown);
        let verdict = verdict::of(&view.services[0]);
        assert_eq!(verdict.level, level, "{verdict:?}");
        assert!(verdict.answer.contains(answer), "{verdict:?}");
        assert!(verdict.advice.contains(advice), "{verdict:?}, {advice}");
        assert!(
            !advice.is_empty() || verdict.advice.is_empty(),
            "{verdict:?}"
        );
    }
    let one = view(
        "TCP 10.0.1.100:80 hits 99 unknown 1\n",
        "TCP 10.0.1.100:80 entries 1 max 9\n",
        IPVS,
    );
    assert!(verdict::of(&one.services[0])
        .answer
        .contains("One destination"));
    let none = view("FWM 1 hits 0\n", "", "");
    assert_eq!(verdict::of(&none.services[0]).level, Level::Unknown);
}

#[test]
fn json_says_what_the_files_say() {
    let view = recorded();
    let parsed: serde_json::Value = serde_json::from_str(&json::text(&view)).unwrap();
    let service = &parsed["services"][0];
    assert_eq!(service["service"], "FWM 1");
    assert_eq!(
        service["counters"]["hits"],
        view.services[0].total.get("hits")
    );
    assert_eq!(
        service["table"]["entries"],
        view.services[0].table.as_ref().unwrap().entries
    );
    assert_eq!(
        service["servers"][0]["server"],
        view.services[0].servers[0].address.to_string()
    );
    let nothing: serde_json::Value = serde_json::from_str(&json::text(&View::default())).unwrap();
    assert_eq!(nothing["services"], serde_json::json!([]));
}

#[test]
fn prometheus_has_no_sample_twice_and_a_type_for_each() {
    let text = prometheus::text(&recorded());
    let (mut typed, mut seen) = (HashSet::new(), HashSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().unwrap()), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(seen.insert(series), "{line}");
            assert!(typed.contains(series.split('{').next().unwrap()), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
    assert_eq!(prometheus::escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
}
