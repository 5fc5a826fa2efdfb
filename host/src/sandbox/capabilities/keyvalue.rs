//! `wasi:keyvalue`: no store is granted, so opening one is refused, and nothing else can be reached.

use super::CallState;
use crate::sandbox::bindings::wasi::keyvalue::{atomics, batch, store};

/// An open store. There is none: no value of this type can exist.
#[derive(Debug)]
pub enum Bucket {}

mod opening {
    crate::sandbox::capabilities::gate::host_functions! { "wasi:keyvalue/store":
        OPEN = "open";
    }
}

/// The functions of `wasi:keyvalue`.
pub(crate) const FUNCTIONS: &[&[&super::gate::HostFunction]] = &[opening::ALL, BUCKET, ATOMICS, BATCH];

impl store::Host for CallState {
    async fn open(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<wasmtime::component::Resource<Bucket>, store::Error>> {
        self.refuse(opening::OPEN, Some(&name), "access-denied").await?;
        Ok(Err(store::Error::AccessDenied))
    }
}

super::unreachable_functions! {
    BUCKET = "wasi:keyvalue/store", store::HostBucket, Bucket {
        "[method]bucket.get" get(String) -> Result<Option<Vec<u8>>, store::Error>;
        "[method]bucket.set" set(String, Vec<u8>) -> Result<(), store::Error>;
        "[method]bucket.delete" delete(String) -> Result<(), store::Error>;
        "[method]bucket.exists" exists(String) -> Result<bool, store::Error>;
        "[method]bucket.list-keys" list_keys(Option<u64>) -> Result<store::KeyResponse, store::Error>;
        drop;
    }
    ATOMICS = "wasi:keyvalue/atomics", atomics::Host, Bucket {
        "increment" increment(String, u64) -> Result<u64, store::Error>;
    }
    BATCH = "wasi:keyvalue/batch", batch::Host, Bucket {
        "get-many" get_many(Vec<String>) -> Result<Vec<Option<(String, Vec<u8>)>>, store::Error>;
        "set-many" set_many(Vec<(String, Vec<u8>)>) -> Result<(), store::Error>;
        "delete-many" delete_many(Vec<String>) -> Result<(), store::Error>;
    }
}
