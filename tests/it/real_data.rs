//! Real agent logs, where they are: counts, sums and statistics that are known of them.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::app::{TestApp, json as json_of};

fn file(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    path.exists().then_some(path)
}

#[tokio::test]
async fn real_logs_give_the_known_answers() {
    let names = ["aider.ndjson.gz", "azure-code.ndjson.gz", "azure-conv.ndjson.gz"];
    let Some(files) = names.into_iter().map(file).collect::<Option<Vec<_>>>() else {
        println!("skipped: the real log files are not beside this checkout");
        return;
    };
    let app = TestApp::start().await;
    for repeat in [false, true] {
        for file in &files {
            let body = std::fs::read(file).unwrap();
            let answer = json_of(app.post("/api/v1/logs").header("content-encoding", "gzip").body(body)).await;
            assert_eq!(answer["rejected"], json!([]));
            assert_eq!(answer["duplicate"].as_bool().unwrap_or(false), repeat);
        }
        app.flush().await;
    }
    let totals = "select count(*) as n, round(sum(cost_usd), 2) as cost, max(prompt_tokens) as longest from agent_logs";
    assert_eq!(app.sql(totals).await, json!([{"n": 33_768, "cost": 10_182.70, "longest": 913_414}]));
    let dearest = "select date, round(cost, 2) as cost from agent_logs order by cost desc nulls last limit 1";
    assert_eq!(app.sql(dearest).await, json!([{"date": "2025-05-07", "cost": 9_990.01}]));
    let ks = "select round(ks_test(prompt_tokens, agent_id = 'azure_conv')['statistic'], 4) as prompt,
                     round(ks_test(completion_tokens, agent_id = 'azure_conv')['statistic'], 4) as completion
              from agent_logs where agent_id in ('azure_conv', 'azure_code')";
    assert_eq!(app.sql(ks).await, json!([{"prompt": 0.346, "completion": 0.8097}]));
}
