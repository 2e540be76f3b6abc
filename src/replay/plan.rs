//! The plan: which calls are sent, in which order and when, and which are held back. It sends nothing.

use std::time::Duration;

use crate::model::Exchange;
use crate::replay::order::Order;
use crate::replay::safety::{Held, Permissions, judge};
use crate::s3::{Call, Domains, Operation};

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many times as fast as recorded.
    Times(f64),
    /// As fast as the order allows.
    Max,
}

/// One call of the plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place in the plan, from 0.
    pub number: usize,
    /// As it was recorded.
    pub exchange: Exchange,
    /// What it asks for.
    pub operation: Operation,
    /// When it is due, from the beginning.
    pub due: Duration,
    /// The steps that have to be done before.
    pub after: Vec<usize>,
    /// Why it is not sent; `None` where it is.
    pub held: Option<Held>,
    /// Whether the client never sent it: it was refused before the wire.
    pub is_made: bool,
}

/// The calls of a recording in the order of their beginnings.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Plans the calls of a recording, each as its client made it. `made` are requests that the client never sent; they are
    /// sent when the client would have sent them.
    pub fn new(exchanges: Vec<Exchange>, made: Vec<Exchange>, domains: &Domains, permissions: Permissions, pace: Pace) -> Self {
        let recorded = exchanges.into_iter().map(|exchange| (exchange, false));
        let mut exchanges: Vec<(Exchange, bool)> = recorded.chain(made.into_iter().map(|exchange| (exchange, true))).collect();
        exchanges.sort_by_key(|(exchange, is_made)| (exchange.request.start, *is_made, exchange.id));
        let begin = exchanges.first().map(|(exchange, _)| exchange.request.start).unwrap_or_default();
        let mut order = Order::default();
        let mut steps: Vec<Step> = Vec::with_capacity(exchanges.len());
        for (exchange, is_made) in exchanges {
            let number = steps.len();
            let Some(call) = Call::read(&exchange, domains) else { continue };
            let held = judge(&call, permissions);
            let after = order.add(number, &call);
            let operation = call.operation;
            let due = match pace {
                Pace::Max => Duration::ZERO,
                Pace::Times(times) => exchange.request.start.since(begin).div_f64(times.max(1e-6)),
            };
            steps.push(Step { number, exchange, operation, due, after, held, is_made });
        }
        Self { steps }
    }

    /// Spaces the steps evenly: so many a second, in order.
    pub fn at_rate(&mut self, per_second: f64) {
        for (at, step) in self.steps.iter_mut().filter(|step| step.held.is_none()).enumerate() {
            step.due = step.due.max(Duration::from_secs_f64(at as f64 / per_second.max(1e-3)));
        }
    }

    /// The steps that are sent.
    pub fn sent(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.held.is_none())
    }

    /// The steps that are held back.
    pub fn held(&self) -> impl Iterator<Item = (&Step, &Held)> {
        self.steps.iter().filter_map(|step| Some((step, step.held.as_ref()?)))
    }
}
