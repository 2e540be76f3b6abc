//! Pairing and comparing: two runs in, differences out.

use std::collections::BTreeMap;

use crate::compare::classify::of_outcome;
use crate::compare::normalize::normalize;
use crate::compare::{CallRecord, Class, Run};
use crate::model::ExchangeId;

/// Names of the second run for those of the first, where the user gives them.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// Buckets: before, after.
    pub buckets: Vec<(String, String)>,
    /// Prefixes of keys: before, after.
    pub prefixes: Vec<(String, String)>,
}

/// How to compare.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is known to have another name.
    pub mapping: Mapping,
    /// Differences between two runs of the job as it was before: left out.
    pub noise: Noise,
}

/// Which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first recording.
    Before,
    /// The second.
    After,
}

impl Side {
    /// `BEFORE`, `AFTER`
    pub const fn label(self) -> &'static str {
        match self {
            Self::Before => "BEFORE",
            Self::After => "AFTER",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Before => Self::After,
            Self::After => Self::Before,
        }
    }
}

/// One kind of difference, counted over its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its cause.
    pub class: Class,
    /// What differs: `status`, `body`, `only in AFTER`, …
    pub what: String,
    /// The operation.
    pub operation: &'static str,
    /// In the first run.
    pub before: String,
    /// In the second run.
    pub after: String,
    /// Calls.
    pub count: u64,
    /// The first few calls.
    pub examples: Vec<Example>,
    /// The normalized keys of all of them, up to a bound.
    keys: Vec<String>,
}

/// A call that shows a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The exchange of the first run.
    pub before: Option<ExchangeId>,
    /// The exchange of the second run.
    pub after: Option<ExchangeId>,
}

/// The first call that one run has and the other lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    /// The run that has it.
    pub side: Side,
    /// The call.
    pub operation: &'static str,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The exchange.
    pub id: ExchangeId,
    /// The last call before it that both runs have: operation, key.
    pub last_common: Option<(&'static str, String)>,
    /// Whether the other run changes nothing any more that this run changes too.
    pub is_stopped: bool,
    /// In a sentence.
    pub message: String,
}

/// What two runs of one job differ in anyway.
#[derive(Clone, Debug, Default)]
pub struct Noise {
    known: Vec<(String, &'static str, String)>,
}

impl Noise {
    /// The differences between two runs of the job as it was before.
    pub fn of(comparison: &Comparison) -> Self {
        let mut known = Vec::new();
        for difference in &comparison.differences {
            known.extend(difference.keys.iter().map(|key| (difference.what.clone(), difference.operation, key.clone())));
        }
        Self { known }
    }

    fn covers(&self, what: &str, operation: &str, key: &str) -> bool {
        let key = normalize(key);
        self.known.iter().any(|(have, of, name)| have == what && *of == operation && *name == key)
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Calls of the first run.
    pub calls_before: usize,
    /// Calls of the second run.
    pub calls_after: usize,
    /// Calls that were paired.
    pub paired: usize,
    /// What was taken for the same under two names.
    pub mapped: Vec<(String, String)>,
    /// Transports of the first and the second run.
    pub transports: [Vec<&'static str>; 2],
    /// The first call that one run lacks.
    pub headline: Option<Headline>,
    /// The differences, the gravest class first.
    pub differences: Vec<Difference>,
    /// Differences that were left out as noise.
    pub noise: u64,
}

impl Comparison {
    /// Whether nothing but the number of attempts and the time they took differs.
    pub fn is_equal(&self) -> bool {
        self.differences.iter().all(|difference| matches!(difference.what.as_str(), ATTEMPTS | LATENCY))
    }
}

/// Calls of one meaning.
#[derive(Default)]
struct Group {
    before: Vec<usize>,
    after: Vec<usize>,
}

/// How often a call was made: clients try again.
const ATTEMPTS: &str = "attempts";
/// How long an operation took.
const LATENCY: &str = "median latency";
/// Examples that are kept of a difference.
const EXAMPLES_MAX: usize = 5;
/// Keys by which a difference is known as noise.
const KEYS_MAX: usize = 1024;

/// Compares two runs.
pub fn compare(before: &Run, after: &Run, options: &Options) -> Comparison {
    let names = Names::new(before, after, &options.mapping);
    let mut before: Vec<&CallRecord> = before.calls.iter().collect();
    let mut after: Vec<&CallRecord> = after.calls.iter().collect();
    before.sort_by_key(|call| (call.at, call.id));
    after.sort_by_key(|call| (call.at, call.id));
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for (at, call) in before.iter().enumerate() {
        groups.entry(names.meaning(call, Side::Before)).or_default().before.push(at);
    }
    for (at, call) in after.iter().enumerate() {
        groups.entry(names.meaning(call, Side::After)).or_default().after.push(at);
    }
    let transports = [transports(&before), transports(&after)];
    let mut found =
        Found { options, differences: Vec::new(), noise: 0, paired: 0, is_same_transport: transports[0] == transports[1] };
    for group in groups.values() {
        found.compare_group(group, &before, &after, &names);
    }
    found.timing(&before, &after);
    let headline = headline(&groups, [&before, &after]).filter(|headline| {
        let what = format!("only in {}", headline.side.label());
        !options.noise.covers(&what, headline.operation, &headline.key)
    });
    let mut differences = found.differences;
    differences.sort_by(|one, other| (one.class, &one.what, other.count).cmp(&(other.class, &other.what, one.count)));
    Comparison {
        calls_before: before.len(),
        calls_after: after.len(),
        paired: found.paired,
        mapped: names.mapped,
        transports,
        headline,
        differences,
        noise: found.noise,
    }
}

/// Compares calls that are known to be the same, as a replay knows them. `ignored` names what is not compared.
pub fn compare_pairs(pairs: &[(CallRecord, CallRecord)], options: &Options, ignored: &[&str]) -> Comparison {
    let Mapping { buckets, prefixes } = options.mapping.clone();
    let mapped = buckets.iter().chain(&prefixes).filter(|(one, other)| one != other).cloned().collect();
    let names = Names { buckets, prefixes, mapped };
    let (before, after): (Vec<_>, Vec<_>) = pairs.iter().map(|(before, after)| (before, after)).unzip();
    let transports = [transports(&before), transports(&after)];
    let mut found = Found { options, differences: Vec::new(), noise: 0, paired: pairs.len(), is_same_transport: false };
    for (one, other) in pairs {
        let kept = |call: &CallRecord| {
            let mut call = call.clone();
            call.facts.retain(|(name, ..)| !ignored.contains(name));
            call
        };
        found.compare_calls(&kept(one), &kept(other), &names);
    }
    let mut differences = found.differences;
    differences.sort_by(|one, other| (one.class, &one.what, other.count).cmp(&(other.class, &other.what, one.count)));
    Comparison {
        calls_before: before.len(),
        calls_after: after.len(),
        paired: found.paired,
        mapped: names.mapped,
        transports,
        headline: None,
        differences,
        noise: found.noise,
    }
}

fn transports(calls: &[&CallRecord]) -> Vec<&'static str> {
    let mut all: Vec<_> = calls.iter().map(|call| call.transport).collect();
    all.sort_unstable();
    all.dedup();
    all
}

struct Found<'o> {
    options: &'o Options,
    differences: Vec<Difference>,
    noise: u64,
    paired: usize,
    is_same_transport: bool,
}

impl Found<'_> {
    fn compare_group(&mut self, group: &Group, before: &[&CallRecord], after: &[&CallRecord], names: &Names) {
        let pick = |calls: &[&CallRecord], places: &[usize]| -> Vec<CallRecord> {
            places.iter().filter_map(|at| calls.get(*at)).map(|call| (*call).clone()).collect()
        };
        let (mut old, mut new) = (pick(before, &group.before), pick(after, &group.after));
        let (has_old, has_new) = (!old.is_empty(), !new.is_empty());
        // What came out the same belongs together, whatever its order.
        old.retain(|one| {
            let same = new.iter().position(|other| names.outcome(one, Side::Before) == names.outcome(other, Side::After));
            if let Some(at) = same {
                new.remove(at);
                self.paired += 1;
            }
            same.is_none()
        });
        let pairs = old.len().min(new.len());
        for (one, other) in old.iter().zip(&new) {
            self.paired += 1;
            self.compare_calls(one, other, names);
        }
        for (left, side) in [(old.get(pairs..), Side::Before), (new.get(pairs..), Side::After)] {
            let left = left.unwrap_or_default();
            let Some(first) = left.first() else { continue };
            if has_old && has_new {
                let counts = [group.before.len(), group.after.len()].map(|count| format!("{count} times"));
                self.add(
                    Class::Timing,
                    "attempts",
                    counts,
                    [Some(first).filter(|_| side == Side::Before), Some(first).filter(|_| side == Side::After)],
                );
                continue;
            }
            let class = if self.is_same_transport { Class::Consistency } else { Class::Transport };
            for call in left {
                let outcome = call.status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
                let (texts, calls) = match side {
                    Side::Before => ([outcome, "absent".to_owned()], [Some(call), None]),
                    Side::After => (["absent".to_owned(), outcome], [None, Some(call)]),
                };
                self.add(class, &format!("only in {}", side.label()), texts, calls);
            }
        }
    }

    fn compare_calls(&mut self, before: &CallRecord, after: &CallRecord, names: &Names) {
        let calls = [Some(before), Some(after)];
        if before.status != after.status || before.error != after.error {
            let text = |call: &CallRecord| {
                let status = call.status.map(|status| status.to_string());
                [status, call.error.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ")
            };
            self.add(of_outcome(before, after), "status", [text(before), text(after)], calls);
            return;
        }
        let mut all: Vec<(&'static str, Class)> =
            before.facts.iter().chain(&after.facts).map(|(name, class, _)| (*name, *class)).collect();
        all.sort_unstable();
        all.dedup();
        // A body of another length has another hash too: the first says it.
        for (name, class) in all {
            let value = |call: &CallRecord, side| names.fact(call, name, side);
            let (one, other) = (value(before, Side::Before), value(after, Side::After));
            let is_hidden = matches!(name, "etag" | "body") && (one.is_none() || other.is_none());
            if one != other && !is_hidden {
                let texts = if name == "listing" {
                    listing_difference(one.as_deref(), other.as_deref())
                } else {
                    [one, other].map(|value| value.unwrap_or_else(|| "absent".to_owned()))
                };
                self.add(class, name, texts, calls);
            }
        }
    }

    fn add(&mut self, class: Class, what: &str, [before, after]: [String; 2], calls: [Option<&CallRecord>; 2]) {
        let Some(call) = calls.into_iter().flatten().next() else { return };
        if self.options.noise.covers(what, call.operation, &call.key) {
            self.noise += 1;
            return;
        }
        let example = Example {
            bucket: call.bucket.clone(),
            key: call.key.clone(),
            before: calls[0].map(|call| call.id),
            after: calls[1].map(|call| call.id),
        };
        let is_same = |one: &Difference| {
            one.class == class
                && one.what == what
                && one.operation == call.operation
                && one.before == before
                && one.after == after
        };
        match self.differences.iter_mut().find(|one| is_same(one)) {
            Some(one) => {
                one.count += 1;
                let key = normalize(&example.key);
                if one.keys.len() < KEYS_MAX && !one.keys.contains(&key) {
                    one.keys.push(key);
                }
                if one.examples.len() < EXAMPLES_MAX {
                    one.examples.push(example);
                }
            }
            None => self.differences.push(Difference {
                class,
                what: what.to_owned(),
                operation: call.operation,
                before,
                after,
                count: 1,
                keys: vec![normalize(&example.key)],
                examples: vec![example],
            }),
        }
    }

    /// Operations that got much slower or faster: three times the median, and 100 ms.
    fn timing(&mut self, before: &[&CallRecord], after: &[&CallRecord]) {
        let medians = |calls: &[&CallRecord]| {
            let mut all: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
            for call in calls {
                all.entry(call.operation).or_default().extend(call.latency_ms);
            }
            all
        };
        let mut old = medians(before);
        for (operation, mut new) in medians(after) {
            let Some(old) = old.get_mut(operation) else { continue };
            let (Some(one), Some(other)) = (median(old), median(&mut new)) else { continue };
            let is_far = one.max(other) >= 3 * one.min(other).max(1) && one.abs_diff(other) >= 100;
            let call = before.iter().find(|call| call.operation == operation).copied();
            if is_far {
                self.add(Class::Timing, LATENCY, [format!("{one} ms"), format!("{other} ms")], [call, None]);
            }
        }
    }
}

fn median(values: &mut [u64]) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// The first call of a meaning that the other run lacks: of both runs the one that comes after fewer common calls; of two that
/// come equally early the one that changes something.
fn headline(groups: &BTreeMap<String, Group>, sides: [&[&CallRecord]; 2]) -> Option<Headline> {
    let mut is_common = [vec![false; sides[0].len()], vec![false; sides[1].len()]];
    for group in groups.values().filter(|group| !group.before.is_empty() && !group.after.is_empty()) {
        for (marks, places) in is_common.iter_mut().zip([&group.before, &group.after]) {
            for at in places {
                if let Some(mark) = marks.get_mut(*at) {
                    *mark = true;
                }
            }
        }
    }
    let candidates = [(Side::Before, sides[0], &is_common[0]), (Side::After, sides[1], &is_common[1])];
    let firsts = candidates.into_iter().flat_map(|(side, calls, marks)| {
        let place =
            |wanted: &dyn Fn(&CallRecord) -> bool| calls.iter().zip(marks).position(|(call, common)| !common && wanted(call));
        // Reading more often is what a client does while it waits; what it changes is what counts.
        place(&|call| call.is_write).or_else(|| place(&|_| true)).map(|at| (side, at))
    });
    let rank = |(side, at): &(Side, usize)| {
        let (calls, marks) = if *side == Side::Before { (sides[0], &is_common[0]) } else { (sides[1], &is_common[1]) };
        let before = marks.iter().take(*at).filter(|common| **common).count();
        (!calls.get(*at).is_some_and(|call| call.is_write), is_cleanup(calls.get(*at)), before)
    };
    let (side, at) = firsts.min_by_key(rank)?;
    let (calls, marks) = if side == Side::Before { (sides[0], &is_common[0]) } else { (sides[1], &is_common[1]) };
    let call = calls.get(at)?;
    let common = calls.iter().zip(marks).take(at).rev().find(|(call, common)| **common && call.key != *"").map(|(call, _)| call);
    let is_stopped = !calls.iter().zip(marks).skip(at).any(|(call, common)| *common && call.is_write && !is_cleanup(Some(call)));
    let other = side.other().label();
    let last = common.map(|call| format!("; the last call that both have is {} {}", call.operation, normalize(&call.key)));
    let message = format!(
        "{} {} with {} {}/{}, which {other} lacks{}.{}",
        side.label(),
        if is_stopped { "went on" } else { "has a call" },
        call.operation,
        call.bucket,
        normalize(&call.key),
        last.clone().unwrap_or_default(),
        if is_stopped { format!(" {other} stopped there.") } else { String::new() },
    );
    Some(Headline {
        side,
        operation: call.operation,
        bucket: call.bucket.clone(),
        key: call.key.clone(),
        id: call.id,
        last_common: common.map(|call| (call.operation, normalize(&call.key))),
        is_stopped,
        message,
    })
}

/// Removing is what comes after success and after failure.
fn is_cleanup(call: Option<&&CallRecord>) -> bool {
    call.is_some_and(|call| matches!(call.operation, "DeleteObject" | "DeleteObjects" | "AbortMultipartUpload"))
}

fn listing_difference(before: Option<&str>, after: Option<&str>) -> [String; 2] {
    let lines = |text: Option<&str>| text.unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (lines(before), lines(after));
    let mut sorted = [one.clone(), other.clone()];
    sorted.iter_mut().for_each(|names| names.sort());
    if sorted[0] == sorted[1] {
        return ["the same names".to_owned(), "in another order".to_owned()];
    }
    let only = |here: &[String], there: &[String]| {
        let names: Vec<_> = here.iter().filter(|name| !there.contains(name)).take(3).cloned().collect();
        format!(
            "{} names{}",
            here.len(),
            if names.is_empty() { String::new() } else { format!(", only here: {}", names.join(", ")) }
        )
    };
    [only(&one, &other), only(&other, &one)]
}

/// What has another name in the second run.
struct Names {
    buckets: Vec<(String, String)>,
    prefixes: Vec<(String, String)>,
    mapped: Vec<(String, String)>,
}

impl Names {
    /// Takes what the user gives. Where the runs have one bucket each that the other lacks, or all keys of either run are below
    /// another folder, these are taken for the same.
    fn new(before: &Run, after: &Run, mapping: &Mapping) -> Self {
        let (mut buckets, mut prefixes) = (mapping.buckets.clone(), mapping.prefixes.clone());
        let names = |run: &Run| {
            let mut all: Vec<_> = run.calls.iter().map(|call| call.bucket.clone()).filter(|name| !name.is_empty()).collect();
            all.sort();
            all.dedup();
            all
        };
        let (old, new) = (names(before), names(after));
        let only_old: Vec<_> = old.iter().filter(|name| !new.contains(name)).collect();
        let only_new: Vec<_> = new.iter().filter(|name| !old.contains(name)).collect();
        if let ([one], [other], true) = (only_old.as_slice(), only_new.as_slice(), buckets.is_empty()) {
            buckets.push(((*one).clone(), (*other).clone()));
        }
        let (old, new) = (root(before), root(after));
        if prefixes.is_empty() && old.len() == new.len() && old != new {
            prefixes.push((format!("{}/", old.join("/")), format!("{}/", new.join("/"))));
        }
        let mapped = buckets.iter().chain(&prefixes).filter(|(one, other)| one != other).cloned().collect();
        Self { buckets, prefixes, mapped }
    }

    /// A name in the words of the second run.
    fn path(&self, text: &str, side: Side) -> String {
        let text = normalize(text);
        if side == Side::Before {
            for (one, other) in &self.prefixes {
                let (one, other) = (normalize(one), normalize(other));
                if let Some(rest) = text.strip_prefix(&one) {
                    return other + rest;
                }
                if one.strip_suffix('/') == Some(&text) {
                    return other.trim_end_matches('/').to_owned();
                }
            }
        }
        text
    }

    /// The path of a `Location`, without host.
    fn location(&self, value: &str, side: Side) -> String {
        let path = value.split_once("://").map_or(value, |(_, rest)| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"));
        let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        format!("/{}/{}", self.bucket(bucket, side), self.path(key, side))
    }

    fn bucket<'n>(&'n self, name: &'n str, side: Side) -> &'n str {
        let mapped = self.buckets.iter().find(|(one, _)| side == Side::Before && one == name);
        mapped.map_or(name, |(_, other)| other)
    }

    /// What a call is about, the same for the same call of either run.
    fn meaning(&self, call: &CallRecord, side: Side) -> String {
        let mut text = format!("{}\n{}\n{}", call.operation, self.bucket(&call.bucket, side), self.path(&call.key, side));
        for (name, value) in &call.parameters {
            let value = match name.as_str() {
                "copy-source-bucket" => self.bucket(value, side).to_owned(),
                "prefix" | "marker" | "start-after" | "copy-source" | "delete" => self.path(value, side),
                _ => value.clone(),
            };
            text += &format!("\n{name}={value}");
        }
        text
    }

    fn fact(&self, call: &CallRecord, wanted: &str, side: Side) -> Option<String> {
        let (_, _, value) = call.facts.iter().find(|(name, ..)| *name == wanted)?;
        Some(match wanted {
            "listing" => value.lines().map(|name| self.path(name, side)).collect::<Vec<_>>().join("\n"),
            "location" => self.location(value, side),
            _ => value.clone(),
        })
    }

    /// What came of a call, the same where nothing differs.
    fn outcome(&self, call: &CallRecord, side: Side) -> String {
        let mut text = format!("{:?} {:?}", call.status, call.error);
        for (name, ..) in &call.facts {
            text += &format!("\n{name}={}", self.fact(call, name, side).unwrap_or_default());
        }
        text
    }
}

/// The folders that all keys and prefixes of a run begin with.
fn root(run: &Run) -> Vec<String> {
    let values = run.calls.iter().flat_map(|call| {
        let parameters = call.parameters.iter().filter(|(name, _)| matches!(name.as_str(), "prefix" | "delete" | "copy-source"));
        std::iter::once(&call.key).chain(parameters.map(|(_, value)| value)).filter(|value| !value.is_empty())
    });
    let mut root: Option<Vec<String>> = None;
    for value in values {
        let parts: Vec<String> = value.trim_end_matches('/').split('/').map(normalize).collect();
        root = Some(match root {
            None => parts,
            Some(root) => root.into_iter().zip(parts).take_while(|(one, other)| one == other).map(|(one, _)| one).collect(),
        });
    }
    root.unwrap_or_default()
}
