//! The rows of a report, from its SQL files.

use chrono::NaiveDate;

use super::{Engine, LibraryKind};
use crate::{
    error::{Error, Result},
    report::{CostReport, CostRows},
};

impl Engine {
    /// The cost report of one UTC day.
    pub async fn cost_report(&self, day: NaiveDate) -> Result<CostReport> {
        let next = day.succ_opt().ok_or_else(|| Error::invalid("the day is outside the calendar"))?;
        let (day_start, day_end) = (day.to_string(), next.to_string());
        let rows = CostRows {
            totals: self.report_rows("cost_totals", &day_start, &day_end).await?,
            tenants: self.report_rows("cost_by_dimension_tenant", &day_start, &day_end).await?,
            agents: self.report_rows("cost_by_dimension_agent", &day_start, &day_end).await?,
            models: self.report_rows("cost_by_dimension_model", &day_start, &day_end).await?,
            sessions: self.report_rows("cost_top_sessions", &day_start, &day_end).await?,
            calls: self.report_rows("cost_top_calls", &day_start, &day_end).await?,
        };
        Ok(CostReport::new(day, rows, self.now_us()))
    }

    async fn report_rows<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        day_start: &str,
        day_end: &str,
    ) -> Result<Vec<T>> {
        let arguments = [("day_start", day_start), ("day_end", day_end)];
        self.named(LibraryKind::Reports, name, arguments).await?.collect_as().await
    }
}
