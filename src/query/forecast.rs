//! Forecasts as questions: what each day brought, and what the settings allow a month. What they say is judged by
//! `forecast`.

use chrono::{DateTime, NaiveDate};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::{Engine, LibraryKind, moment::text_of};
use crate::{
    access::Scope,
    config::BudgetConfig,
    error::{Context, Error, Kind, Result},
    forecast::{Answer, CalledDay, Design, HISTORY_DAYS_MAX, HORIZONS, Metric},
};

const DAY_US: i64 = 86_400_000_000;

/// What to forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastRequest {
    metric: Metric,
    days: usize,
    tenant_id: Option<String>,
    agent_id: Option<String>,
    model: Option<String>,
    with_backtest: bool,
}

impl ForecastRequest {
    /// The request of parameters as text. Empty values are as if they were not there.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] that names the parameter.
    pub fn parse<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut request = Self {
            metric: Metric::Cost,
            days: HORIZONS[0],
            tenant_id: None,
            agent_id: None,
            model: None,
            with_backtest: false,
        };
        for (name, text) in parameters.into_iter().filter(|(_, text)| !text.is_empty()) {
            match name {
                "metric" => request.metric = metric_of(text)?,
                "days" => request.days = days_of(text)?,
                "tenant_id" => request.tenant_id = Some(text.to_owned()),
                "agent_id" => request.agent_id = Some(text.to_owned()),
                "model" => request.model = Some(text.to_owned()),
                "backtest" => request.with_backtest = flag_of(text)?,
                _ => {
                    return Err(Error::invalid(format!(
                        "{name} is no parameter of a forecast; there are metric, days, tenant_id, agent_id, model, backtest"
                    )));
                }
            }
        }
        Ok(request)
    }

    /// What a month may bring of what is asked for, if the settings say so; a caller sees the budgets of its own tenants.
    fn budget(&self, budgets: &BudgetConfig, scope: &Scope) -> Option<f64> {
        if self.metric != Metric::Cost {
            return None;
        }
        let only = scope.tenants().and_then(|tenants| tenants.only());
        let is_everybody = scope.tenants().is_none();
        let found = match (self.tenant_id.as_deref().or(only), &self.agent_id, &self.model) {
            (None, None, None) if is_everybody => budgets.monthly_usd,
            (Some(tenant), None, None) if scope.sees(tenant) => budgets.tenants.get(tenant).map(|own| own.monthly_usd),
            (None, Some(agent), None) if is_everybody => budgets.agents.get(agent).map(|own| own.monthly_usd),
            _ => None,
        };
        found.map(|usd| usd.amount())
    }
}

fn metric_of(text: &str) -> Result<Metric> {
    let found = Metric::ALL.into_iter().find(|metric| metric.name() == text);
    found.ok_or_else(|| Error::invalid(format!("metric={text} is not one of cost, input_tokens, output_tokens")))
}

fn days_of(text: &str) -> Result<usize> {
    let days = text.parse().ok().filter(|days| HORIZONS.contains(days));
    days.ok_or_else(|| Error::invalid(format!("days={text} is not one of 30, 60, 90")))
}

fn flag_of(text: &str) -> Result<bool> {
    text.parse().map_err(|_| Error::invalid(format!("backtest={text} is neither true nor false")))
}

#[derive(Deserialize)]
struct DayRow {
    day_us: i64,
    calls: u64,
    cost: f64,
    cost_samples: u64,
    input_tokens: f64,
    input_tokens_samples: u64,
    output_tokens: f64,
    output_tokens_samples: u64,
}

impl DayRow {
    fn day(&self, metric: Metric) -> Result<CalledDay> {
        let (value, samples) = match metric {
            Metric::Cost => (self.cost, self.cost_samples),
            Metric::InputTokens => (self.input_tokens, self.input_tokens_samples),
            Metric::OutputTokens => (self.output_tokens, self.output_tokens_samples),
        };
        Ok(CalledDay { date: date_of(self.day_us)?, calls: self.calls, samples, value })
    }
}

impl Engine {
    /// What the days to come will bring.
    ///
    /// # Errors
    ///
    /// Those of the statement that asks for the past days.
    pub async fn forecast(&self, request: &ForecastRequest) -> Result<Answer> {
        let now_us = self.now_us();
        let today_us = now_us - now_us.rem_euclid(DAY_US);
        // One day more than is used: the first may not be whole.
        let from_us = today_us - (HISTORY_DAYS_MAX as i64 + 1) * DAY_US;
        let mut arguments = vec![("from", text_of(from_us)?), ("to", text_of(now_us)?)];
        let filters = [("tenant_id", &request.tenant_id), ("agent_id", &request.agent_id), ("model", &request.model)];
        arguments.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        let arguments = arguments.iter().map(|(name, value)| (*name, value.as_str()));
        let rows: Vec<DayRow> =
            self.named(LibraryKind::Reports, "forecast_days", arguments).await?.collect_as().await?;
        let days = rows.iter().map(|row| row.day(request.metric)).collect::<Result<Vec<_>>>()?;
        let design = Design {
            metric: request.metric,
            days: request.days,
            tenant_id: request.tenant_id.clone(),
            agent_id: request.agent_id.clone(),
            model: request.model.clone(),
            budget: request.budget(self.budgets(), self.scope()),
            with_backtest: request.with_backtest,
        };
        // Models are fitted for a while, on as many cores as statements may have.
        let turn = self.turn().await?;
        let judged = spawn_blocking(move || {
            let _turn = turn;
            Answer::new(design, &days, now_us)
        });
        judged.await.context("a forecast stopped")?.map_err(|reason| Error::new(Kind::Internal, reason))
    }
}

fn date_of(us: i64) -> Result<NaiveDate> {
    let time = DateTime::from_timestamp_micros(us).ok_or_else(|| Error::invalid("a day is outside the calendar"))?;
    Ok(time.date_naive())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::access::Tenants;

    #[test]
    fn parameters_are_named_where_they_are_wrong() {
        let refused = |name: &str, text: &str| ForecastRequest::parse([(name, text)]).unwrap_err().to_string();
        assert_eq!(refused("metric", "calls"), "metric=calls is not one of cost, input_tokens, output_tokens");
        assert_eq!(refused("days", "31"), "days=31 is not one of 30, 60, 90");
        assert_eq!(refused("backtest", "yes"), "backtest=yes is neither true nor false");
        assert!(refused("horizon", "30").starts_with("horizon is no parameter of a forecast"));
        assert_eq!(ForecastRequest::parse([("days", "")]).unwrap().days, 30);
    }

    #[test]
    fn callers_see_the_budgets_of_their_own() {
        let settings = "monthly_usd = 500\n[tenants.a]\nmonthly_usd = 50\n[agents.bot]\nmonthly_usd = 5";
        let budgets: BudgetConfig = toml::from_str(settings).unwrap();
        let tenants = |names: &[&str]| {
            let tenants = Tenants::new(names.iter().map(|&name| name.to_owned())).unwrap();
            Scope::Tenants(tenants)
        };
        let check = |parameters: &[(&str, &str)], scope: &Scope, expected: Option<f64>| {
            let request = ForecastRequest::parse(parameters.iter().copied()).unwrap();
            assert_eq!(request.budget(&budgets, scope), expected, "{parameters:?} {scope:?}");
        };
        let everybody = Scope::Everybody;
        check(&[], &everybody, Some(500.0));
        check(&[("tenant_id", "a")], &everybody, Some(50.0));
        check(&[("agent_id", "bot")], &everybody, Some(5.0));
        check(&[("agent_id", "bot"), ("tenant_id", "a")], &everybody, None);
        check(&[("model", "m")], &everybody, None);
        check(&[("metric", "input_tokens")], &everybody, None);
        check(&[], &tenants(&["a"]), Some(50.0));
        check(&[], &tenants(&["a", "b"]), None);
        check(&[("tenant_id", "a")], &tenants(&["b"]), None);
        check(&[("agent_id", "bot")], &tenants(&["a"]), None);
    }
}
