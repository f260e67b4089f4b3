//! What clients of Jaeger ask, and calls as traces: a call is a span, the tools it called are its children. Pure: it
//! runs nothing and knows no HTTP.
//!
//! A service is an agent, an operation the kind of call. Times of calls are known, how long each tool took as well, but
//! not when a tool began: tools are laid out one after the other from the start of their call, and each says so in a
//! tag. Ids follow from what is stored, so that a trace looks the same whenever it is asked for.

mod call;
mod search;
mod trace;

pub use call::{Call, Tool};
pub use search::{Search, duration_ms};
pub use trace::{AGENT_UNKNOWN, OPERATION_UNKNOWN, Trace, traces};
