//! Rows as a table: columns with their types and units, rows as arrays.

use serde_json::{Value, json};

use super::{
    frame::{Column, Frame},
    series::{Element, Shape},
    shown,
};
use crate::error::{Error, Result};

/// All rows as one table; of the columns those that are asked for.
pub fn table(frame: &Frame, shape: &Shape) -> Result<Element> {
    let named = |name: &String| {
        frame.columns.iter().find(|column| column.name == *name).ok_or_else(|| {
            let there: Vec<&str> = frame.columns.iter().map(|column| column.name.as_str()).collect();
            Error::invalid(format!("values: {} is none of {}", shown(name), there.join(", ")))
        })
    };
    let columns: Vec<&Column> = match shape.values.as_slice() {
        [] => frame.columns.iter().collect(),
        names => names.iter().map(named).collect::<Result<_>>()?,
    };
    let heads: Vec<Value> = columns
        .iter()
        .map(|column| {
            let mut head = json!({ "text": column.name, "type": column.holds.name() });
            if let Some(unit) = shape.units.get(&column.name) {
                head["unit"] = (*unit).into();
            }
            head
        })
        .collect();
    let rows: Vec<Value> =
        (0..frame.rows()).map(|row| columns.iter().map(|column| column.cells[row].clone()).collect()).collect();
    let points = rows.len();
    let json = json!({ "type": "table", "refId": shape.ref_id, "name": shape.metric, "columns": heads, "rows": rows });
    Ok(Element { json, points })
}
