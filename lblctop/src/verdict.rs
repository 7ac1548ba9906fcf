// SPDX-License-Identifier: GPL-2.0

//! Is locality working, and if not, why not, and what is to be done about it?

use crate::{
    counters::Counters,
    figures::{count, percent},
    misses::{self, Miss},
    model::Service,
};

/// From here on locality works.
const GOOD: f64 = 0.9;
/// And below this it does not.
const BAD: f64 = 0.5;
/// As many destinations at least say something about a table.
const FEW: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Unknown,
    Good,
    Fair,
    Bad,
}

impl Level {
    /// As machines read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Bad => "bad",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    /// The answer.
    pub(crate) answer: String,
    /// What is to be done or known, if anything.
    pub(crate) advice: String,
}

/// The reasons for misses that there were, the busiest first.
pub(crate) fn busiest(counters: &Counters) -> Vec<&'static Miss> {
    let mut reasons: Vec<_> = misses::ALL.iter().collect();
    reasons.retain(|miss| counters.get(miss.name) > 0);
    reasons.sort_by_key(|miss| std::cmp::Reverse(counters.get(miss.name)));
    reasons
}

/// What is to be said of a service.
pub(crate) fn of(service: &Service) -> Verdict {
    let now = service.current();
    let calls = now.calls();
    if calls == 0 {
        return Verdict {
            level: Level::Unknown,
            answer: "Nothing has been scheduled yet.".into(),
            advice: "If there is traffic, it does not get here: see ipvsadm -L -n --stats.".into(),
        };
    }
    let (level, answer, remedy) = judge(service, now, calls);
    let mut advice = vec![remedy];
    if now.get("failures") > 0 {
        advice.push("Memory was short: the table is not what it should be.".into());
    }
    if service.scheduler.contains("persistent") {
        advice.push("(Persistent: only clients that are not known come to the scheduler.)".into());
    }
    advice.retain(|it| !it.is_empty());
    let idle = service.recent.as_ref().is_some_and(|it| it.calls() == 0);
    let when = match idle {
        true => "No new connections now. Before: ",
        false => "",
    };
    Verdict {
        level,
        answer: format!("{when}{answer}"),
        advice: advice.join(" "),
    }
}

/// How it is, and what is to be done.
fn judge(service: &Service, now: &Counters, calls: u64) -> (Level, String, String) {
    let part = |count: u64, of: u64| percent(Some(count as f64 / of.max(1) as f64));
    let (hits, refused) = (now.get("hits"), now.get("none"));
    if refused > 0 {
        let answer = format!("{} of the connections are REFUSED.", part(refused, calls));
        return (Level::Bad, answer, about("none", service));
    }
    let entries = service.table.as_ref().map(|it| it.entries);
    if entries == Some(1) && !service.name.starts_with("FWM") {
        return (
            Level::Fair,
            "One destination, its own address: one server for all, until it is overloaded.".into(),
            "For many destinations, make it a service for a firewall mark.".into(),
        );
    }
    // That a destination is new is nobody's fault, unless others had to make room.
    let evicts = is_full(service, now);
    let new = if evicts { 0 } else { now.get("unknown") };
    let known = calls.saturating_sub(new);
    let kept = hits as f64 / known.max(1) as f64;
    let mut reasons = busiest(now);
    reasons.retain(|miss| evicts || miss.name != "unknown");
    match reasons.first() {
        Some(miss) if kept < GOOD => {
            let (level, how) = match kept < BAD {
                false => (Level::Fair, "Locality suffers"),
                true => (Level::Bad, "Locality fails"),
            };
            let (stay, leave) = (part(hits, known), part(now.get(miss.name), known));
            let (name, why) = (miss.name, miss.means);
            let answer = format!("{how}: {stay} stay where they were; {leave} {name}: {why}.");
            (level, answer, about(name, service))
        }
        _ if known == 0 => (
            Level::Fair,
            "Locality is building up: only new destinations yet.".into(),
            about("unknown", service),
        ),
        _ if (hits as f64) < GOOD * calls as f64 => (
            Level::Fair,
            format!(
                "Locality is building up: known destinations stay ({}), but {} are new.",
                part(hits, known),
                part(new, calls)
            ),
            about("unknown", service),
        ),
        _ => (
            Level::Good,
            format!(
                "Locality works: {} of the connections went where their destination was before.",
                part(hits, calls)
            ),
            if evicts { full(service) } else { String::new() },
        ),
    }
}

/// Whether entries have to make room for others.
fn is_full(service: &Service, now: &Counters) -> bool {
    let full = service.table.as_ref().is_none_or(|it| it.filled() >= GOOD);
    full && now.get("evictions") > 0
}

fn full(service: &Service) -> String {
    let max = service.table.as_ref().map_or(0, |it| it.max);
    format!(
        "The table is full, new destinations push out old ones: raise \
         net.ipv4.vs.lblc_rs_max_entries (now {max})."
    )
}

/// What to do about the reason of most misses.
fn about(reason: &str, service: &Service) -> String {
    let table = service.table.clone().unwrap_or_default();
    let listed = || service.servers.iter().filter_map(|it| it.listed);
    match reason {
        "unknown" if is_full(service, service.current()) => full(service),
        "unknown" if table.entries < FEW => "Few destinations are known: wait and see.".into(),
        "unknown" => format!(
            "{} destinations are known. That is normal after a start, and while the world changes.",
            count(table.entries)
        ),
        "expired" => format!(
            "Destinations are asked for less often than every {} s: raise net.ipv4.vs.lblc_expiration.",
            table.expiration
        ),
        "unavailable" => "Servers went away; their destinations move once. If it goes on: do health \
                          checks flap?"
            .into(),
        "weight0" => "Servers were quiesced; their destinations move once. If it goes on: do weights \
                      flap?"
            .into(),
        "overloaded" => {
            let (least, most) = listed().fold((i64::MAX, 0), |(least, most), it| {
                (least.min(it.weight), most.max(it.weight))
            });
            let weights = match least.max(0) {
                least if least < most => format!("{least} to {most}"),
                _ => most.to_string(),
            };
            format!(
                "A weight is the number of connections that a server can take at once (now {weights}): \
                 raise it, or add servers."
            )
        }
        "threshold" => "Servers have as many connections as ipvsadm -x allows: raise that, or add \
                        servers."
            .into(),
        "none" if listed().next().is_none() => "The service has no server: ipvsadm -a.".into(),
        "none" if listed().all(|it| it.weight <= 0) => {
            "All servers have the weight 0: ipvsadm -e ... -w.".into()
        }
        "none" => "Servers have the weight 0, or are at their threshold: ipvsadm -e ... -w ... -x."
            .into(),
        _ => String::new(),
    }
}
