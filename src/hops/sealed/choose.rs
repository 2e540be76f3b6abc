//! Which candidate is the one: those that have no other, again and again, as long as that leaves others with only one.

use crate::hops::sealed::candidates::Group;
use crate::hops::sealed::usual::{Fit, Usual};

/// A call and a sealed exchange that are held to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The place of the call.
    pub(super) front: usize,
    /// The place of the sealed exchange.
    pub(super) sealed: usize,
    /// Whether neither had another candidate.
    pub(super) is_sole: bool,
}

/// Who may belong to whom: by index, the indices of the other side that are left.
struct Graph {
    fronts: Vec<Vec<usize>>,
    sealed: Vec<Vec<usize>>,
    /// Calls that have none.
    lost: usize,
}

/// The pairs of a group, each call and each sealed exchange in one at most.
pub(super) fn choose(group: &Group<'_>) -> Vec<Choice> {
    let mut graph = Graph::of(group);
    let sole: Vec<bool> = (0..graph.fronts.len()).map(|front| graph.is_sole(front)).collect();
    // Who is left with one candidate after others are taken is told from that each has its own, which must be seen then.
    let has_losses = graph.lost > LOST_MAX && graph.lost * LOST_SHARE > graph.fronts.len();
    let mut choices = Vec::new();
    let fronts = (0..graph.fronts.len()).rev().map(Node::Front);
    let mut due: Vec<Node> = fronts.chain((0..graph.sealed.len()).rev().map(Node::Sealed)).collect();
    while let Some(node) = due.pop() {
        let Some((front, sealed)) = graph.only(node) else { continue };
        if has_losses && !sole.get(front).copied().unwrap_or(false) {
            continue;
        }
        graph.take(front, sealed, &mut due);
        if let (Some((front_place, _)), Some((sealed_place, _))) = (group.fronts.get(front), group.sealed.get(sealed)) {
            let is_sole = sole.get(front).copied().unwrap_or(false);
            choices.push(Choice { front: *front_place, sealed: *sealed_place, is_sole });
        }
    }
    choices
}

impl Graph {
    fn of(group: &Group<'_>) -> Self {
        let usual = Usual::learn(group);
        let mut graph =
            Self { fronts: vec![Vec::new(); group.fronts.len()], sealed: vec![Vec::new(); group.sealed.len()], lost: 0 };
        let mut crowded = Vec::new();
        for ((index, (_, front)), edges) in group.fronts.iter().enumerate().zip(&mut graph.fronts) {
            let (mut known, mut unknown) = (Vec::new(), Vec::new());
            for candidate in group.all_candidates(front, usual.answered(front)).unwrap_or_default() {
                match usual.fit(front, &candidate) {
                    Fit::Usual => known.push(candidate.sealed),
                    Fit::Unknown => unknown.push(candidate.sealed),
                    Fit::Unusual => {}
                }
            }
            *edges = if known.is_empty() { unknown } else { known };
            if edges.len() > EDGES_MAX {
                crowded.push(index);
            }
            for sealed in edges {
                graph.sealed.get_mut(*sealed).into_iter().for_each(|fronts| fronts.push(index));
            }
        }
        graph.lost = graph.fronts.iter().filter(|edges| edges.is_empty()).count();
        // Nobody can tell which of so many it is, and those that are left in the end are no surer.
        for index in crowded {
            graph.fronts.get_mut(index).into_iter().for_each(Vec::clear);
        }
        graph
    }

    /// Whether a call has one candidate, which has no other call.
    fn is_sole(&self, front: usize) -> bool {
        match self.fronts.get(front).map(Vec::as_slice) {
            Some([sealed]) => self.sealed.get(*sealed).is_some_and(|fronts| fronts.len() == 1),
            _ => false,
        }
    }

    /// The pair of a call that has one candidate, or of a sealed exchange that has one.
    fn only(&self, node: Node) -> Option<(usize, usize)> {
        match node {
            Node::Front(front) => match self.fronts.get(front)?.as_slice() {
                [sealed] => Some((front, *sealed)),
                _ => None,
            },
            Node::Sealed(sealed) => match self.sealed.get(sealed)?.as_slice() {
                [front] if self.fronts.get(*front)?.contains(&sealed) => Some((*front, sealed)),
                _ => None,
            },
        }
    }

    /// Takes a pair out; adds those that have lost a candidate to what is to be looked at.
    fn take(&mut self, front: usize, sealed: usize, due: &mut Vec<Node>) {
        let ours = self.fronts.get_mut(front).map(std::mem::take).unwrap_or_default();
        let theirs = self.sealed.get_mut(sealed).map(std::mem::take).unwrap_or_default();
        for other in ours {
            self.sealed.get_mut(other).into_iter().for_each(|fronts| fronts.retain(|one| *one != front));
            due.push(Node::Sealed(other));
        }
        for other in theirs {
            self.fronts.get_mut(other).into_iter().for_each(|edges| edges.retain(|one| *one != sealed));
            due.push(Node::Front(other));
        }
    }
}

#[derive(Clone, Copy)]
enum Node {
    Front(usize),
    Sealed(usize),
}

/// A call with more candidates that fit equally well is not joined.
const EDGES_MAX: usize = 256;

/// More calls without any candidate, and a greater part of all, show that sealed exchanges are missing.
const LOST_MAX: usize = 2;
const LOST_SHARE: usize = 100;
