//! The records of one call, from *admitted* to *finished*.
