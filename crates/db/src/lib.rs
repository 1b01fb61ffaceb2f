//! The only place with SQL: connections, transactions, migrations, one file per table group.

pub mod artifact;
pub mod artifact_views;
pub mod audit;
pub mod blob;
pub mod bucket;
pub mod collect;
mod dialect;
mod engine;
mod error;
pub mod event;
pub mod facts;
pub mod figures;
pub mod identity;
pub mod keys;
pub mod member;
pub mod merge;
mod migrate;
mod migrations;
pub mod person;
mod postgres;
pub mod project;
pub mod pull;
pub mod pulls;
pub mod quota;
pub mod registry;
pub mod repository;
pub mod restore;
pub mod robot;
mod row;
pub mod session;
mod sqlite;
pub mod tag;
pub mod tag_views;
pub mod trash;
pub mod trust;
pub mod upload;
pub mod usage;
mod value;

pub use self::{
    engine::{DatabaseUrl, Db, Engine, Options, Tx},
    error::DbError,
    migrate::{Migration, OLDEST_PROGRAM, PROGRAM},
    row::Row,
    value::{FromValue, ToValue, Value},
};
