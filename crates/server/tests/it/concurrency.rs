//! Many at once: crowds that push the same thing, and random programs whose answers must be explainable by some order.

mod crowds;
mod moves;
mod order;
mod programs;
mod rules;
