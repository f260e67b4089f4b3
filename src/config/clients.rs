//! Settings of what clients may hold, whoever they are.

use serde::{Deserialize, Serialize};

/// What all clients of the main port together may hold, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientsConfig {
    /// `DRIFTLINE_CLIENTS_CONNECTIONS_MAX`: open connections; for a further one, the one that has waited the longest
    /// for a request is closed.
    pub connections_max: usize,
    /// `DRIFTLINE_CLIENTS_REQUESTS_MAX`: open requests, 503 beyond.
    pub requests_max: usize,
    /// `DRIFTLINE_CLIENTS_STREAMS_MAX`: requests at the same time on one connection of HTTP/2.
    pub streams_max: u32,
    /// `DRIFTLINE_CLIENTS_HEAD_BYTES_MAX`: most bytes of a request's head, at least 8 KiB; 431 beyond.
    pub head_bytes_max: usize,
    /// `DRIFTLINE_CLIENTS_ANSWER_BYTES_MAX`: most bytes of answers that wait for their readers; beyond it the slowest
    /// reader's connection is closed. 0 is a share of `memory.bytes_max`.
    pub answer_bytes_max: usize,
    /// `DRIFTLINE_CLIENTS_HEAD_TIMEOUT_S`: how long a new connection may take for its first request's head, seconds.
    pub head_timeout_s: u64,
    /// `DRIFTLINE_CLIENTS_IDLE_TIMEOUT_S`: how long a connection may wait for its next request, seconds.
    pub idle_timeout_s: u64,
    /// `DRIFTLINE_CLIENTS_ANSWER_TIMEOUT_S`: how long a client may take for 16 KiB of an answer, seconds.
    pub answer_timeout_s: u64,
}

impl Default for ClientsConfig {
    fn default() -> Self {
        // Idle clients are reckoned with: pools of common clients keep connections for 90 s, and we would rather not
        // close one that they are about to use.
        Self {
            connections_max: 2_048,
            requests_max: 512,
            streams_max: 64,
            head_bytes_max: 64 * 1024,
            answer_bytes_max: 0,
            head_timeout_s: 30,
            idle_timeout_s: 120,
            answer_timeout_s: 30,
        }
    }
}
