//! How much a principal, or a package, may use over time, as plain data: what an admin sets beside the grants.

use std::fmt;
use std::num::NonZero;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::grant::Policy;
use crate::fairness::Weight;
use crate::ids::{PackageName, PrincipalId};
use crate::limits::Limit;

/// Whose quotas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum QuotaSubject {
    /// A principal's, over all packages.
    #[serde(rename = "of_principal")]
    Principal(PrincipalId),
    /// A package's, whoever calls it.
    #[serde(rename = "of_package")]
    Package(PackageName),
}

impl fmt::Display for QuotaSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuotaSubject::Principal(name) => write!(f, "principal {name}"),
            QuotaSubject::Package(name) => write!(f, "package {name}"),
        }
    }
}

/// What may be used within a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Calls that begin, within a minute.
    Calls,
    /// Fuel, within an hour.
    Fuel,
    /// Bytes sent over the network, within a day.
    Egress,
}

impl Resource {
    /// All.
    pub const ALL: [Resource; 3] = [Resource::Calls, Resource::Fuel, Resource::Egress];

    /// Its name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Calls => "calls",
            Resource::Fuel => "fuel",
            Resource::Egress => "egress",
        }
    }
}

/// What an admin says of a principal or a package. What is not said is as the host's limits say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// How much more it is given than others where there is too little: of a package, among those that one principal
    /// calls. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Calls that run at once. Of a package: what grants say holds as well, whichever is lower. Default:
    /// [`Limit::PrincipalConcurrency`]; of a package, what grants say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// Calls that begin within any minute. Default: [`Limit::PrincipalCallsPerMinute`] or
    /// [`Limit::PackageCallsPerMinute`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls_per_minute: Option<u64>,
    /// Fuel within any hour. Default: [`Limit::PrincipalFuelPerHour`] or [`Limit::PackageFuelPerHour`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_per_hour: Option<u64>,
    /// Bytes of HTTP requests and sockets that leave within any day. Default: [`Limit::PrincipalEgressPerDay`] or
    /// [`Limit::PackageEgressPerDay`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_per_day: Option<u64>,
}

/// What is said anew: absent stays as it is, null is taken away (as in RFC 7396).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotasChange {
    /// [`Quotas::weight`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    #[schemars(with = "Option<Weight>")]
    pub weight: Option<Option<Weight>>,
    /// [`Quotas::concurrency`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    #[schemars(with = "Option<NonZero<u64>>")]
    pub concurrency: Option<Option<u64>>,
    /// [`Quotas::calls_per_minute`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    #[schemars(with = "Option<NonZero<u64>>")]
    pub calls_per_minute: Option<Option<u64>>,
    /// [`Quotas::fuel_per_hour`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    #[schemars(with = "Option<NonZero<u64>>")]
    pub fuel_per_hour: Option<Option<u64>>,
    /// [`Quotas::egress_per_day`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
    #[schemars(with = "Option<NonZero<u64>>")]
    pub egress_per_day: Option<Option<u64>>,
}

/// Tells null from what is absent.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl QuotasChange {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What holds then, where this held before.
    #[must_use]
    pub fn over(&self, before: Quotas) -> Quotas {
        Quotas {
            weight: self.weight.unwrap_or(before.weight),
            concurrency: self.concurrency.unwrap_or(before.concurrency),
            calls_per_minute: self.calls_per_minute.unwrap_or(before.calls_per_minute),
            fuel_per_hour: self.fuel_per_hour.unwrap_or(before.fuel_per_hour),
            egress_per_day: self.egress_per_day.unwrap_or(before.egress_per_day),
        }
    }
}

/// A quota that can't be set so: the admin's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is {value}; it can be 1 to {max}")]
pub struct QuotaError {
    /// Its name.
    pub name: &'static str,
    /// What was asked.
    pub value: u64,
    /// The most that is allowed.
    pub max: u64,
}

impl QuotaSubject {
    /// The limit that a resource of it has.
    pub const fn limit(&self, resource: Resource) -> Limit {
        match (self, resource) {
            (QuotaSubject::Principal(_), Resource::Calls) => Limit::PrincipalCallsPerMinute,
            (QuotaSubject::Principal(_), Resource::Fuel) => Limit::PrincipalFuelPerHour,
            (QuotaSubject::Principal(_), Resource::Egress) => Limit::PrincipalEgressPerDay,
            (QuotaSubject::Package(_), Resource::Calls) => Limit::PackageCallsPerMinute,
            (QuotaSubject::Package(_), Resource::Fuel) => Limit::PackageFuelPerHour,
            (QuotaSubject::Package(_), Resource::Egress) => Limit::PackageEgressPerDay,
        }
    }
}

impl Quotas {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is said of a resource.
    pub const fn of(&self, resource: Resource) -> Option<u64> {
        match resource {
            Resource::Calls => self.calls_per_minute,
            Resource::Fuel => self.fuel_per_hour,
            Resource::Egress => self.egress_per_day,
        }
    }

    /// Holds them against the ceilings of the table of [`limits`](crate::limits).
    ///
    /// # Errors
    /// The first that is 0 or above its ceiling.
    pub fn check(&self, subject: &QuotaSubject) -> Result<(), QuotaError> {
        let Self { weight: _, concurrency, calls_per_minute, fuel_per_hour, egress_per_day } = *self;
        let of_concurrency = match subject {
            QuotaSubject::Principal(_) => Limit::PrincipalConcurrency,
            QuotaSubject::Package(_) => Limit::Concurrency,
        };
        for (name, value, limit) in [
            ("concurrency", concurrency, of_concurrency),
            ("calls_per_minute", calls_per_minute, subject.limit(Resource::Calls)),
            ("fuel_per_hour", fuel_per_hour, subject.limit(Resource::Fuel)),
            ("egress_per_day", egress_per_day, subject.limit(Resource::Egress)),
        ] {
            let max = limit.row().ceiling;
            if let Some(value) = value.filter(|value| !(1..=max).contains(value)) {
                return Err(QuotaError { name, value, max });
            }
        }
        Ok(())
    }
}

impl Policy {
    /// What an admin has said of a principal or a package.
    pub fn quotas_of(&self, subject: &QuotaSubject) -> Quotas {
        self.quotas.get(subject).copied().unwrap_or_default()
    }
}
