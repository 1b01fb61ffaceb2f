//! What a bucket promises, on both kinds of storage: always on a directory, on S3 where the test kit finds one.

#[path = "storages/kinds.rs"]
mod kinds;
#[path = "storages/memory.rs"]
mod memory;
#[path = "storages/reading.rs"]
mod reading;
#[path = "storages/s3.rs"]
mod s3;
#[path = "storages/small.rs"]
mod small;
#[path = "storages/splits.rs"]
mod splits;
#[path = "storages/uploads.rs"]
mod uploads;
