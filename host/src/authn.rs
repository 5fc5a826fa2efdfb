//! Who is asking: from a credential to a principal.
//!
//! In this version there is one credential: being able to open the data folder, or its owner's socket,
//! which only the user who runs the host can. Whoever can is the admin, and may call tools in the name
//! of any agent. Keys and tokens come with the network API.

use crate::ids::PrincipalId;

/// The name under which the admin's own actions are recorded.
const LOCAL_ADMIN: &str = "local-admin";

/// The principal of whoever can open the data folder.
pub fn local_admin() -> PrincipalId {
    LOCAL_ADMIN.parse().expect("the constant is a valid name")
}
