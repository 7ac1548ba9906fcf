// SPDX-License-Identifier: GPL-2.0

//! Is locality working, and if not, why not, and what is to be done about it?

use crate::{
    counters::Counters,
    figures::{count, percent, some, span},
    misses::{self, Miss},
    model::Service,
};

/// The part of connections to known destinations that stayed, from which on locality works.
const GOOD: f64 = 0.9;
/// The part below which locality fails.
const BAD: f64 = 0.5;
/// The number of destinations from which on a table is judged.
const FEW: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Unknown,
    Good,
    Fair,
    Bad,
}

impl Level {
    pub(crate) const ALL: [Self; 4] = [Self::Unknown, Self::Good, Self::Fair, Self::Bad];

    /// The name of the level in JSON and in metrics.
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
    /// What to do or to know, if anything.
    pub(crate) advice: String,
}

/// The reasons for misses that there were, the busiest first.
pub(crate) fn busiest(counters: &Counters) -> Vec<&'static Miss> {
    let mut reasons: Vec<_> = misses::ALL.iter().collect();
    reasons.retain(|miss| counters.get(miss.name) > 0);
    reasons.sort_by_key(|miss| std::cmp::Reverse(counters.get(miss.name)));
    reasons
}

/// The verdict on a service, for the time since the last refresh and its present state.
pub(crate) fn of(service: &Service) -> Verdict {
    let Some(now) = &service.recent else {
        let advice = "The first interval is not over yet.";
        return Verdict::new(Level::Unknown, "Nothing is known yet.", advice);
    };
    let calls = now.calls();
    if calls == 0 {
        return without_connections(service);
    }
    let (level, answer, remedy) = judge(service, now, calls);
    let mut advice = vec![remedy, fresh(service)];
    if now.get("failures") > 0 {
        advice.push("Memory was short: the table is not what it should be.".into());
    }
    if service.persistent {
        advice.push("(Persistent: only clients that are not known come to the scheduler.)".into());
    }
    advice.retain(|it| !it.is_empty());
    Verdict::new(level, answer, advice.join(" "))
}

impl Verdict {
    fn new(level: Level, answer: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level,
            answer: answer.into(),
            advice: advice.into(),
        }
    }
}

/// The verdict on a service without new connections since the last refresh.
fn without_connections(service: &Service) -> Verdict {
    if let Some((answer, advice)) = without_server(service) {
        let answer = format!("{answer}: new connections are refused.");
        return Verdict::new(Level::Bad, answer, advice);
    }
    if let Some((answer, advice)) = stuck(service) {
        return Verdict::new(Level::Bad, answer, advice);
    }
    match service.total.calls() {
        0 => Verdict::new(
            Level::Unknown,
            "Nothing has been scheduled yet.",
            "If there is traffic, it does not get here: see ipvsadm -L -n --stats.",
        ),
        before => {
            let (before, span) = (count(before), span(service.interval));
            let answer = format!("No new connections in {span}. Before that there were {before}.");
            Verdict::new(Level::Unknown, answer, fresh(service))
        }
    }
}

/// Why no server can take a connection, and what to do, if that is so.
fn without_server(service: &Service) -> Option<(&'static str, &'static str)> {
    let mut listed = service.servers.iter().filter_map(|it| it.listed).peekable();
    if listed.peek().is_none() {
        return Some(("The service has no server", "Add one: ipvsadm -a."));
    }
    let advice = "Raise one: ipvsadm -e ... -w.";
    let quiesced = listed.all(|it| it.weight <= 0);
    quiesced.then_some(("All servers have the weight 0", advice))
}

/// The verdict on servers that complete no connection, if there are any.
fn stuck(service: &Service) -> Option<(String, String)> {
    let stuck: Vec<_> = service.stuck.iter().map(|it| it.to_string()).collect();
    let number = match stuck.len() {
        0 => return None,
        1 => "completes",
        _ => "complete",
    };
    let answer = format!("{} {number} no connection.", some(&stuck));
    let advice = "Is it alive? Its destinations stay there until a health check (keepalived, \
                  ldirectord) or ipvsadm takes it out.";
    Some((answer, advice.into()))
}

/// The note on servers to which no destination belongs, although the others have some.
fn fresh(service: &Service) -> String {
    let takes = |weight: i64| weight > 0;
    let listed = service.servers.iter();
    let listed = listed.filter(|it| it.listed.is_some_and(|it| takes(it.weight)));
    let (new, old): (Vec<_>, Vec<_>) = listed.partition(|it| it.destinations == 0);
    if new.is_empty() || old.iter().map(|it| it.destinations).sum::<u64>() < FEW {
        return String::new();
    }
    let new: Vec<_> = new.iter().map(|it| it.address.to_string()).collect();
    let has = if new.len() == 1 { "has" } else { "have" };
    format!(
        "{} {has} no destination, and will get new ones only: known ones stay where they are.",
        some(&new)
    )
}

/// The level and the answer, with advice.
fn judge(service: &Service, now: &Counters, calls: u64) -> (Level, String, String) {
    let part = |count: u64, of: u64| percent(Some(count as f64 / of.max(1) as f64));
    let (hits, refused) = (now.get("hits"), now.get("none"));
    let of = |calls: u64| match calls {
        1 => format!("1 connection in {}", span(service.interval)),
        _ => format!("{} connections in {}", count(calls), span(service.interval)),
    };
    if refused > 0 {
        let answer = format!("{} of {} were REFUSED.", part(refused, calls), of(calls));
        return (Level::Bad, answer, about("none", service));
    }
    if let Some((answer, advice)) = stuck(service) {
        return (Level::Bad, answer, advice);
    }
    let entries = service.table.as_ref().map(|it| it.entries);
    if entries == Some(1) && !service.name.starts_with("FWM") {
        return (
            Level::Fair,
            "One destination, its own address: one server for all, until it is overloaded.".into(),
            "For many destinations, make it a service for a firewall mark.".into(),
        );
    }
    // A new destination is no trouble, unless others had to make room.
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
            let to = if new > 0 {
                " to known destinations"
            } else {
                ""
            };
            let of = format!("{}{to}", of(known));
            let answer = format!("{how}: {stay} of {of} stayed; {leave} {name}: {why}.");
            (level, answer, about(name, service))
        }
        _ if known == 0 => (
            Level::Fair,
            format!(
                "Locality is building up: {}, all to new destinations.",
                of(calls)
            ),
            about("unknown", service),
        ),
        _ if (hits as f64) < GOOD * calls as f64 => (
            Level::Fair,
            format!(
                "Locality is building up: of {}, {} had new destinations; the others stay ({}).",
                of(calls),
                part(new, calls),
                part(hits, known)
            ),
            about("unknown", service),
        ),
        _ => (
            Level::Good,
            format!(
                "Locality works: {} of {} went where their destination was before.",
                part(hits, calls),
                of(calls)
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
            "Destinations are asked for less often than every {} s: raise \
             net.ipv4.vs.lblc_expiration, a number of seconds (a day: 86400).",
            table.expiration
        ),
        "unavailable" => "Servers went away; their destinations move once. If it goes on: do \
                          health checks flap?"
            .into(),
        "weight0" => "Servers were quiesced; their destinations move once. If it goes on: do \
                      weights flap?"
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
                "A weight is the number of connections that a server can take at once \
                 (now {weights}): raise it, or add servers."
            )
        }
        "threshold" => "Servers have as many connections as ipvsadm -x allows: raise that, or add \
                        servers."
            .into(),
        "none" => match without_server(service) {
            Some((_, advice)) => advice,
            None if listed().all(|it| it.weight <= 0 || it.is_full()) => {
                "All servers have as many connections as ipvsadm -x allows: raise that, or add \
                 servers."
            }
            None => "There are servers that can take connections now.",
        }
        .into(),
        _ => String::new(),
    }
}
