//! Turns the last run of `cargo bench -p clonepanel-benches --bench delta` into a table of ratios (on stdout) and, with a path as
//! argument, into a chart.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool for whoever runs the benches")]

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

const PEERS: [&str; 3] = ["fast_rsync", "librsync", "memcpy"];

/// Median nanoseconds of who took part in one group.
type Group = BTreeMap<String, f64>;

fn main() {
    let groups = read(&env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned()));
    assert!(!groups.is_empty(), "no run to read: cargo bench -p clonepanel-benches --bench delta");
    print!("{}", table(&groups));
    if let Some(path) = env::args_os().nth(1) {
        fs::write(path, chart(&groups)).expect("the chart can be written");
    }
}

fn read(target: &str) -> BTreeMap<String, Group> {
    let mut groups = BTreeMap::<String, Group>::new();
    for entry in walkdir::WalkDir::new(Path::new(target).join("criterion")).into_iter().filter_map(Result::ok) {
        if entry.file_name() != "benchmark.json" || !entry.path().parent().is_some_and(|parent| parent.ends_with("new"))
        {
            continue;
        }
        let json = |name: &str| -> serde_json::Value {
            let text = fs::read(entry.path().with_file_name(name)).expect("criterion's files can be read");
            serde_json::from_slice(&text).expect("criterion writes JSON")
        };
        let (about, estimates) = (json("benchmark.json"), json("estimates.json"));
        let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
        let group = text("group_id");
        if ["signature/", "diff/", "apply/", "tail/"].iter().any(|prefix| group.starts_with(prefix)) {
            let median = estimates["median"]["point_estimate"].as_f64().expect("a median");
            groups.entry(group).or_default().insert(text("function_id"), median);
        }
    }
    groups
}

/// How many times as fast as a peer.
fn ratio(group: &Group, peer: &str) -> Option<f64> {
    Some(group.get(peer)? / group.get("ours")?)
}

fn table(groups: &BTreeMap<String, Group>) -> String {
    let mut table = "| as fast as | fast_rsync | librsync | memcpy |\n|---|---|---|---|\n".to_owned();
    for (name, group) in groups {
        let _ = write!(table, "| {name} |");
        for peer in PEERS {
            let _ = match ratio(group, peer) {
                Some(ratio) => write!(table, " {ratio:.2}x |"),
                None => write!(table, " – |"),
            };
        }
        table.push('\n');
    }
    table
}

/// Bars of a logarithmic scale: ours and librsync's speed as multiples of `fast_rsync`'s.
fn chart(groups: &BTreeMap<String, Group>) -> String {
    const LEFT: f64 = 230.0;
    const WIDTH: f64 = 520.0;
    const ROW: f64 = 34.0;
    let rows: Vec<_> =
        groups.iter().filter_map(|(name, group)| Some((name, ratio(group, "fast_rsync")?, group))).collect();
    let height = ROW.mul_add(rows.len() as f64, 70.0);
    // From a quarter to sixteen times.
    let x = |ratio: f64| LEFT + WIDTH * (ratio.clamp(0.25, 16.0).log2() + 2.0) / 6.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"800\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"14\">Speed as a multiple of fast_rsync's, one run, one thread</text>\n"
    );
    for tick in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0] {
        let (at, colour) = (x(tick), if tick == 1.0 { "#555" } else { "#ddd" });
        let _ = writeln!(
            svg,
            "<line x1=\"{at}\" x2=\"{at}\" y1=\"36\" y2=\"{}\" stroke=\"{colour}\"/>\
             <text x=\"{at}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{tick}x</text>",
            height - 30.0,
            height - 12.0
        );
    }
    for (row, (name, ours, group)) in rows.iter().enumerate() {
        let y = ROW.mul_add(row as f64, 42.0);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0, y + 14.0);
        let librsync = group.get("librsync").map(|theirs| group["fast_rsync"] / theirs);
        for (ratio, colour, y) in [(Some(*ours), "#2b6cb0", y), (librsync, "#c9a227", y + 13.0)] {
            let Some(ratio) = ratio else { continue };
            let (from, to) = (x(ratio.min(1.0)), x(ratio.max(1.0)));
            let _ = writeln!(
                svg,
                "<rect x=\"{from}\" y=\"{y}\" width=\"{}\" height=\"11\" fill=\"{colour}\"><title>{ratio:.2}x</title></rect>\
                 <text x=\"{}\" y=\"{}\" font-size=\"10\">{ratio:.2}</text>",
                to - from,
                to + 4.0,
                y + 9.0
            );
        }
    }
    svg.push_str(
        "<rect x=\"560\" y=\"12\" width=\"11\" height=\"11\" fill=\"#2b6cb0\"/><text x=\"576\" y=\"22\">clonepanel</text>\n\
         <rect x=\"660\" y=\"12\" width=\"11\" height=\"11\" fill=\"#c9a227\"/><text x=\"676\" y=\"22\">librsync 2.2.2</text>\n</svg>\n",
    );
    svg
}
