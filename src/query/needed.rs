//! Plans without the columns that nothing of them needs. The view of the calls has some sixty, and all that is done to a
//! plan is done to each of them: a statement that names five of them is planned in half the time when the others go first.

use std::sync::LazyLock;

use datafusion::{
    common::{Result, config::ConfigOptions},
    logical_expr::LogicalPlan,
    optimizer::{AnalyzerRule, OptimizerContext, OptimizerRule, optimize_projections::OptimizeProjections},
};

/// Nothing of it is looked at.
static CONFIG: LazyLock<OptimizerContext> = LazyLock::new(OptimizerContext::new);

/// The plan with the columns that it needs. It says the same; where none can be told, it is as it was.
pub fn with_needed_columns(plan: LogicalPlan) -> LogicalPlan {
    // Where it fails, so does the statement's own planning, which says why.
    OptimizeProjections::new().rewrite(plan.clone(), &*CONFIG).map_or(plan, |needed| needed.data)
}

/// The same of each statement, before types are fitted.
#[derive(Debug)]
pub struct NeededColumns;

impl AnalyzerRule for NeededColumns {
    fn name(&self) -> &str {
        "needed_columns"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(with_needed_columns(plan))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::{
        arrow::util::pretty::pretty_format_batches,
        common::tree_node::{TreeNode, TreeNodeRecursion},
        logical_expr::LogicalPlan,
        prelude::SessionContext,
    };

    use super::with_needed_columns;

    const TABLES: [&str; 2] = [
        "create table stored as select * from (values (1, 'x', 10, true), (2, 'y', 20, false), (3, 'x', 30, null)) v(a, b, c, d)",
        "create view seen as select a, upper(b) as b, c * 2 as c, coalesce(d, false) as d, a / c as e from stored",
    ];

    /// Checks that the statement says the same with the columns it needs, and that no scan outside of subqueries reads
    /// more than so many.
    async fn check(statement: &str, read: usize) {
        let context = SessionContext::new();
        for table in TABLES {
            context.sql(table).await.unwrap().collect().await.unwrap();
        }
        let whole = context.state().create_logical_plan(statement).await.unwrap();
        let needed = with_needed_columns(whole.clone());
        let mut widest = 0;
        needed
            .apply(|node| {
                if let LogicalPlan::TableScan(scan) = node {
                    widest = widest.max(scan.projected_schema.fields().len());
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        assert!(widest <= read, "{}", needed.display_indent());
        let mut answers = Vec::new();
        for plan in [whole, needed] {
            let rows = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
            answers.push(pretty_format_batches(&rows).unwrap().to_string());
        }
        assert_eq!(answers[0], answers[1], "{statement}");
    }

    #[tokio::test]
    async fn what_is_needed_is_read_and_nothing_else() {
        for (statement, read) in [
            ("select count(*) from seen", 1),
            ("select b, sum(c) from seen where d group by b order by b", 3),
            ("select a from seen s where exists (select 1 from stored t where t.c = s.c / 2 and t.d) order by a", 2),
            ("select a, (select max(c) from stored t where t.b = lower(s.b)) as most from seen s order by a", 2),
            ("select a from seen union all select c from stored order by 1", 1),
            ("select a, 1 as x from seen union all select c, 2.5 from stored order by 1, 2", 1),
            ("select b, grouping(b), count(*) from seen group by rollup(b) order by 1, 2", 1),
            ("select distinct b from seen order by b", 1),
            ("select b, row_number() over (order by a) from seen order by 2", 2),
            (
                "with recursive n as (select 1 as k union all select k + 1 from n where k < 3) select k, c from n join stored on a = k order by k",
                2,
            ),
        ] {
            check(statement, read).await;
        }
    }
}
