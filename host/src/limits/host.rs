//! The bounds of one host: the table's, with what its admin changed.
//!
//! Plain data that is right once it is made: no default is above its ceiling, and no ceiling above the
//! table's. Read from a file by [`policy::parse`](crate::policy::parse).

use super::Limit;

/// What each limit is in one host.
///
/// A limit that grants may set has a default, for grants that are silent, and a ceiling. Any other has one
/// value: both are the same. Default: the table's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// By the order of the table.
    bounds: [Bounds; Limit::ALL.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    default: u64,
    ceiling: u64,
}

/// Why a limit can't be set so. The fault of whoever set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// It would allow nothing.
    #[error("`{limit}` is 0, which would allow nothing")]
    Zero {
        /// Which limit.
        limit: Limit,
    },
    /// It is above what this host can enforce, or above the ceiling that was set.
    #[error("`{limit}` is {value} {unit}, above the ceiling of {ceiling}", unit = limit.row().unit)]
    AboveCeiling {
        /// Which limit.
        limit: Limit,
        /// What was asked.
        value: u64,
        /// What is allowed.
        ceiling: u64,
    },
    /// No grant can set it, so it has one value and not two bounds.
    #[error("`{limit}` has one value, since no grant can set it")]
    OneValue {
        /// Which limit.
        limit: Limit,
    },
    /// Grants choose it below a ceiling, so it has two bounds and not one value.
    #[error("`{limit}` has a default and a ceiling")]
    TwoBounds {
        /// Which limit.
        limit: Limit,
    },
}

impl Default for HostLimits {
    fn default() -> Self {
        let bounds = Limit::ALL.map(|limit| {
            let row = limit.row();
            let ceiling = if limit.has_two_bounds() { row.ceiling } else { row.default };
            Bounds { default: row.default, ceiling }
        });
        Self { bounds }
    }
}

impl HostLimits {
    /// The value where no grant says otherwise.
    pub fn default_of(&self, limit: Limit) -> u64 {
        self.bounds[limit as usize].default
    }

    /// The most that a grant may give; for a limit that no grant can set, its value.
    pub fn ceiling_of(&self, limit: Limit) -> u64 {
        self.bounds[limit as usize].ceiling
    }

    /// Sets a limit that no grant can set, such as [`Limit::CompileTime`].
    ///
    /// # Errors
    /// If it is 0 or above the table's ceiling, or if grants may set it.
    pub fn set_value(&mut self, limit: Limit, value: u64) -> Result<(), SettingError> {
        if limit.has_two_bounds() {
            return Err(SettingError::TwoBounds { limit });
        }
        let value = checked(limit, value, limit.row().ceiling)?;
        self.bounds[limit as usize] = Bounds { default: value, ceiling: value };
        Ok(())
    }

    /// Sets the most that a grant may give. A default above it comes down to it.
    ///
    /// # Errors
    /// If it is 0 or above the table's ceiling, or if no grant can set the limit.
    pub fn set_ceiling(&mut self, limit: Limit, ceiling: u64) -> Result<(), SettingError> {
        if !limit.has_two_bounds() {
            return Err(SettingError::OneValue { limit });
        }
        let ceiling = checked(limit, ceiling, limit.row().ceiling)?;
        let default = self.default_of(limit).min(ceiling);
        self.bounds[limit as usize] = Bounds { default, ceiling };
        Ok(())
    }

    /// Sets the value where no grant says otherwise.
    ///
    /// # Errors
    /// If it is 0 or above the ceiling, or if no grant can set the limit.
    pub fn set_default(&mut self, limit: Limit, default: u64) -> Result<(), SettingError> {
        if !limit.has_two_bounds() {
            return Err(SettingError::OneValue { limit });
        }
        self.bounds[limit as usize].default = checked(limit, default, self.ceiling_of(limit))?;
        Ok(())
    }
}

fn checked(limit: Limit, value: u64, ceiling: u64) -> Result<u64, SettingError> {
    match value {
        0 => Err(SettingError::Zero { limit }),
        _ if value > ceiling => Err(SettingError::AboveCeiling { limit, value, ceiling }),
        _ => Ok(value),
    }
}
