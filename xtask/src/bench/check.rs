//! Holds ratios to a committed baseline: `cargo xtask bench check`.
//!
//! Only ratios to a floor of the same run, and only those that stand still on a machine that does not: each is the
//! median of several runs, in which all benchmarks take turns. None may be worse than the baseline's by more than a
//! quarter. One that was not measured, or that the baseline does not have, is a failure as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Options, build_guests, run_bench};
use crate::figures::{self, Row, short};
use crate::folders::Folders;

const BASELINE: &str = "host/benches/baseline.json";
/// How much worse a ratio may be than the baseline's.
const WORSE_MAX: f64 = 1.25;

/// The benchmarks of each run, and which parts of them.
const BENCHES: [(&str, &[&str]); 4] =
    [("call", &["library", "http"]), ("host_calls", &["clock"]), ("kv", &[]), ("log", &["levels"])];

/// What is compared: a figure and its floor.
const CHECKED: [(&str, &str); 6] = [
    ("call/library/relaxed/p50", "call/bare_tuned/p50"),
    ("call/library/relaxed/p50", "call/bare_default/p50"),
    ("call/http/relaxed/p50", "call/http/null/p50"),
    ("host_calls/clock", "host_calls/clock/bare_tuned"),
    ("kv/get", "kv/get/sqlite"),
    ("log/committed", "log/relaxed"),
];

/// A ratio, by what it is of.
#[derive(Clone, Debug, PartialEq)]
struct Ratio {
    name: String,
    floor: String,
    ratio: f64,
    more_is_better: bool,
}

/// What became of a ratio. `Some` has how many times as good or bad as the baseline's it is: above 1 it is worse.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Holds(f64),
    Worse(f64),
    NotMeasured,
    NotInBaseline,
}

/// Runs, compares, and fails if a ratio is worse; or writes the baseline.
pub(super) fn check(folders: &Folders, options: &Options) -> Result<()> {
    let path = folders.root.join(BASELINE);
    // Before minutes of work: without a baseline there is nothing to compare with.
    let baseline = if options.update { None } else { Some(read(&path)?) };
    build_guests()?;
    let run = figures::run(folders, &options.profile, options.quick);
    let mut rows = Vec::new();
    for number in 1..=options.runs {
        eprintln!("==> run {number} of {}", options.runs);
        for (bench, parts) in BENCHES {
            let file = figures::file(folders)?;
            run_bench(folders, options, bench, parts, &file)?;
            rows.extend(figures::rows(&file)?);
        }
    }
    let now = medians(&rows, options.runs);
    let Some((recorded, before)) = baseline else {
        let missing: Vec<_> =
            compare(&now, &now).into_iter().filter(|(.., verdict)| !verdict.holds()).collect();
        if !missing.is_empty() {
            bail!("not all that a baseline has was measured: {missing:?}");
        }
        let mut document = run;
        document["runs"] = options.runs.into();
        document["ratios"] = now.iter().map(Ratio::to_json).collect();
        fs::write(&path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))?;
        eprintln!("wrote {BASELINE}");
        return Ok(());
    };
    let compared = compare(&before, &now);
    show(options, &run, &recorded, &before, &now, &compared);
    let failed = compared.iter().filter(|(.., verdict)| !verdict.holds()).count();
    if failed > 0 {
        bail!(
            "{failed} of {} ratios are worse than {BASELINE} by more than {:.0} %, or are missing",
            compared.len(),
            (WORSE_MAX - 1.0) * 100.0
        );
    }
    Ok(())
}

impl Ratio {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "floor": self.floor, "ratio": self.ratio, "more_is_better": self.more_is_better,
        })
    }

    fn parse(json: &Value) -> Result<Self> {
        let text = |key: &str| json[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}`"));
        let ratio = json["ratio"].as_f64().filter(|ratio| *ratio > 0.0).context("no `ratio` above 0")?;
        let more_is_better = json["more_is_better"].as_bool().context("no `more_is_better`")?;
        Ok(Self { name: text("name")?, floor: text("floor")?, ratio, more_is_better })
    }
}

impl Verdict {
    fn holds(self) -> bool {
        matches!(self, Verdict::Holds(_))
    }

    fn show(self) -> (String, &'static str) {
        match self {
            Verdict::Holds(worse) => (format!("{}x", short(worse)), "holds"),
            Verdict::Worse(worse) => (format!("{}x", short(worse)), "WORSE"),
            Verdict::NotMeasured => (String::new(), "NOT MEASURED"),
            Verdict::NotInBaseline => (String::new(), "NOT IN THE BASELINE: bench check --update"),
        }
    }
}

/// The baseline: what it is of, and its ratios.
fn read(path: &Path) -> Result<(Value, Vec<Ratio>)> {
    let text = fs::read_to_string(path).with_context(|| {
        format!(
            "{} can't be read; on a quiet machine, `cargo xtask bench check --update` makes it",
            path.display()
        )
    })?;
    let document: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let ratios =
        document["ratios"].as_array().with_context(|| format!("{} has no ratios", path.display()))?;
    let ratios = ratios
        .iter()
        .map(|ratio| Ratio::parse(ratio).with_context(|| format!("a ratio of {}: {ratio}", path.display())));
    let ratios = ratios.collect::<Result<_>>()?;
    Ok((document, ratios))
}

/// The median of each ratio that is compared. One that not every run has is left out, so that it is missed.
fn medians(rows: &[Row], runs: usize) -> Vec<Ratio> {
    let mut all: BTreeMap<(&str, &str), (Vec<f64>, bool)> = BTreeMap::new();
    for row in rows {
        let Some((name, floor)) =
            CHECKED.into_iter().find(|(name, floor)| row.name == *name && row.floor_name() == Some(*floor))
        else {
            continue;
        };
        // A floor of nothing, or a value of nothing, is a failed measurement.
        if let Some(ratio) = row.ratio.filter(|ratio| *ratio > 0.0) {
            all.entry((name, floor)).or_insert((Vec::new(), row.more_is_better())).0.push(ratio);
        }
    }
    let full = all.into_iter().filter(|(_, (ratios, _))| ratios.len() == runs);
    full.map(|((name, floor), (mut ratios, more_is_better))| {
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        Ratio { name: name.to_owned(), floor: floor.to_owned(), ratio, more_is_better }
    })
    .collect()
}

/// All that is to be compared, and all that the baseline has.
fn compare(before: &[Ratio], now: &[Ratio]) -> Vec<(String, String, Verdict)> {
    let mut keys: Vec<(&str, &str)> = CHECKED.to_vec();
    for ratio in before {
        let key = (ratio.name.as_str(), ratio.floor.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let verdict = |name: &str, floor: &str| {
        let Some(now) = find(now, name, floor) else { return Verdict::NotMeasured };
        let Some(before) = find(before, name, floor) else { return Verdict::NotInBaseline };
        let change = now.ratio / before.ratio;
        let worse = if now.more_is_better { change.recip() } else { change };
        // Not the other way round: what is not a number is worse.
        if worse <= WORSE_MAX { Verdict::Holds(worse) } else { Verdict::Worse(worse) }
    };
    keys.into_iter().map(|(name, floor)| (name.to_owned(), floor.to_owned(), verdict(name, floor))).collect()
}

fn find<'a>(ratios: &'a [Ratio], name: &str, floor: &str) -> Option<&'a Ratio> {
    ratios.iter().find(|ratio| ratio.name == name && ratio.floor == floor)
}

fn show(
    options: &Options,
    run: &Value,
    recorded: &Value,
    before: &[Ratio],
    now: &[Ratio],
    compared: &[(String, String, Verdict)],
) {
    let same = |key: &str| recorded["machine"][key] == run["machine"][key];
    if !(same("cpu") && same("cores")) || recorded["profile"] != run["profile"] {
        eprintln!("the baseline is of another machine or profile: a ratio may differ by that alone");
    }
    let ratio_of =
        |ratios: &[Ratio], name: &str, floor: &str| find(ratios, name, floor).map(|found| found.ratio);
    if options.json {
        let ratios = compared.iter().map(|(name, floor, verdict)| {
            json!({
                "name": name,
                "floor": floor,
                "before": ratio_of(before, name, floor),
                "now": ratio_of(now, name, floor),
                "holds": verdict.holds(),
            })
        });
        let mut document = run.clone();
        document["runs"] = options.runs.into();
        document["baseline_commit"] = recorded["commit"].clone();
        document["ratios"] = ratios.collect();
        println!("{document:#}");
        return;
    }
    let mut lines = vec![["what", "beside", "baseline", "now", "above 1x is worse", ""].map(str::to_owned)];
    for (name, floor, verdict) in compared {
        let ratio = |ratios: &[Ratio]| {
            ratio_of(ratios, name, floor).map(|ratio| format!("{}x", short(ratio))).unwrap_or_default()
        };
        let (worse, word) = verdict.show();
        lines.push([name.clone(), floor.clone(), ratio(before), ratio(now), worse, word.to_owned()]);
    }
    println!("Baseline: {}\nNow: {}", figures::described(recorded), figures::described(run));
    println!("\nMedians of {} runs.\n\n{}", options.runs, figures::markdown(&lines));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(index: usize, ratio: f64) -> Ratio {
        let (name, floor) = CHECKED[index];
        let more_is_better = name.starts_with("log/");
        Ratio { name: name.to_owned(), floor: floor.to_owned(), ratio, more_is_better }
    }

    fn all() -> Vec<Ratio> {
        (0..CHECKED.len()).map(|index| ratio(index, 1.5)).collect()
    }

    /// What becomes of the ratio with this index where all others are as they were.
    fn verdict(index: usize, now: f64) -> Verdict {
        let mut changed = all();
        changed[index] = ratio(index, now);
        let compared = compare(&all(), &changed);
        let others = compared.iter().enumerate().filter(|(at, _)| *at != index);
        assert!(others.into_iter().all(|(_, (.., verdict))| *verdict == Verdict::Holds(1.0)), "{compared:?}");
        compared[index].2
    }

    #[test]
    fn a_ratio_that_is_worse_by_more_than_a_quarter_fails() {
        assert_eq!(verdict(0, 1.5), Verdict::Holds(1.0));
        assert_eq!(verdict(0, 1.5 * 1.25), Verdict::Holds(1.25));
        assert!(matches!(verdict(0, 1.5 * 1.26), Verdict::Worse(_)));
        // A better one passes, however much better it is.
        assert!(verdict(0, 0.1).holds());
        assert!(!verdict(0, f64::NAN).holds());
    }

    #[test]
    fn of_a_rate_less_is_worse() {
        let log = CHECKED.iter().position(|(name, _)| name.starts_with("log/")).expect("it is checked");
        assert!(verdict(log, 3.0).holds());
        assert!(verdict(log, 1.5 / 1.24).holds());
        assert!(matches!(verdict(log, 1.5 / 1.26), Verdict::Worse(_)));
    }

    #[test]
    fn a_ratio_that_is_missing_on_either_side_fails() {
        let last = CHECKED.len() - 1;
        let without: Vec<Ratio> = all().into_iter().take(last).collect();
        assert_eq!(compare(&all(), &without)[last].2, Verdict::NotMeasured);
        assert_eq!(compare(&without, &all())[last].2, Verdict::NotInBaseline);
        // One that is compared no more, but is in the baseline, is not forgotten either.
        let mut more = all();
        more.push(Ratio { name: "call/old".to_owned(), ..ratio(0, 1.0) });
        let compared = compare(&more, &all());
        assert_eq!(compared.len(), CHECKED.len() + 1);
        assert_eq!(compared[CHECKED.len()].2, Verdict::NotMeasured);
        assert!(!Verdict::NotMeasured.holds() && !Verdict::NotInBaseline.holds());
    }

    #[test]
    fn the_middle_of_the_runs_counts_and_all_of_them_must_have_it() {
        let (name, floor) = CHECKED[0];
        let row = |name: &str, floor: &str, ratio: Option<f64>| {
            Row::parse(json!({
                "name": name, "value": 1, "unit": "ns", "floor": { "name": floor, "value": 1 }, "ratio": ratio,
            }))
            .expect("a row")
        };
        let mut rows: Vec<Row> = [9.0, 1.5, 1.4].map(|ratio| row(name, floor, Some(ratio))).into();
        rows.push(row(name, "another floor", Some(100.0)));
        let found = medians(&rows, 3);
        assert_eq!(found, [ratio(0, 1.5)]);
        assert_eq!(medians(&rows, 4), []);
        rows.push(row(name, floor, None));
        rows.push(row(name, floor, Some(0.0)));
        assert_eq!(medians(&rows, 3), [ratio(0, 1.5)]);
    }

    #[test]
    fn a_baseline_that_is_not_one_is_refused() {
        let folder = std::env::temp_dir().join(format!("baseline-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("made");
        let file = folder.join("baseline.json");
        assert!(read(&file).expect_err("none").to_string().contains("bench check --update"));
        for bad in [
            "not JSON",
            "{}",
            r#"{"ratios": [{"name": "a", "floor": "b", "more_is_better": false}]}"#,
            r#"{"ratios": [{"name": "a", "floor": "b", "ratio": 0, "more_is_better": false}]}"#,
        ] {
            fs::write(&file, bad).expect("written");
            assert!(read(&file).is_err(), "{bad}");
        }
        let document = json!({ "ratios": [ratio(0, 1.5).to_json()] });
        fs::write(&file, document.to_string()).expect("written");
        assert_eq!(read(&file).expect("good").1, [ratio(0, 1.5)]);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_is_compared_is_of_a_benchmark_that_is_run() {
        for (name, _) in CHECKED {
            let bench = name.split('/').next();
            assert!(BENCHES.iter().any(|(run, _)| Some(*run) == bench), "{name}");
        }
    }
}
