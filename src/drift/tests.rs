//! Drift from outside: counts in, verdicts out. What is drawn is seeded, so that a run is the same on every machine.

mod simulation;
mod verdicts;
