//! The JSON Schema of a record (2020-12): what `docs/audit-record.schema.json` publishes, and every record of the
//! tests is held against.
//!
//! Written by hand, since what serde flattens derives to less than it is. Closed: a member that is not in here
//! makes a record invalid. A test holds each event against it.

use serde_json::{Map, Value, json};

use super::event::SettingsCause;
use crate::authn::Refused;
use crate::limits::{Limit, Usage};
use crate::policy::Role;

/// The schema.
pub fn record_schema() -> Value {
    let events = events();
    let kinds: Vec<Value> =
        events.iter().map(|event| json!({"$ref": format!("#/$defs/{}", event.name)})).collect();
    let mut definitions: Map<String, Value> =
        parts().into_iter().map(|(name, part)| (name.to_owned(), part)).collect();
    definitions.extend(events.into_iter().map(|event| (event.name.to_owned(), event.into_schema())));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:portcullis:audit-record",
        "title": "A record of Portcullis' audit log",
        "description": "One line of the log. Its bytes without the newline are a leaf of the log's tree.",
        "type": "object",
        "properties": {
            "seq": {"description": "Its place. No gaps.", "$ref": "#/$defs/count"},
            "time": {"description": "When it was made. May stand still or go back with the clock; seq never does. Of host calls it is counted on from a read of the clock within the second before.", "$ref": "#/$defs/time"},
        },
        "required": ["seq", "time", "event"],
        "oneOf": kinds,
        "unevaluatedProperties": false,
        "$defs": definitions,
    })
}

/// One kind of record.
struct Kind {
    name: &'static str,
    description: &'static str,
    /// Name, part that it is; a name that ends with `?` may be absent.
    members: Vec<(&'static str, Value)>,
    /// Parts whose members are beside its own.
    parts: &'static [&'static str],
}

impl Kind {
    fn into_schema(self) -> Value {
        let members = [("event", json!({"const": self.name}))].into_iter().chain(self.members);
        let mut schema = object(members);
        schema["description"] = self.description.into();
        if !self.parts.is_empty() {
            schema["allOf"] =
                self.parts.iter().map(|part| json!({"$ref": format!("#/$defs/{part}")})).collect();
        }
        schema
    }
}

/// An object with these members, open to those that are beside them.
fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, schema) in members {
        let plain = name.trim_end_matches('?');
        if plain == name {
            required.push(plain);
        }
        properties.insert(plain.to_owned(), schema);
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// An object with these members and no others.
fn closed(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut schema = object(members);
    schema["additionalProperties"] = false.into();
    schema
}

/// A reference to a part.
fn is(part: &str) -> Value {
    json!({"$ref": format!("#/$defs/{part}")})
}

fn array(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

fn list(part: &str) -> Value {
    json!({"type": "array", "items": is(part)})
}

fn one_of(choices: impl IntoIterator<Item = Value>) -> Value {
    json!({"oneOf": choices.into_iter().collect::<Vec<_>>()})
}

fn named(names: impl IntoIterator<Item = &'static str>) -> Value {
    json!({"enum": names.into_iter().collect::<Vec<_>>()})
}

fn constant(name: &str) -> Value {
    json!({"const": name})
}

fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

fn events() -> Vec<Kind> {
    let kind = |name, description, members: &[(&'static str, Value)], parts| Kind {
        name,
        description,
        members: members.to_vec(),
        parts,
    };
    let (text, count, call, digest) = (is("text"), is("count"), is("call"), is("digest"));
    let (package, principal, revision) = (is("package"), is("principal"), is("revision"));
    let by = ("by", principal.clone());
    let changed = ("revision", revision.clone());
    vec![
        kind(
            "host_started",
            "A host took the data folder.",
            &[("version", text.clone()), ("pid", count.clone()), ("engine?", text.clone())],
            &[],
        ),
        kind(
            "host_stopped",
            "The host let the folder go in good order.",
            &[("latest", is("time")), changed.clone()],
            &[],
        ),
        kind(
            "segment_started",
            "A segment begins, and this is its first record: what a start after a crash must know of those before.",
            &[("latest", is("time")), changed.clone(), ("open", list("open_call"))],
            &[],
        ),
        kind(
            "key_rotated",
            "From the next checkpoints on, another key signs them.",
            &[("key", text.clone()), ("by", is("principal"))],
            &[],
        ),
        kind(
            "segment_sealed",
            "A closed segment was compressed, and its plain file goes.",
            &[
                ("first", count.clone()),
                ("last", count.clone()),
                ("file", text.clone()),
                ("bytes", count.clone()),
                ("sha256", pattern("^[0-9a-f]{64}$")),
                ("text_bytes", count.clone()),
            ],
            &[],
        ),
        kind(
            "text_dropped",
            "The text of all records up to one is dropped; their hashes stay.",
            &[("through", count.clone()), ("because", named(["age", "size"]))],
            &[],
        ),
        kind(
            "segments_alarm",
            "Closed segments can't be compressed, or old text not dropped. Once, until it is done.",
            &[("reason", text.clone())],
            &[],
        ),
        kind("segments_recovered", "What could not be done with closed segments was done.", &[], &[]),
        kind(
            "outlet_alarm",
            "What goes out of the log lags beyond its bound, or is said to be not what it was. Once, until it works.",
            &[
                ("name", text.clone()),
                ("kind", named(["ship", "anchor"])),
                ("because", named(["lags", "disagrees"])),
                ("reason?", text.clone()),
            ],
            &[],
        ),
        kind(
            "outlet_recovered",
            "An outlet that was an alarm took what it was owed.",
            &[("name", text.clone()), ("kind", named(["ship", "anchor"]))],
            &[],
        ),
        kind(
            "outlet_lost",
            "Records whose text was dropped before an outlet got them. It goes on with the next.",
            &[("name", text.clone()), ("records", count.clone()), ("through", count.clone())],
            &[],
        ),
        kind(
            "recovered",
            "The log did not end well, and was mended at start.",
            &[
                ("torn_bytes", count.clone()),
                ("quarantine", json!({"type": ["string", "null"]})),
                ("interrupted", list("call")),
            ],
            &[],
        ),
        kind(
            "package_added",
            "A component was registered.",
            &[
                ("package", package.clone()),
                ("version", text.clone()),
                ("digest", digest.clone()),
                ("bytes", count.clone()),
                ("signatures?", array(pattern("^[0-9A-F]{16}$"))),
                (
                    "identities?",
                    array(json!({
                        "type": "object",
                        "properties": {"subject": text, "issuer": text},
                        "required": ["subject", "issuer"],
                        "additionalProperties": false,
                    })),
                ),
                ("source?", text.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "package_refused",
            "A component was refused at registration.",
            &[("digest", digest.clone()), ("reason", text.clone()), by.clone()],
            &[],
        ),
        kind(
            "package_approved",
            "An admin approved these bytes under this name.",
            &[
                ("package", package.clone()),
                ("digest", digest.clone()),
                ("signers?", array(text.clone())),
                ("downgrade?", json!({"type": "boolean"})),
                ("rule?", text.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "package_removed",
            "A package was removed.",
            &[
                ("package", package.clone()),
                ("digest", one_of([digest.clone(), json!({"type": "null"})])),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "artifact_refused",
            "A compiled artifact was not what this host had made, and was compiled anew.",
            &[("digest", digest.clone()), ("reason", text.clone())],
            &[],
        ),
        kind(
            "grants_changed",
            "The grants changed.",
            &[changed.clone(), ("granted", list("grant")), ("revoked", list("grant")), by.clone()],
            &[],
        ),
        kind(
            "host_frozen",
            "An admin stopped everything.",
            &[changed.clone(), ("because", text.clone()), by.clone()],
            &[],
        ),
        kind("host_thawed", "An admin let calls begin again.", &[changed.clone(), by.clone()], &[]),
        kind(
            "package_quarantined",
            "An admin forbade a package, or some bytes.",
            &[
                changed.clone(),
                ("package", package.clone()),
                ("digest?", digest.clone()),
                ("because", text.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "package_released",
            "An admin lifted a quarantine.",
            &[changed.clone(), ("package", package.clone()), ("digest?", digest.clone()), by.clone()],
            &[],
        ),
        kind(
            "principal_added",
            "An admin added a principal, or changed its role or note.",
            &[
                changed.clone(),
                ("name", principal.clone()),
                ("role", is("role")),
                ("note?", text.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "quotas_set",
            "An admin set the quotas of a principal or of a package.",
            &[
                changed.clone(),
                ("of_principal?", principal.clone()),
                ("of_package?", package.clone()),
                ("quotas", is("quotas")),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "principal_removed",
            "An admin removed a principal.",
            &[changed.clone(), ("name", principal.clone()), by.clone()],
            &[],
        ),
        kind(
            "trust_changed",
            "An admin put a trust policy in force, or went on without one.",
            &[
                changed.clone(),
                ("sha256?", pattern("^[0-9a-f]{64}$")),
                ("keys", count.clone()),
                ("revoked", count.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "secret_set",
            "An admin stored a secret, or replaced its value.",
            &[changed.clone(), ("name", is("secret")), by.clone()],
            &[],
        ),
        kind(
            "secret_removed",
            "An admin removed a secret.",
            &[changed.clone(), ("name", is("secret")), by.clone()],
            &[],
        ),
        kind(
            "api_key_created",
            "An admin made an API key.",
            &[
                changed.clone(),
                ("key", is("key_prefix")),
                ("name", principal.clone()),
                ("role", is("role")),
                ("expires?", is("time")),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "api_key_rotated",
            "An admin put an API key in the place of another, which ended.",
            &[
                changed.clone(),
                ("key", is("key_prefix")),
                ("replaces", is("key_prefix")),
                ("name", principal.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "api_key_revoked",
            "An admin ended an API key.",
            &[changed.clone(), ("key", is("key_prefix")), ("name", principal.clone()), by.clone()],
            &[],
        ),
        kind(
            "authentication_failed",
            "Somebody tried to be let in and was not. Tries of one kind within about a second are one record.",
            &[
                ("reason", named(Refused::ALL.map(Refused::name))),
                ("peer?", text.clone()),
                ("key?", is("key_prefix")),
                ("issuer?", text.clone()),
                ("tries", count.clone()),
            ],
            &[],
        ),
        kind(
            "serve_settings_read",
            "The settings by which the host is served were read, or refused.",
            &[
                ("cause", named(SettingsCause::ALL.map(SettingsCause::name))),
                ("sha256?", pattern("^[0-9a-f]{64}$")),
                ("issuers", list("text")),
                ("certificates", count.clone()),
                ("reason?", text.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "state_cleared",
            "An admin deleted all keys of a store.",
            &[
                changed.clone(),
                ("package", package.clone()),
                ("agent?", principal.clone()),
                ("store", is("store")),
                by.clone(),
            ],
            &[],
        ),
        kind(
            "evidence_opened",
            "An admin was given what opens the commitments of a call.",
            &[("call", call.clone()), ("payloads", json!({"type": "boolean"})), by.clone()],
            &[],
        ),
        kind(
            "payload_erased",
            "An admin erased what was kept whole of one call.",
            &[("call", call.clone()), by.clone()],
            &[],
        ),
        kind(
            "evidence_erased",
            "An admin erased what opens the commitments of a principal's calls.",
            &[("name", principal.clone()), ("keys", list("count")), by.clone()],
            &[],
        ),
        kind(
            "backup_taken",
            "A backup was taken, of which this is the last record that is sure to be in it.",
            std::slice::from_ref(&by),
            &[],
        ),
        kind(
            "restored",
            "The data folder was put back from a backup.",
            &[("made_at", is("time")), changed.clone(), ("record", count.clone()), by.clone()],
            &[],
        ),
        kind(
            "call_accepted",
            "A call was taken that is answered later, before who asked was told so.",
            &[
                ("call", call.clone()),
                ("principal", principal.clone()),
                ("package", package.clone()),
                ("tool", is("tool")),
                ("argument_bytes", count.clone()),
                by.clone(),
            ],
            &[],
        ),
        kind("call_cancelled", "Somebody asked a call to end.", &[("call", call.clone()), by], &[]),
        kind(
            "call_denied",
            "A call was refused before it began.",
            &[
                ("call", call.clone()),
                ("principal", principal),
                ("package", package),
                ("digest?", digest),
                ("tool", is("tool")),
                changed,
                ("parent?", call),
                ("denial", is("denial")),
            ],
            &[],
        ),
        kind(
            "calls_refused",
            "Calls were refused before they began, for want of room. Those of one kind within about a second are one record.",
            &[
                ("principal?", is("principal")),
                ("package?", is("package")),
                ("limit", is("limit")),
                ("value", count.clone()),
                ("max", count.clone()),
                ("calls", count.clone()),
            ],
            &[],
        ),
        kind(
            "call_admitted",
            "A call was allowed and is about to begin.",
            &[
                ("grants", list("grant")),
                ("argument_bytes", count.clone()),
                ("credential?", is("credential")),
                ("arguments_commitment?", is("commitment")),
                ("salt_key?", count.clone()),
            ],
            &["context"],
        ),
        kind(
            "host_call",
            "The guest called the host, without an effect on the world outside. One record, after it.",
            &[
                ("interface", text.clone()),
                ("function", text.clone()),
                ("subject?", text.clone()),
                ("fuel", count.clone()),
                ("repeats?", is("repeats")),
            ],
            &["context", "decision", "result"],
        ),
        kind(
            "effect_attempted",
            "The guest is about to change the world outside. Written before it does.",
            &[
                ("interface", text.clone()),
                ("function", text.clone()),
                ("subject?", text.clone()),
                ("bytes_out?", count.clone()),
                ("fuel", count.clone()),
            ],
            &["context", "decision"],
        ),
        kind(
            "effect_finished",
            "What came of an attempt. An attempt without one reads \"unknown\".",
            &[("attempt", count.clone())],
            &["context", "result"],
        ),
        kind(
            "secret_injected",
            "The host put a secret into a request.",
            &[("secret", is("secret")), ("into", text.clone()), ("replaced", json!({"type": "boolean"}))],
            &["context"],
        ),
        kind(
            "secret_leak",
            "A secret of the call was about to leave it.",
            &[
                ("secret", is("secret")),
                ("found_as", named(["exact", "base64", "hex", "json", "percent"])),
                ("place", text),
                ("action", named(["redacted", "refused"])),
            ],
            &["context"],
        ),
        kind(
            "call_finished",
            "A call ended. The last record of each admitted call.",
            &[
                ("records", count),
                ("records_root?", is("tree_hash")),
                ("arguments_commitment?", is("commitment")),
                ("result_commitment?", is("commitment")),
                ("usage", is("usage")),
            ],
            &["context", "ending"],
        ),
    ]
}

fn parts() -> Vec<(&'static str, Value)> {
    let name = |more: &str| pattern(&format!("^[A-Za-z0-9][A-Za-z0-9{more}]{{0,63}}$"));
    let usage = serde_json::to_value(Usage::default()).expect("numbers");
    let usage_names: Vec<&String> = usage.as_object().expect("an object").keys().collect();
    let usage = json!({
        "type": "object",
        "properties": usage_names.iter().map(|name| ((*name).clone(), is("count"))).collect::<Map<_, _>>(),
        // Absent in older logs.
        "required": usage_names.iter().filter(|name| **name != "queue_time_us").collect::<Vec<_>>(),
        "additionalProperties": false,
    });
    vec![
        ("text", json!({"type": "string"})),
        ("count", json!({"type": "integer", "minimum": 0})),
        ("time", json!({"type": "string", "format": "date-time"})),
        ("call", pattern("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")),
        ("trace", pattern("^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")),
        ("digest", pattern("^sha256:[0-9a-f]{64}$")),
        ("commitment", pattern("^hmac-sha256:[0-9a-f]{64}$")),
        ("tree_hash", pattern("^[A-Za-z0-9+/]{43}=$")),
        ("package", pattern("^[a-z0-9][a-z0-9-]{0,63}$")),
        ("tool", name("_-")),
        ("principal", name("._@-")),
        ("store", name("._-")),
        ("secret", pattern("^[a-z0-9][a-z0-9._-]{0,63}$")),
        ("revision", is("count")),
        ("grant", is("count")),
        ("key_prefix", pattern("^pcl_[0-9a-f]{12}$")),
        (
            "credential",
            one_of([
                closed([("key", is("key_prefix"))]),
                closed([("issuer", is("text"))]),
                closed([("certificate", pattern("^[0-9a-f]{64}$"))]),
            ]),
        ),
        ("role", named(Role::ALL.map(Role::name))),
        ("limit", named(Limit::ALL.map(Limit::name))),
        ("usage", usage),
        (
            "quotas",
            closed([
                ("weight?", json!({"type": "integer", "minimum": 1, "maximum": 100})),
                ("concurrency?", is("count")),
                ("calls_per_minute?", is("count")),
                ("fuel_per_hour?", is("count")),
                ("egress_per_day?", is("count")),
            ]),
        ),
        ("repeats", closed([("count", json!({"type": "integer", "minimum": 2})), ("until", is("time"))])),
        (
            "context",
            object([
                ("call", is("call")),
                ("principal", is("principal")),
                ("package", is("package")),
                ("digest", is("digest")),
                ("tool", is("tool")),
                ("revision", is("revision")),
                ("parent?", is("call")),
                ("trace?", is("trace")),
            ]),
        ),
        ("open_call", {
            let mut open = object([
                ("records", is("count")),
                ("roots", list("tree_hash")),
                ("arguments_commitment?", is("commitment")),
            ]);
            open["allOf"] = json!([is("context")]);
            open["unevaluatedProperties"] = false.into();
            open
        }),
        ("decision", object([("decision", named(["allowed", "denied"])), ("rule", is("text"))])),
        (
            "result",
            json!({"allOf": [
                object([
                    ("status?", json!({"type": "integer", "minimum": 0, "maximum": 65_535})),
                    ("bytes_in?", is("count")),
                    ("bytes_out?", is("count")),
                    ("duration_ns", is("count")),
                ]),
                one_of([
                    object([("outcome", named(["ok", "unknown"]))]),
                    object([("outcome", named(["error", "trapped"])), ("error", is("text"))]),
                ]),
            ]}),
        ),
        (
            "ending",
            one_of([
                object([("outcome", named(["ok", "cancelled", "interrupted"]))]),
                object([
                    ("outcome", named(["tool_error", "bad_input", "host_fault"])),
                    ("message", is("text")),
                ]),
                object([
                    ("outcome", constant("limit_reached")),
                    ("limit", is("limit")),
                    ("value", is("count")),
                    ("max", is("count")),
                ]),
                object([("outcome", constant("stopped")), ("stop", is("stop"))]),
                object([("outcome", constant("withheld")), ("secret", is("secret"))]),
            ]),
        ),
        (
            "stop",
            one_of([
                closed([("why", constant("denied")), ("revision", is("revision")), ("denial", is("denial"))]),
                closed([("why", constant("narrowed")), ("revision", is("revision")), ("lost", is("loss"))]),
                closed([("why", constant("credential_revoked")), ("revision", is("revision"))]),
            ]),
        ),
        ("denial", denial()),
        ("loss", loss()),
    ]
}

fn denial() -> Value {
    let reason = |name, members: &[(&'static str, Value)]| {
        closed([("reason", constant(name))].into_iter().chain(members.iter().cloned()))
    };
    let (package, principal) = (("package", is("package")), ("principal", is("principal")));
    one_of([
        reason("frozen", &[("because", is("text"))]),
        reason("principal_removed", std::slice::from_ref(&principal)),
        reason("not_an_agent", &[principal.clone(), ("role", is("role"))]),
        reason(
            "quarantined",
            &[
                package.clone(),
                ("digest?", one_of([is("digest"), json!({"type": "null"})])),
                ("because", is("text")),
            ],
        ),
        reason("untrusted", &[package.clone(), ("digest", is("digest")), ("because", is("text"))]),
        reason("not_approved", std::slice::from_ref(&package)),
        reason("not_granted", &[package.clone(), principal.clone()]),
        reason("tool_not_granted", &[package.clone(), principal, ("tool", is("tool"))]),
        reason("other_bytes", &[package]),
        reason("expired", &[("grant", is("grant")), ("expires", is("time"))]),
    ])
}

fn loss() -> Value {
    let power = |name, members: &[(&'static str, Value)]| {
        closed([("power", constant(name))].into_iter().chain(members.iter().cloned()))
    };
    let from_to = [("from", is("count")), ("to", is("count"))];
    let [from, to] = from_to;
    let path = ("guest_path", is("text"));
    one_of([
        power("call", &[]),
        power("folder", std::slice::from_ref(&path)),
        power("write", std::slice::from_ref(&path)),
        power("quota", &[path, ("limit", is("limit")), from.clone(), to.clone()]),
        power("rule", &[("rule", is("text"))]),
        power("secret", &[("name", is("secret"))]),
        power("clock", &[("to", closed([("resolution_ms", is("count"))]))]),
        power("limit", &[("limit", is("limit")), from, to]),
    ])
}
