// SPDX-License-Identifier: GPL-2.0

//! The verdict, and what machines get.

use super::{after, drawn, recorded, view, IPVS};
use crate::{
    counters, json,
    model::View,
    options::Options,
    prometheus,
    verdict::{self, Level},
};
use clap::Parser;
use std::{collections::HashSet, time::Duration};

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
            "suffers: 70.0 % of 100 connections in 1 s stayed; 30.0 % overloaded",
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
            "2.0 % of 100 connections in 1 s were REFUSED",
            "There are servers that can take connections now",
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
            Level::Unknown,
            "No new connections in 1 s. Before that there were 1000.",
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
    let mut one = view(
        "TCP 10.0.1.100:80 hits 99 unknown 1\n",
        "TCP 10.0.1.100:80 entries 1 max 9\n",
        &IPVS,
    );
    one.compare(Duration::from_secs(1), &[]);
    assert!(verdict::of(&one.services[0])
        .answer
        .contains("One destination"));
}

/// A service of which IPVS says this, and whose counters did not change for two seconds.
fn quiet(ipvs: &str, table: &str) -> verdict::Verdict {
    let stats = "FWM 1 hits 95 unknown 0 none 5\n";
    let mut view = view(stats, table, &format!("FWM  00000001 lblc_rs\n{ipvs}"));
    let before = counters::parse(stats.as_bytes()).unwrap();
    view.compare(Duration::from_secs(2), &before);
    verdict::of(&view.services[0])
}

fn server(number: u8, weight: i64, active: u32, inactive: u32) -> String {
    format!("  -> 0A000{number:X}02:0000 Route {weight} {active} {inactive}\n")
}

#[test]
fn what_was_once_is_no_verdict() {
    let good = quiet(&server(11, 1000, 0, 5), "");
    assert_eq!(good.level, Level::Unknown);
    assert_eq!(
        good.answer,
        "No new connections in 2 s. Before that there were 100."
    );
    assert_eq!(good.advice, "");
    let first = view("FWM 1 hits 95 none 5\n", "", &IPVS);
    let verdict = verdict::of(&first.services[0]);
    assert_eq!(
        (verdict.level, verdict.answer.as_str()),
        (Level::Unknown, "Nothing is known yet.")
    );
}

#[test]
fn without_a_server_that_can_take_connections_it_is_bad() {
    for (servers, answer, advice) in [
        (String::new(), "The service has no server: ", "ipvsadm -a"),
        (
            server(11, 0, 0, 5) + &server(12, 0, 0, 0),
            "All servers have the weight 0: ",
            "-w",
        ),
    ] {
        let verdict = quiet(&servers, "");
        assert_eq!(verdict.level, Level::Bad, "{verdict:?}");
        assert!(verdict.answer.starts_with(answer), "{verdict:?}");
        assert!(verdict.advice.contains(advice), "{verdict:?}");
    }
}

#[test]
fn a_server_that_completes_nothing_is_named() {
    let stuck = |servers: &[String]| {
        let verdict = quiet(&servers.concat(), "");
        (verdict.level == Level::Bad).then_some(verdict.answer)
    };
    let alive = server(11, 1000, 2, 40);
    let dead = server(12, 1000, 12, 0);
    let named = Some("10.0.12.2:0 completes no connection.".to_owned());
    assert_eq!(stuck(&[alive.clone(), dead.clone()]), named);
    let both = Some("10.0.12.2:0 and 10.0.13.2:0 complete no connection.".to_owned());
    assert_eq!(
        stuck(&[alive.clone(), dead.clone(), server(13, 9, 6, 0)]),
        both
    );
    // Too few to tell, nobody to compare with, long connections everywhere, or no new ones.
    assert_eq!(stuck(&[alive.clone(), server(12, 1000, 4, 0)]), None);
    assert_eq!(stuck(&[dead.clone()]), None);
    assert_eq!(stuck(&[server(11, 1000, 90, 5), dead]), None);
    assert_eq!(stuck(&[alive, server(12, 0, 12, 0)]), None);
}

#[test]
fn a_server_that_came_back_gets_new_destinations_only() {
    let table = format!(
        "FWM 1 entries 30\n{}",
        "  198.18.0.1 10.0.11.2:0 1\n".repeat(30)
    );
    let (old, new) = (server(11, 1000, 0, 5), server(12, 1000, 0, 0));
    let advice = quiet(&(old.clone() + &new), &table).advice;
    assert!(advice.starts_with("10.0.12.2:0 has no destination, and will get new ones only"));
    assert_eq!(quiet(&(old.clone() + &new), "").advice, "");
    assert_eq!(quiet(&(old + &server(12, 0, 0, 0)), &table).advice, "");
}

#[test]
fn a_service_that_is_not_ours_is_named_with_its_module() {
    let ipvs = "FWM  00000001 lblc_rs\nFWM  00000002 rr\nTCP  0A000164:0050 lblc\n";
    let view = view("FWM 1 hits 1\n", "", ipvs);
    let text = drawn(&view, 80, 24, 0, 0);
    let line = " Not shown: TCP 10.0.1.100:80 has lblc of ip_vs_lblc, FWM 2 has rr\n";
    assert!(text.contains(line), "{text}");
    let narrow = drawn(&view, 60, 24, 0, 0);
    let line = " Not shown: TCP 10.0.1.100:80 has lblc of ip_vs_lblc and 1 more\n";
    assert!(narrow.contains(&line[..59]), "{narrow}");
    let parsed: serde_json::Value = serde_json::from_str(&json::text(&view)).unwrap();
    assert_eq!(parsed["other_services"][1]["module"], "ip_vs_lblc");
    let page = prometheus::text(&view);
    assert!(
        page.contains("lblc_other_services{scheduler=\"lblc\"} 1\n"),
        "{page}"
    );
}

#[test]
fn a_service_is_found_by_what_people_type() {
    let view = recorded();
    for name in ["FWM6 2", "fwm6 2", "FWM62", "fwm62"] {
        let found = Options::try_parse_from(["lblctop", "-s", name])
            .unwrap()
            .find(&view);
        assert_eq!(view.services[found.unwrap()].name, "FWM6 2");
    }
    let wrong = Options::try_parse_from(["lblctop", "-s", "FWM 3"]).unwrap();
    let said = wrong.find(&view).unwrap_err().to_string();
    let names = "\"FWM 3\": there is FWM 1, ";
    assert!(
        said.contains(names) && said.contains("TCP [fd00:c::100]:80"),
        "{said}"
    );
}

#[test]
fn json_says_what_the_files_say() {
    let view = recorded();
    let parsed: serde_json::Value = serde_json::from_str(&json::text(&view)).unwrap();
    let service = &parsed["services"][0];
    assert_eq!(service["service"], "FWM 1");
    assert_eq!(service["interval"], serde_json::Value::Null);
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
