//! The report as one HTML file for mail clients: inline styles and tables.
//!
//! Never a script, and nothing loaded from elsewhere. The template engine escapes every value.

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
