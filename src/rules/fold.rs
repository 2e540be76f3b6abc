//! Findings of one kind are one finding: those of many clients and objects in, one for each rule, hop and kind out.

use foldhash::{HashMap, HashMapExt as _};

use crate::hops::HopId;
use crate::rules::quote::{counted, list};
use crate::rules::rule::Role;
use crate::rules::{Confidence, Finding, Severity};

/// What tells kinds of one rule apart; all else in a subject (client, bucket, object, …) tells members of a kind apart.
const KIND_NAMES: [&str; 11] =
    ["checksum", "where", "status", "code", "reason", "header", "changed", "ended_by", "sent_by", "kind", "text"];

/// How many members are named in the message.
const NAMED_MAX: usize = 5;

/// Evidence of how many members is kept, and how much in all.
const SHOWN_MAX: usize = 4;
const EVIDENCE_MAX: usize = 12;

#[derive(PartialEq, Eq, Hash)]
struct Key {
    rule: &'static str,
    hop: Option<HopId>,
    severity: Severity,
    confidence: Confidence,
    kind: Vec<(&'static str, String)>,
    cause: Option<String>,
}

/// Joins findings that differ only by client or object. Counts are summed; the message is that of the largest, with how many
/// there are in all before it. The order of first members stays.
pub(super) fn fold(findings: Vec<Finding>) -> Vec<Finding> {
    let mut places: HashMap<Key, usize> = HashMap::new();
    let mut groups: Vec<Vec<Finding>> = Vec::new();
    for finding in findings {
        let place = *places.entry(key_of(&finding)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(place) {
            group.push(finding);
        }
    }
    groups.into_iter().filter_map(join).collect()
}

fn key_of(finding: &Finding) -> Key {
    let is_kind = |name: &str| KIND_NAMES.contains(&name);
    Key {
        rule: finding.rule.name,
        hop: finding.hop,
        severity: finding.severity,
        confidence: finding.confidence,
        kind: finding.subject.iter().filter(|(name, _)| is_kind(name)).cloned().collect(),
        cause: finding.cause.clone().filter(|_| finding.rule.role == Role::Failure),
    }
}

fn join(mut group: Vec<Finding>) -> Option<Finding> {
    let members = group.len() as u64;
    group.sort_by_key(|finding| std::cmp::Reverse(finding.count));
    let mut all = group.iter();
    let mut joined = all.next()?.clone();
    if members == 1 {
        return Some(joined);
    }
    for other in all {
        joined.count = joined.count.saturating_add(other.count);
        joined.recovered = joined.recovered.saturating_add(other.recovered);
        joined.refused = match (joined.refused, other.refused) {
            (Some((status, calls)), Some((same, more))) if status == same => Some((status, calls.saturating_add(more))),
            (own, _) => own,
        };
    }
    let mut clients: Vec<&str> = group.iter().filter_map(|finding| finding.subject_of("client")).collect();
    clients.sort_unstable();
    clients.dedup();
    let by =
        if clients.len() > 1 { counted(clients.len() as u64, "client", "clients") } else { counted(members, "group", "groups") };
    let named: Vec<String> = group.iter().take(NAMED_MAX).filter_map(member_text).collect();
    joined.message = format!("{} in all, of {by}; the most: {}", joined.count, joined.message);
    if !named.is_empty() {
        let more = members.saturating_sub(named.len() as u64);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        joined.message += &format!(" The largest: {}{rest}.", named.join(", "));
    }
    joined.subject.push(("members", members.to_string()));
    if !named.is_empty() {
        joined.subject.push(("largest", list(&named)));
    }
    joined.evidence = group.iter().take(SHOWN_MAX).flat_map(|finding| finding.evidence.iter().take(SHOWN_MAX)).cloned().collect();
    joined.evidence.truncate(EVIDENCE_MAX);
    Some(joined)
}

/// Who or what a member is, and how much of the count it has.
fn member_text(finding: &Finding) -> Option<String> {
    let name = ["client", "target", "object", "key"].iter().find_map(|name| finding.subject_of(name))?;
    Some(format!("{name}: {}", finding.count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::find;

    fn finding(client: &str, code: &str, count: u64) -> Finding {
        let message = format!("{count} calls on front got 403 {code}.");
        let rule = find("error-response").unwrap();
        Finding::new(rule, Confidence::Certain, Some(HopId(0)), count, message)
            .about("client", client)
            .about("status", "403")
            .about("code", code)
    }

    #[test]
    fn members_of_a_kind_are_one_finding_that_counts_all_and_names_the_largest() {
        let mut findings: Vec<Finding> =
            (1..=1000).map(|number| finding(&format!("c{number}"), "AccessDenied", number)).collect();
        findings.push(finding("c1", "SlowDown", 7));
        let folded = fold(findings);
        assert_eq!(folded.len(), 2);
        let all = &folded[0];
        assert_eq!(all.count, 500_500);
        assert!(all.message.starts_with("500500 in all, of 1000 clients; the most: 1000 calls on front"), "{}", all.message);
        assert!(all.message.contains("c1000: 1000, c999: 999") && all.message.contains("and 995 more"), "{}", all.message);
        assert_eq!((folded[1].count, folded[1].message.as_str()), (7, "7 calls on front got 403 SlowDown."));
    }
}
