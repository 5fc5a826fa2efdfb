//! The judge against tables, against public vectors, against simpler models, and against name servers
//! and peers that lie.

mod addresses;
mod connecting;
mod exchanging;
mod patterns;
mod urls;
