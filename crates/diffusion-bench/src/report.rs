//! The driver: measures what was asked for and writes it as Markdown.

use crate::args::BenchArgs;
use crate::driver::{self, Contestant};
use crate::error::BenchError;
use crate::facts::{Facts, processors};
use crate::measure::{Measured, take_turns};
use crate::options::{self, Compared};
use crate::statistics::{Summary, ratios, slope};
use crate::suite::{self, Curve, Entry, Measure, Sum};
use crate::table::{Table, grouped, short, verdict, with_spread};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    facts: Facts,
    backend: &'static str,
    threads: u32,
    repeats: u32,
    #[serde(skip)]
    entries: Vec<Entry>,
    table: Vec<Pair>,
    scaling: Vec<Scaling>,
    curves: Vec<Measurements>,
    options: Vec<Compared>,
}

/// One work, here and by the peer.
#[derive(Clone, Debug, Serialize)]
struct Pair {
    name: String,
    here: Measured,
    peer: Option<Measured>,
}

/// One work by one contestant with more and more threads.
#[derive(Debug, Serialize)]
struct Scaling {
    name: &'static str,
    contestant: &'static str,
    measured: Vec<Measured>,
}

/// A curve and what it is like at each of its sizes.
#[derive(Debug, Serialize)]
struct Measurements {
    name: &'static str,
    sizes: Vec<usize>,
    pairs: Vec<Pair>,
}

/// Measures and prints.
pub fn main(args: &BenchArgs) -> Result<(), BenchError> {
    let (entries, curves) = chosen(args)?;
    if let Some(folder) = args.latent.as_ref().filter(|folder| !folder.exists()) {
        driver::make_folder(folder)?;
    }
    let threads = args.threads.unwrap_or_else(processors);
    let mut contestants = vec![Contestant::Here { backend: args.backend, threads }];
    if args.peer {
        let (python, gpu) = (args.python.clone(), args.backend.is_on_gpu());
        contestants.push(Contestant::Peer { python, threads, gpu });
    }
    let facts = Facts::here();
    if let Some(load) = facts.load.filter(|&load| load > 0.5) {
        eprintln!(
            "warning: this machine is busy (load {load}); threads that wait for each other suffer most from that"
        );
    }
    let mut report = Report {
        facts,
        backend: args.backend.name(),
        threads,
        repeats: args.repeats,
        entries: entries.clone(),
        table: Vec::new(),
        scaling: Vec::new(),
        curves: Vec::new(),
        options: Vec::new(),
    };
    if wants_table(args) {
        for Entry { name, work, measure, .. } in &entries {
            let measured = take_turns(&contestants, work, *measure, args.repeats)?;
            report.table.push(pair(name.to_string(), measured)?);
        }
        report.table.extend(sum(&suite::latent_whole(), &report.table));
    }
    if args.scaling {
        for entry in entries.iter().filter(|entry| entry.scales) {
            for contestant in &contestants {
                report.scaling.push(scaling(entry, contestant, threads, args.repeats)?);
            }
        }
    }
    if args.curves {
        for Curve { name, points, .. } in &curves {
            let measure = |(size, work)| -> Result<Pair, BenchError> {
                let measured = take_turns(&contestants, work, Measure::Step, args.repeats)?;
                pair(format!("{name} {size}"), measured)
            };
            let pairs = points.iter().map(|(size, work)| measure((size, work))).collect::<Result<_, _>>()?;
            report.curves.push(Measurements {
                name,
                sizes: points.iter().map(|point| point.0).collect(),
                pairs,
            });
        }
    }
    if args.options {
        report.options = options::measure(args, &contestants[0])?;
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report).map_err(io::Error::from);
        let written = text.and_then(|text| fs::write(path, text + "\n"));
        written.map_err(|source| BenchError::Write { path: path.clone(), source })?;
    }
    io::stdout().write_all(report.markdown().as_bytes()).map_err(BenchError::Output)
}

fn wants_table(args: &BenchArgs) -> bool {
    args.table || !(args.scaling || args.curves || args.options)
}

/// What `--only` leaves.
fn chosen(args: &BenchArgs) -> Result<(Vec<Entry>, Vec<Curve>), BenchError> {
    let options = if args.options { options::choices() } else { Vec::new() };
    let (mut entries, mut curves) = match &args.latent {
        Some(folder) => (suite::latent(folder), Vec::new()),
        None => (suite::entries(), suite::curves()),
    };
    if args.only.is_empty() {
        return Ok((entries, curves));
    }
    let names = || {
        let options = options.iter().map(|option| &option.name[..]);
        entries.iter().map(|entry| entry.name).chain(curves.iter().map(|curve| curve.name)).chain(options)
    };
    if let Some(name) = args.only.iter().find(|only| !names().any(|name| name == **only)) {
        let known = names().collect::<Vec<_>>().join(", ");
        return Err(BenchError::Unknown { name: name.clone(), known });
    }
    entries.retain(|entry| args.only.iter().any(|only| only == entry.name));
    curves.retain(|curve| args.only.iter().any(|only| only == curve.name));
    let some = wants_table(args) && !entries.is_empty()
        || args.scaling && entries.iter().any(|entry| entry.scales)
        || args.curves && !curves.is_empty()
        || options.iter().any(|option| args.only.contains(&option.name));
    if some { Ok((entries, curves)) } else { Err(BenchError::Nothing(args.only.join(", "))) }
}

/// Both sides of a work, which must have networks of one size; says on standard error what came out.
fn pair(name: String, measured: Vec<Measured>) -> Result<Pair, BenchError> {
    let mut measured = measured.into_iter();
    let here = measured.next().expect("the first contestant is this program");
    let pair = Pair { name, here, peer: measured.next() };
    if let Some(peer) = pair.peer.as_ref().filter(|peer| peer.parameters != pair.here.parameters) {
        let (work, here, peer) = (pair.name, pair.here.parameters, peer.parameters);
        return Err(BenchError::Parameters { work, here, peer });
    }
    let milliseconds = |measured: &Measured| short(1e3 * measured.summary().median);
    let ratio = pair.ratio().map(|ratio| format!(", ratio {}", short(ratio.median)));
    let peer = pair.peer.as_ref().map(|peer| format!(", smalldiffusion {} ms", milliseconds(peer)));
    let (peer, ratio) = (peer.unwrap_or_default(), ratio.unwrap_or_default());
    eprintln!("{}: here {} ms{peer}{ratio}", pair.name, milliseconds(&pair.here));
    Ok(pair)
}

/// The row of works that are done one after the other, if all of them were measured.
fn sum(sum: &Sum, pairs: &[Pair]) -> Option<Pair> {
    let find = |name: &&str| pairs.iter().find(|pair| pair.name == *name);
    let pairs = sum.of.iter().map(find).collect::<Option<Vec<_>>>()?;
    let here = Measured::one_after_the_other(pairs.iter().map(|pair| &pair.here))?;
    let peers = pairs.iter().map(|pair| pair.peer.as_ref()).collect::<Option<Vec<_>>>();
    let peer = peers.and_then(Measured::one_after_the_other);
    Some(Pair { name: sum.name.to_string(), here, peer })
}

/// One work with 1, 2, 4, … and `most` threads, which take turns.
fn scaling(entry: &Entry, contestant: &Contestant, most: u32, repeats: u32) -> Result<Scaling, BenchError> {
    let contestants: Vec<Contestant> =
        thread_counts(most).into_iter().map(|n| contestant.clone().with_threads(n)).collect();
    let measured = take_turns(&contestants, &entry.work, entry.measure, repeats)?;
    let (name, contestant) = (entry.name, contestant.name());
    let times: Vec<String> = measured
        .iter()
        .map(|m| format!("{} ms with {}", short(1e3 * m.summary().median), m.threads))
        .collect();
    eprintln!("{name}, threads, {contestant}: {}", times.join(", "));
    Ok(Scaling { name, contestant, measured })
}

/// The powers of two below `most`, and `most`.
fn thread_counts(most: u32) -> Vec<u32> {
    let powers = (0..u32::BITS).map(|power| 1 << power).take_while(|&n| n < most);
    powers.chain([most]).collect()
}

impl Pair {
    /// The time here in units of the peer's, turn by turn.
    fn ratio(&self) -> Option<Summary> {
        Summary::of(&ratios(&self.here.seconds, &self.peer.as_ref()?.seconds))
    }

    /// The memory here in units of the peer's.
    fn memory_ratio(&self) -> Option<f64> {
        Some(self.here.peak? as f64 / self.peer.as_ref()?.peak? as f64)
    }
}

impl Report {
    fn markdown(&self) -> String {
        let mut parts = vec![self.head()];
        if !self.table.is_empty() {
            parts.push(table(&self.table, &self.entries));
        }
        if !self.scaling.is_empty() {
            parts.push(scaling_table(&self.scaling));
        }
        parts.extend(self.curves.iter().map(curve_table));
        if !self.options.is_empty() {
            parts.push(options::table(&self.options));
        }
        parts.join("\n")
    }

    fn head(&self) -> String {
        let Facts { processor, processors, system, compiler, load } = &self.facts;
        let load = load.map(|load| format!(", load before {load:.2}")).unwrap_or_default();
        let mut versions: BTreeSet<&str> = BTreeSet::new();
        let pairs = self.table.iter().chain(self.curves.iter().flat_map(|curve| &curve.pairs));
        for pair in pairs {
            versions.extend([&pair.here].into_iter().chain(&pair.peer).map(|m| m.versions.as_str()));
        }
        versions.extend(self.scaling.iter().flat_map(|s| &s.measured).map(|m| m.versions.as_str()));
        let mut lines = vec![
            format!("- machine: {processor}, {processors} processors, {system}{load}"),
            format!("- threads: {}, backend: {}, repeats: {}", self.threads, self.backend, self.repeats),
        ];
        lines.extend(versions.into_iter().chain(compiler.as_deref()).map(|what| format!("- {what}")));
        lines.push(
            "- times are medians with quartiles; ratios are here : smalldiffusion, measured in turns, and below 1 \
             where this library is faster or smaller; memory is the largest that the process held"
                .into(),
        );
        lines.join("\n") + "\n"
    }
}

/// A time in milliseconds with its quartiles.
fn milliseconds(measured: &Measured) -> String {
    with_spread(measured.summary().times(1e3))
}

fn table(pairs: &[Pair], entries: &[Entry]) -> String {
    let mut table = Table::new([
        "work",
        "parameters",
        "here, ms",
        "smalldiffusion, ms",
        "ratio",
        "must",
        "here, MiB",
        "smalldiffusion, MiB",
        "ratio",
        "must",
    ]);
    let mebibytes = |measured: &Measured| Some(format!("{:.0}", measured.peak? as f64 / f64::from(1 << 20)));
    for pair in pairs {
        let Pair { name, here, peer } = pair;
        let entry = entries.iter().find(|entry| entry.name == name);
        let whole = suite::latent_whole();
        let (time, memory_most) = match entry {
            Some(entry) => (entry.time, entry.memory),
            None if *name == whole.name => (whole.time, whole.memory),
            None => (None, None),
        };
        let (ratio, memory) = (pair.ratio(), pair.memory_ratio());
        table.row([
            Some(name.clone()),
            (here.parameters > 0).then(|| grouped(here.parameters)),
            Some(milliseconds(here)),
            peer.as_ref().map(milliseconds),
            ratio.map(with_spread),
            verdict(time, ratio.map(|ratio| ratio.median)),
            mebibytes(here),
            peer.as_ref().and_then(mebibytes),
            memory.map(short),
            verdict(memory_most, memory),
        ]);
    }
    table.to_string()
}

fn scaling_table(scaling: &[Scaling]) -> String {
    let threads = scaling.first().map(|first| first.measured.iter().map(|m| m.threads));
    let columns =
        threads.into_iter().flatten().map(|n| format!("{n} thread{}, ms", if n == 1 { "" } else { "s" }));
    let mut table = Table::new(["work".to_string(), "by".to_string()].into_iter().chain(columns));
    for Scaling { name, contestant, measured } in scaling {
        let one = measured.first();
        let cells = measured.iter().enumerate().map(|(i, many)| {
            let faster =
                one.filter(|_| i > 0).and_then(|one| Summary::of(&ratios(&one.seconds, &many.seconds)));
            let faster = faster.map(|faster| format!(", {:.2} times as fast", faster.median));
            Some(milliseconds(many) + &faster.unwrap_or_default())
        });
        table.row([Some(name.to_string()), Some(contestant.to_string())].into_iter().chain(cells));
    }
    table.to_string()
}

fn curve_table(Measurements { name, sizes, pairs }: &Measurements) -> String {
    let curves = suite::curves();
    let (about, axis) =
        curves.iter().find(|curve| curve.name == *name).map_or(("", "size"), |c| (c.about, c.axis));
    let mut table = Table::new([axis, "parameters", "here, ms", "smalldiffusion, ms", "ratio"]);
    for (size, pair) in sizes.iter().zip(pairs) {
        table.row([
            Some(grouped(*size)),
            Some(grouped(pair.here.parameters)),
            Some(milliseconds(&pair.here)),
            pair.peer.as_ref().map(milliseconds),
            pair.ratio().map(with_spread),
        ]);
    }
    let power = |of: fn(&Pair) -> Option<&Measured>| {
        let points = sizes.iter().zip(pairs).map(|(x, pair)| Some((*x as f64, of(pair)?.summary().median)));
        slope(&points.collect::<Option<Vec<_>>>()?)
    };
    let slopes =
        [("here", power(|pair| Some(&pair.here))), ("smalldiffusion", power(|pair| pair.peer.as_ref()))];
    let slopes: Vec<String> =
        slopes.iter().filter_map(|(by, power)| Some(format!("{axis}^{:.2} {by}", (*power)?))).collect();
    let slopes =
        if slopes.is_empty() { String::new() } else { format!("\nTime grows as {}.\n", slopes.join(", ")) };
    format!("{name}: {about}.\n\n{table}{slopes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn measured(seconds: &[f64], peak: Option<u64>) -> Measured {
        let versions = "v".to_string();
        Measured { parameters: 1234, versions, threads: 2, steps: 1, seconds: seconds.to_vec(), peak }
    }

    fn toy() -> Pair {
        Pair {
            name: "toy-100".into(),
            here: measured(&[0.001, 0.002, 0.003], Some(30 << 20)),
            peer: Some(measured(&[0.004, 0.004, 0.004], Some(300 << 20))),
        }
    }

    #[test]
    fn the_table_has_both_sides_and_what_must_come_out() {
        let text = table(&[toy(), Pair { peer: None, ..toy() }], &suite::entries());
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| toy-100 | 1,234 | 2.00 (1.50–2.50) | 4.00 (4.00–4.00) | 0.500 (0.375–0.625) | ≤ 0.5: met | 30 | 300 \
                 | 0.100 | – |",
                "| toy-100 | 1,234 | 2.00 (1.50–2.50) | – | – | ≤ 0.5 | 30 | – | – | – |",
            ]
        );
    }

    /// Turn by turn, and with what must come out; there is no sum of works of which one is missing.
    #[test]
    fn the_whole_is_all_pieces_one_after_the_other() {
        let whole = suite::latent_whole();
        let piece = |(i, name): (usize, &&str)| {
            let scale = (i + 1) as f64;
            let here = measured(&[0.001 * scale, 0.002 * scale], Some((i as u64 + 1) << 20));
            let peer = measured(&[0.002 * scale, 0.004 * scale], Some(8 << 20));
            Pair { name: name.to_string(), here, peer: Some(peer) }
        };
        let mut pairs: Vec<Pair> = whole.of.iter().enumerate().map(piece).collect();
        pairs.push(sum(&whole, &pairs).expect("all pieces are there"));
        let text = table(&pairs, &suite::latent(Path::new("")));
        assert_eq!(
            text.lines().last(),
            Some(
                "| latent-whole | 1,234 | 15.0 (12.5–17.5) | 30.0 (25.0–35.0) | 0.500 (0.500–0.500) | ≤ 1: met | 4 | 8 \
                 | 0.500 | ≤ 1: met |"
            )
        );
        assert!(sum(&whole, &pairs[1..]).is_none());
        pairs[2].peer = None;
        assert!(sum(&whole, &pairs).expect("all pieces are there").peer.is_none());
    }

    #[test]
    fn threads_double_up_to_the_most() {
        assert_eq!(thread_counts(1), [1]);
        assert_eq!(thread_counts(2), [1, 2]);
        assert_eq!(thread_counts(6), [1, 2, 4, 6]);
        assert_eq!(thread_counts(8), [1, 2, 4, 8]);
    }

    #[test]
    fn threads_are_compared_with_one() {
        let measured = vec![measured(&[0.004, 0.006], None), measured(&[0.002, 0.002], None)];
        let text = scaling_table(&[Scaling { name: "toy-100", contestant: "here", measured }]);
        let row = text.lines().nth(2).expect("it has a row");
        assert_eq!(row, "| toy-100 | here | 5.00 (4.50–5.50) | 2.00 (2.00–2.00), 2.50 times as fast |");
    }

    #[test]
    fn a_curve_tells_its_power() {
        let at = |seconds| Pair { here: measured(&[seconds], None), peer: None, ..toy() };
        let text = curve_table(&Measurements {
            name: "dit-batch",
            sizes: vec![8, 16],
            pairs: vec![at(0.1), at(0.2)],
        });
        assert!(
            text.ends_with("| 16 | 1,234 | 200 (200–200) | – | – |\n\nTime grows as batch^1.00 here.\n"),
            "{text}"
        );
    }

    #[test]
    fn networks_of_two_sizes_are_no_comparison() {
        let other = Measured { parameters: 5, ..measured(&[1.0], None) };
        let found = pair("toy".into(), vec![measured(&[1.0], None), other]);
        assert!(matches!(found, Err(BenchError::Parameters { here: 1234, peer: 5, .. })), "{found:?}");
    }
}
