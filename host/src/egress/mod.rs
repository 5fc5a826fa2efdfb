//! What leaves the host leaves through here: the judge of URLs and addresses, and the one connector.
//!
//! A name is resolved once, every address that it has is judged, and the connection goes to a judged
//! address: nothing is looked up a second time between the judgement and the connection. Requests of
//! guests come through here, and so will registries, log sinks and key sets. It knows neither grants
//! nor the log, asks no proxy and reads no proxy's name from the environment.
//!
//! | part | its one job |
//! | --- | --- |
//! | `url` | one parser, for the judge and for the sender |
//! | `host_pattern`, `path_pattern` | what rules write of hosts and paths |
//! | `address` | which addresses may be connected to |
//! | `resolver` | names to addresses: the system's, or a test's |
//! | `connect` | the connection: judged addresses, deadlines, TLS |
//! | `message` | what a head may say: framing is never the guest's |
//! | `client`, `body`, `pool`, `traffic` | one request and its answer, over HTTP/1.1 or HTTP/2 |

mod address;
mod body;
mod client;
mod connect;
mod error;
mod host_pattern;
mod message;
mod path_pattern;
mod pool;
mod resolver;
mod stand_in;
mod traffic;
mod url;

pub use address::{AddressClass, RefusedAddress, classify, judge_address};
pub use body::{AnswerBody, SentBody};
pub use client::{Client, ExchangeDeadlines, OutboundRequest};
pub use connect::{Deadlines, Protocol, Roots, RootsError, Tls, connect, resolve_judged};
pub use error::{EgressError, Phase};
pub use host_pattern::{HostPattern, HostPatternError};
pub use message::{
    FIELDS_MAX, REQUEST_HEAD_BYTES_MAX, RequestFault, check_request, is_forbidden_field, request_head_bytes,
};
pub use path_pattern::{PathPattern, PathPatternError};
pub use resolver::{ADDRESSES_MAX, Resolver, Resolving, SystemResolver};
pub use stand_in::{StandIn, StoodInRequest};
pub use traffic::{ExchangeBytes, Meter, Traffic, Unmetered};
pub use url::{CanonicalUrl, Scheme, URL_BYTES_MAX, UrlError, UrlHost};

#[cfg(test)]
mod tests;
