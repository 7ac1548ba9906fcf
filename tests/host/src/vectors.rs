// SPDX-License-Identifier: GPL-2.0

//! `lblc/rendezvous.rs` against the vectors and the program of `docs/directors.md`.

use super::{
    agreement::{mapped, Server},
    rendezvous::{join, key_hash, log, Draw, Number},
};
use std::{
    cmp::Ordering,
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    process::{Command, Stdio},
    thread,
};

/// The notation of an address in the vectors.
fn number(address: &str) -> Number {
    match address.parse().expect("an address") {
        IpAddr::V4(address) => mapped(address.into()),
        IpAddr::V6(address) => address.into(),
    }
}

/// The answer to `SEED KEY ADDRESS,PORT,WEIGHT ...`: the hash of the key, then each server, in
/// order, with its logarithm.
fn answer(question: &str) -> String {
    let mut words = question.split_whitespace();
    let seed: u64 = words.next().expect("a seed").parse().expect("a number");
    let key = key_hash(seed, number(words.next().expect("a key")));
    let mut servers: Vec<(&str, Server)> = words
        .map(|server| {
            let parts: Vec<&str> = server.split(',').collect();
            let port = parts[1].parse().expect("a port");
            let weight = parts[2].parse().expect("a weight");
            (server, Server::new(number(parts[0]), port, weight))
        })
        .collect();
    let score = |it: &Server| Draw::new(key, it.hash, it.weight).score();
    servers.sort_by(|(_, a), (_, b)| {
        match score(a).is_before(&score(b), || a.name().cmp(&b.name())) {
            true => Ordering::Less,
            false => Ordering::Greater,
        }
    });
    let mut said = format!("{key:016x}");
    for (name, server) in servers {
        said += &format!(" {name}:{}", log(join(key, server.hash)));
    }
    said
}

/// The text between the fences of the first block of that kind in `docs/directors.md`.
fn block(kind: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = folder.ancestors().map(|it| it.join("docs/directors.md"));
    let page = page
        .clone()
        .find(|it| it.exists())
        .expect("docs/directors.md");
    let page = fs::read_to_string(page).expect("docs/directors.md can be read");
    let (_, rest) = page.split_once(&format!("```{kind}\n")).expect("a block");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// The output of the program in `docs/directors.md` for these lines.
fn python(lines: &str) -> String {
    let mut child = Command::new("python3")
        .args(["-c", &block("python")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut stdin = child.stdin.take().expect("a pipe");
    // In a thread: the program writes before it has read all.
    let lines = lines.to_owned();
    let writer = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads");
    assert!(output.status.success(), "the program failed");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_vectors_of_the_docs_are_true() {
    let vectors = block("vectors");
    let (questions, answers): (Vec<&str>, Vec<&str>) = vectors
        .lines()
        .map(|line| line.split_once(" -> ").expect("a vector"))
        .unzip();
    assert!(questions.len() >= 6, "{} vectors", questions.len());
    for (question, said) in questions.iter().zip(&answers) {
        assert_eq!(answer(question), *said, "{question}");
    }
    let theirs = python(&(questions.join("\n") + "\n"));
    assert_eq!(theirs.lines().collect::<Vec<_>>(), answers);
}

#[test]
fn the_program_of_the_docs_gives_the_same_order() {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        join(state, 0)
    };
    let mut address = |v6: u64| match v6 & 1 {
        0 => Ipv4Addr::from(random() as u32).to_string(),
        _ => Ipv6Addr::from(u128::from(random()) << 64 | u128::from(random())).to_string(),
    };
    let mut lines = String::new();
    for at in 0..2000u64 {
        let seed = if at % 4 == 0 { 0 } else { join(at, 1) };
        lines += &format!("{seed} {}", address(at));
        for server in 0..8u64 {
            let drawn = join(at * 8 + server, 2);
            let weight = (drawn as u32 >> 1 >> (drawn >> 32 & 31)).max(1);
            lines += &format!(" {},{},{weight}", address(drawn), drawn >> 48);
        }
        lines.push('\n');
    }
    let said = python(&lines);
    assert_eq!(said.lines().count(), 2000);
    for (question, theirs) in lines.lines().zip(said.lines()) {
        assert_eq!(answer(question), theirs, "{question}");
    }
}
