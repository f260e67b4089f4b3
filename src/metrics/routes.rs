//! Where the rows of one (agent, model, operation, tenant) go in every family.
//!
//! Most families share four labels, so a row costs one lookup here instead of one per family. It
//! is a cache and nothing more: dropping it, or any part of it, changes no number.

use std::collections::HashMap;

use super::hash::FastHash;
use super::series::clip_label;

/// Routes by label combination, bounded.
#[derive(Debug)]
pub(super) struct Routes {
    /// Positions in `routes`, by the hash of the labels. Of two combinations with one hash, the
    /// later takes the place.
    by_hash: HashMap<u64, u32, FastHash>,
    routes: Vec<Route>,
    routes_max: usize,
    hash: FastHash,
}

/// The four labels that rows are told apart by, each clipped.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowLabels<'a> {
    agent: &'a str,
    model: &'a str,
    operation: &'a str,
    tenant: &'a str,
}

impl<'a> RowLabels<'a> {
    /// In this order: agent, model, operation, tenant.
    pub(super) fn new(labels: [&'a str; 4]) -> Self {
        let [agent, model, operation, tenant] = labels;
        Self {
            agent: clip_label(agent),
            model: clip_label(model),
            operation: clip_label(operation),
            tenant: clip_label(tenant),
        }
    }

    fn array(&self) -> [&'a str; 4] {
        [self.agent, self.model, self.operation, self.tenant]
    }
}

/// A label combination, and its slot per family, each found when a row first needs it.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) slots: RouteSlots,
    pub(super) labels: RouteLabels,
}

/// The labels of a route.
#[derive(Debug)]
pub(super) struct RouteLabels {
    pub(super) agent: Box<str>,
    pub(super) model: Box<str>,
    pub(super) operation: Box<str>,
    pub(super) tenant: Box<str>,
}

/// The slots of a route.
#[derive(Debug, Default)]
pub(super) struct RouteSlots {
    pub(super) request_duration: Option<u32>,
    pub(super) ttft: Option<u32>,
    pub(super) tokens: Option<u32>,
    pub(super) cost: Option<u32>,
    pub(super) hallucination: Option<u32>,
    /// For decisions without a reason, which are nearly all.
    pub(super) guardrail: Option<u32>,
    pub(super) session_agent: Option<u32>,
    pub(super) requests: Option<u32>,
    pub(super) context_overflow: Option<u32>,
    pub(super) breaker_agent: Option<u32>,
}

impl Routes {
    pub(super) fn new(routes_max: usize) -> Self {
        Self { by_hash: HashMap::default(), routes: Vec::new(), routes_max, hash: FastHash::default() }
    }

    /// Keeps the cache bounded, give or take one batch. It starts over when full: keeping what it
    /// has would shut out combinations that are hot from now on. Positions found before are void.
    pub(super) fn begin_batch(&mut self) {
        if self.routes.len() > self.routes_max {
            self.by_hash.clear();
            self.routes.clear();
        }
    }

    /// The position of the route of a row, valid for this batch.
    pub(super) fn find(&mut self, labels: &RowLabels) -> u32 {
        let hash = self.hash.strings(labels.array());
        if let Some(position) = self.by_hash.get(&hash)
            && self.routes[*position as usize].labels.are(labels)
        {
            return *position;
        }
        self.insert(hash, labels)
    }

    pub(super) fn at(&mut self, position: u32) -> &mut Route {
        &mut self.routes[position as usize]
    }

    fn insert(&mut self, hash: u64, labels: &RowLabels) -> u32 {
        let position = u32::try_from(self.routes.len()).expect("routes are bounded far below u32");
        let [agent, model, operation, tenant] = labels.array().map(Box::from);
        self.routes
            .push(Route { slots: RouteSlots::default(), labels: RouteLabels { agent, model, operation, tenant } });
        self.by_hash.insert(hash, position);
        position
    }
}

impl RouteLabels {
    fn are(&self, labels: &RowLabels) -> bool {
        same(&self.agent, labels.agent)
            && same(&self.model, labels.model)
            && same(&self.operation, labels.operation)
            && same(&self.tenant, labels.tenant)
    }
}

/// Equality that leaves empty strings alone. Theirs is a dangling pointer, and a vectorised compare
/// that touches its page, even with every lane masked off, costs a hundred nanoseconds.
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && (left.is_empty() || left == right)
}
