//! What operators have: numbers for Prometheus with rules and a dashboard for them, and the rest of what tells them how
//! their nodes are.

mod doctor;
mod openapi;
mod prometheus;
mod service;
