// SPDX-License-Identifier: GPL-2.0

//! The figures of a table's memory in the documents, computed from the policy.

use super::policy::{table_bits, ENTRY_BYTES};
use std::path::Path;

/// Up to this many buckets, a table is sparser than the figures for an entry assume.
const SMALL: usize = 4096;
/// The default limit of entries, and the greatest.
const LIMITS: [usize; 2] = [1 << 18, 1 << 24];

/// The bytes of buckets, with an array of each of these numbers of bits.
fn buckets(bits: &[u32]) -> usize {
    bits.iter().map(|bits| ENTRY_BYTES.1 << bits).sum()
}

/// The bytes of a table, with such arrays.
fn table(entries: usize, bits: &[u32]) -> usize {
    entries * ENTRY_BYTES.0 + buckets(bits)
}

/// The bits of a table that grows by one entry at a time: for each number of entries, before and
/// after a resize at that number.
fn growth(most: usize) -> impl Iterator<Item = (usize, u32, u32)> {
    let mut bits = table_bits(0, 0);
    (1..=most).map(move |entries| {
        let before = bits;
        bits = table_bits(bits, entries);
        (entries, before, bits)
    })
}

/// Bytes of buckets for each entry; rounded up, as the documents do.
fn each(bytes: usize, entries: usize) -> usize {
    bytes.div_ceil(entries)
}

/// The figures of a table, all for one entry.
struct Figures {
    /// The least and the most bytes of buckets, as the table grows.
    growing: (usize, usize),
    /// The most, with the old array and the new one.
    doubling: usize,
    /// The least and the most after the table has shrunk.
    shrunk: (usize, usize),
    /// The most before it shrinks.
    sparse: usize,
}

impl Figures {
    fn compute() -> Self {
        let (mut growing, mut doubling) = ((usize::MAX, 0), 0);
        for (entries, before, bits) in growth(LIMITS[1]) {
            if 1 << bits <= SMALL {
                continue;
            }
            let now = each(buckets(&[bits]), entries);
            growing = (growing.0.min(now), growing.1.max(now));
            if before != bits {
                doubling = doubling.max(each(buckets(&[before, bits]), entries));
            }
        }
        let (mut shrunk, mut sparse) = ((usize::MAX, 0), 0);
        for bits in 13..=27u32 {
            for entries in 1..=(1usize << bits) / 64 {
                let smaller = table_bits(bits, entries);
                if smaller == bits {
                    sparse = sparse.max(each(buckets(&[bits]), entries));
                } else if 1 << smaller > SMALL {
                    let now = each(buckets(&[smaller]), entries);
                    shrunk = (shrunk.0.min(now), shrunk.1.max(now));
                }
            }
        }
        Self {
            growing,
            doubling,
            shrunk,
            sparse,
        }
    }
}

/// The most bytes of a table while it grows to `entries`: with its last array and the one before,
/// or at the end.
fn peak(entries: usize) -> usize {
    let moments = growth(entries).map(|(entries, before, bits)| match before == bits {
        true => table(entries, &[bits]),
        false => table(entries, &[before, bits]),
    });
    moments.max().unwrap()
}

/// The bytes of a table that has grown to `entries`.
fn grown(entries: usize) -> usize {
    let (entries, _, bits) = growth(entries).last().unwrap();
    table(entries, &[bits])
}

/// In MB, with the number of digits used in the documents.
fn mb(bytes: usize, digits: usize) -> String {
    format!("{:.digits$} MB", bytes as f64 / 1e6)
}

fn gb(bytes: usize) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// A document, its words separated by single blanks.
fn document(path: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Not a fixed number of folders up: `make mutants` copies the crate elsewhere.
    let mut files = here.ancestors().map(|folder| folder.join(path));
    let file = files.find(|file| file.is_file()).expect(path);
    let text = std::fs::read_to_string(file).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn says(path: &str, sentence: &str) {
    let text = document(path);
    assert!(text.contains(sentence), "{path} does not say: {sentence}");
}

const MANUAL: &str = "man/ip_vs_lblc_rs.4";

#[test]
fn the_manual_says_what_an_entry_takes() {
    let figures = Figures::compute();
    let (entry, (least, most)) = (ENTRY_BYTES.0, figures.growing);
    says(
        MANUAL,
        &format!(
            "An entry takes {entry} bytes, and {least} to {most} bytes of the array of buckets, \
             which doubles as the number of entries grows:"
        ),
    );
    says(
        MANUAL,
        &format!(
            "While it doubles there are two of them, {} bytes for each entry",
            figures.doubling
        ),
    );
    says(
        MANUAL,
        &format!(
            "When there are more than {} buckets to an entry, {} bytes, it shrinks to {} to {} \
             bytes for each.",
            figures.sparse / ENTRY_BYTES.1,
            figures.sparse,
            figures.shrunk.0,
            figures.shrunk.1
        ),
    );
}

#[test]
fn the_manual_says_what_a_table_takes() {
    let [default, greatest] = LIMITS;
    says(
        MANUAL,
        &format!(
            "{} for 65536 destinations, {} for the default limit, {} for the greatest.",
            mb(grown(1 << 16), 1),
            mb(grown(default), 0),
            gb(grown(greatest))
        ),
    );
    says(
        MANUAL,
        &format!(
            "{} at most before the default limit is reached, {} before the greatest.",
            mb(peak(default), 0),
            gb(peak(greatest))
        ),
    );
    let first = buckets(&[table_bits(0, 0)]);
    says(
        MANUAL,
        &format!("A new table has an array of {first} bytes"),
    );
    says(MANUAL, &format!("up to {} bytes", SMALL * ENTRY_BYTES.1));
}

#[test]
fn the_examples_have_the_bytes_of_their_tables() {
    let bits = table_bits(0, 2);
    let line = format!(
        "entries 2 buckets {} max 262144 expiration 86400 bytes {}",
        1 << bits,
        table(2, &[bits])
    );
    for path in [MANUAL, "README.md", "lblc/show.rs"] {
        says(path, &line);
    }
}

#[test]
fn table_md_says_what_an_entry_takes() {
    let path = "docs/table.md";
    let figures = Figures::compute();
    let entry = ENTRY_BYTES.0;
    let with = |(least, most): (usize, usize)| {
        let whole = (entry + least, entry + most);
        match least == most {
            true => format!("| {most} | {} |", whole.1),
            false => format!("| {least} to {most} | {} to {} |", whole.0, whole.1),
        }
    };
    let rows = [
        ("after it has grown", figures.growing),
        ("while it doubles", (figures.doubling, figures.doubling)),
        ("after it has shrunk", figures.shrunk),
        (
            "before it shrinks, at most",
            (figures.sparse, figures.sparse),
        ),
    ];
    for (name, figure) in rows {
        says(path, &format!("| {name} {}", with(figure)));
    }
    says(path, &format!("time of the last use: {entry} bytes"));
}

#[test]
fn bench_md_says_what_an_entry_takes() {
    let sizes = [16384, 262144, 1048576];
    let each = sizes.map(|entries| grown(entries) / entries);
    assert!(each.iter().all(|bytes| *bytes == each[0]), "{each:?}");
    says(
        "docs/bench.md",
        &format!(
            "bytes of an entry, chains included: 16384, 262144, 1048576 keys | 96, and an array of \
             fixed size | {} |",
            each[0]
        ),
    );
}

#[test]
fn the_manual_and_table_md_have_no_other_figure_of_bytes() {
    let figures = Figures::compute();
    let known = [
        ENTRY_BYTES.0,
        figures.growing.1,
        figures.doubling,
        figures.shrunk.1,
        figures.sparse,
        buckets(&[table_bits(0, 0)]),
        SMALL * ENTRY_BYTES.1,
    ];
    for path in [MANUAL, "docs/table.md"] {
        let text = document(path);
        let words: Vec<&str> = text.split(' ').collect();
        for three in words
            .windows(3)
            .filter(|words| words[1].starts_with("bytes"))
        {
            // `bytes 8320` of an example is tested by another case.
            let [Ok(number), _, Err(_)] = [0, 1, 2].map(|n| three[n].parse::<usize>()) else {
                continue;
            };
            assert!(
                known.contains(&number),
                "{path}: {three:?}, not in {known:?}"
            );
        }
    }
}
