//! Who may do what: every endpoint with every role, and none.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis::api::access::ENDPOINTS;
use portcullis::policy::Role;

use super::Door;
use crate::harness::client::Client;

/// Every route of the API is in the table, so that it has its roles, and the table has no other.
#[test]
fn every_route_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/api");
    let mut routes = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).expect("the API's sources") {
        let path = entry.expect("an entry").path();
        if !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        for part in text.split(".route(\"").skip(1) {
            routes.insert(part.split('"').next().unwrap_or_default().to_owned());
        }
    }
    let mut table: BTreeSet<String> = ENDPOINTS.iter().map(|endpoint| endpoint.path.to_owned()).collect();
    // Mounted beside the API, by what serves it.
    table.remove("/mcp");
    routes.remove("/mcp");
    assert!(routes.len() > 25, "{routes:?}");
    assert_eq!(routes, table);
}

/// The whole matrix, on a real socket: nobody without a key, nobody with another role, and whoever has the role.
#[test]
fn each_endpoint_is_for_its_roles_and_for_nobody_else() {
    let door = Door::open();
    let callers: Vec<(Role, Client)> =
        Role::ALL.into_iter().map(|role| (role, door.caller(&format!("the-{role}"), role.name()))).collect();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.path != "/mcp") {
        let target = endpoint
            .path
            .replace("{prefix}", "pcl_0123456789ab")
            .replace("{id}", "7")
            .replace("{name}", "nobody")
            .replace("{package}", "nothing")
            .replace("{store}", "none");
        let method = endpoint.method.as_str();
        let what = format!("{method} {}", endpoint.path);
        let anonymous = door.anonymous.ask(method, &target, b"");
        assert_eq!(anonymous.status == 401, !endpoint.roles.is_empty(), "{what}");
        for (role, client) in &callers {
            let answer = client.ask(method, &target, b"");
            let is_let_through = endpoint.roles.is_empty() || endpoint.roles.contains(role);
            if is_let_through {
                assert!(![401, 403, 405].contains(&answer.status), "{what} by {role}: {answer:?}");
            } else {
                assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{what} by {role}");
            }
        }
        // A method that is not in the table reaches no handler.
        let (_, admin) = callers.iter().find(|(role, _)| *role == Role::Admin).expect("one");
        let is_known = |method: &&str| {
            ENDPOINTS.iter().any(|known| known.path == endpoint.path && known.method == *method)
        };
        for other in ["PATCH", "TRACE", "PROPFIND"].into_iter().filter(|method| !is_known(method)) {
            assert_eq!(
                admin.ask(other, &target, b"").problem(),
                (405, "method-not-allowed".to_owned()),
                "{what}"
            );
        }
    }
    // What is no route is nobody's, and not even that is told without a key.
    assert_eq!(door.anonymous.get("/v1/nothing").status, 401);
    assert_eq!(door.admin.get("/v1/nothing").problem(), (404, "not-found".to_owned()));
}
