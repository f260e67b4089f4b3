//! The report as one HTML file: inline styles, tables, no scripts and nothing loaded from elsewhere,
//! which is what mail clients show. The template engine escapes every value.

use askama::Template;

use super::{
    document::{Cell, Document},
    name::shortened,
};

/// Longest name, in terminal columns.
const NAME_MAX: usize = 200;

#[derive(Template)]
#[template(path = "report/cost.html")]
struct CostPage<'a> {
    document: &'a Document,
}

pub(super) fn render(document: &Document) -> Result<String, askama::Error> {
    CostPage { document }.render().map(|html| html + "\n")
}

impl CostPage<'_> {
    fn shown(&self, cell: &Cell) -> String {
        shortened(&cell.shown(), NAME_MAX)
    }
}
