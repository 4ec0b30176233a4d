//! What the reports of the ledger have in common: which days they cover, what they group by, and how they are read.
//!
//! The rows of all tenants or workers for all days of a report are too many for one statement. So a report reads them in parts, and
//! adds up here what the parts have of each group. A part lies within one calendar month, so that a report by day or month may end
//! as soon as it has enough rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::iter::successors;

use chrono::{Datelike, Months, NaiveDate};

use crate::jobs::Scope;

/// Most rows of the ledger that one statement of a report reads.
pub(super) const ROWS_MAX: i64 = 4_000;

/// By what usage is grouped. Without any, there is one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupBy {
    /// By day (UTC).
    pub day: bool,
    /// By calendar month; no effect with `day`.
    pub month: bool,
    /// By tenant.
    pub tenant: bool,
    /// By API key.
    pub key: bool,
    /// By model.
    pub model: bool,
    /// By tier.
    pub tier: bool,
}

/// Which part of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageFilter {
    /// Whose.
    pub scope: Scope,
    /// First day (UTC).
    pub from: NaiveDate,
    /// Last day, included.
    pub to: NaiveDate,
    /// Most rows.
    pub limit: u32,
}

/// Days of one calendar month.
#[derive(Debug, Clone, Copy)]
pub(super) struct Days {
    /// First day.
    pub(super) from: NaiveDate,
    /// Last day, included.
    pub(super) to: NaiveDate,
}

/// The days from `from` to `to`, month by month.
pub(super) fn months(from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = Days> {
    let starts = successors(Some(from), |start| end_of_month(*start).succ_opt());
    starts.take_while(move |start| *start <= to).map(move |start| Days { from: start, to: end_of_month(start).min(to) })
}

fn end_of_month(day: NaiveDate) -> NaiveDate {
    let next_month = day.with_day(1).and_then(|first| first.checked_add_months(Months::new(1)));
    next_month.and_then(|first| first.pred_opt()).unwrap_or(NaiveDate::MAX)
}

/// A row of a report: a group and its sums.
pub(super) trait GroupRow {
    /// Identifies the group, and sorts as the report does.
    type Group: Ord;

    /// The group.
    fn group(&self) -> Self::Group;

    /// Adds what another part has of the same group.
    fn add(&mut self, part: &Self);
}

/// The first groups of a report. Those behind the limit are forgotten, so that the longest report takes little memory.
pub(super) struct Groups<R: GroupRow> {
    rows: BTreeMap<R::Group, R>,
    limit: usize,
}

impl<R: GroupRow> Groups<R> {
    pub(super) fn new(limit: u32) -> Self {
        Self { rows: BTreeMap::new(), limit: limit as usize }
    }

    /// Adds the rows of a part. A group that was forgotten stays so: those before it only become more.
    pub(super) fn add(&mut self, part: impl IntoIterator<Item = R>) {
        for row in part {
            match self.rows.entry(row.group()) {
                Entry::Occupied(mut sums) => sums.get_mut().add(&row),
                Entry::Vacant(place) => {
                    place.insert(row);
                }
            }
            if self.rows.len() > self.limit {
                self.rows.pop_last();
            }
        }
    }

    /// Whether groups that follow all of these would be forgotten.
    pub(super) fn are_full(&self) -> bool {
        self.rows.len() >= self.limit
    }

    /// The rows, in the order of their groups.
    pub(super) fn into_rows(self) -> Vec<R> {
        self.rows.into_values().collect()
    }
}
