//! The only place with SQL: connections, transactions, migrations, one file per table group.

pub mod artifact;
pub mod audit;
pub mod blob;
pub mod collect;
mod dialect;
mod engine;
mod error;
pub mod event;
pub mod facts;
pub mod keys;
pub mod member;
mod migrate;
mod migrations;
pub mod person;
mod postgres;
pub mod project;
pub mod pull;
pub mod quota;
pub mod registry;
pub mod repository;
pub mod robot;
mod row;
pub mod session;
mod sqlite;
pub mod tag;
pub mod trash;
pub mod upload;
mod value;

pub use self::{
    engine::{DatabaseUrl, Db, Engine, Options, Tx},
    error::DbError,
    migrate::{Migration, OLDEST_PROGRAM, PROGRAM},
    row::Row,
    value::{FromValue, ToValue, Value},
};
