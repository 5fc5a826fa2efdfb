//! Keys that let in and keys that don't, and how tries are counted.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::tries::{TRIES_MAX, WINDOW};
use super::*;
use crate::database::ApiKey;
use crate::ids::Revision;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn hasher() -> KeyHasher {
    KeyHasher::new(&[7; 32])
}

fn name(text: &str) -> PrincipalId {
    text.parse().expect("a name")
}

fn known(role: Role, standing: Standing) -> Principal {
    Principal { name: name("ann"), role, note: None, standing, by: local_admin(), since: NOW }
}

/// A key of `ann`, and the ring that holds it.
fn ring(role: Role, expires: Option<Timestamp>) -> (KeyText, KeyRing) {
    let text = KeyText::generate().expect("random numbers");
    let key = ApiKey {
        prefix: text.prefix().clone(),
        principal: name("ann"),
        role,
        expires,
        revision: Revision(1),
        made_by: local_admin(),
        made_at: NOW,
        last_used: None,
    };
    let ring = KeyRing::new(vec![(key, hasher().kept(&text))]);
    (text, ring)
}

#[test]
fn a_key_says_who_calls_and_as_what() {
    let (text, ring) = ring(Role::Agent, None);
    let caller = authenticate(text.expose(), &ring, &hasher(), NOW, |_| None).expect("let in");
    assert_eq!((caller.principal(), caller.role()), (&name("ann"), Role::Agent));
    assert_eq!(caller.key(), Some(text.prefix()));
    assert!(!caller.may_call_for_others() && Caller::owner().may_call_for_others());
}

#[test]
fn what_is_no_key_or_no_longer_one_lets_nobody_in() {
    let (text, keys) = ring(Role::Agent, Some(NOW + Duration::from_secs(1)));
    let good = text.expose();
    let refused =
        |token: &str, now| authenticate(token, &keys, &hasher(), now, |_| None).expect_err("refused").reason;
    let last = if good.ends_with('A') { 'B' } else { 'A' };
    let altered = format!("{}{last}", &good[..good.len() - 1]);
    let other = KeyText::generate().expect("random numbers");
    for (token, reason) in [
        ("", Refused::Malformed),
        ("pcl_", Refused::Malformed),
        (&good[..good.len() - 1], Refused::Malformed),
        (&format!("{good} "), Refused::Malformed),
        (&good.replace("pcl_", "PCL_"), Refused::Malformed),
        (&"é".repeat(30), Refused::Malformed),
        (&altered, Refused::Unknown),
        (other.expose(), Refused::Unknown),
    ] {
        assert_eq!(refused(token, NOW), reason, "{token}");
    }
    assert_eq!(refused(good, NOW + Duration::from_secs(1)), Refused::Expired);
    assert!(authenticate(good, &keys, &hasher(), NOW, |_| None).is_ok());
    let other_host = KeyHasher::new(&[8; 32]);
    assert!(authenticate(good, &keys, &other_host, NOW, |_| None).is_err(), "hashed with another key");
}

#[test]
fn a_key_lasts_as_long_as_its_principal_has_its_role() {
    for (role, said, expected) in [
        (Role::Agent, None, None),
        (Role::Agent, Some(known(Role::Agent, Standing::Added)), None),
        (Role::Agent, Some(known(Role::Agent, Standing::Removed)), Some(Refused::PrincipalRemoved)),
        (Role::Agent, Some(known(Role::Auditor, Standing::Added)), Some(Refused::OtherRole)),
        (Role::Admin, Some(known(Role::Admin, Standing::Added)), None),
        (Role::Admin, Some(known(Role::Agent, Standing::Added)), Some(Refused::OtherRole)),
        (Role::Admin, None, Some(Refused::OtherRole)),
    ] {
        let (text, ring) = ring(role, None);
        let result = authenticate(text.expose(), &ring, &hasher(), NOW, |_| said.as_ref());
        assert_eq!(result.err().map(|refusal| refusal.reason), expected, "{role} {said:?}");
    }
}

#[test]
fn keys_differ_and_are_not_shown() {
    let keys: Vec<KeyText> = (0..100).map(|_| KeyText::generate().expect("random numbers")).collect();
    assert_eq!(keys.iter().map(KeyText::expose).collect::<BTreeSet<_>>().len(), 100);
    let shown = format!("{:?} {:?}", keys[0], hasher());
    assert!(!shown.contains(&keys[0].expose()[17..]), "{shown}");
}

fn refusal(reason: Refused) -> Refusal {
    Refusal::from(reason)
}

#[test]
fn an_address_that_tries_too_often_must_wait_and_others_need_not() {
    let (mut tries, start) = (Tries::default(), Instant::now());
    let peer = |text: &str| text.parse::<IpAddr>().expect("an address");
    for _ in 0..TRIES_MAX {
        assert_eq!(tries.note(peer("192.0.2.1"), &refusal(Refused::Unknown), start), None);
    }
    let wait = tries.note(peer("192.0.2.1"), &refusal(Refused::Unknown), start + WINDOW / 2);
    assert_eq!(wait, Some(WINDOW / 2));
    assert_eq!(tries.note(peer("::ffff:192.0.2.1"), &refusal(Refused::Unknown), start), Some(WINDOW));
    assert_eq!(tries.note(peer("192.0.2.2"), &refusal(Refused::Unknown), start), None);
    assert_eq!(tries.note(peer("192.0.2.1"), &refusal(Refused::Unknown), start + WINDOW), None);
    for host in 0..=TRIES_MAX {
        let wait = tries.note(peer(&format!("2001:db8::{host:x}")), &refusal(Refused::Unknown), start);
        assert_eq!(wait.is_some(), host == TRIES_MAX, "one network is one peer");
    }
}

#[test]
fn very_many_addresses_share_a_count_and_a_record() {
    let (mut tries, start) = (Tries::default(), Instant::now());
    for host in 0..10_000_u32 {
        let peer = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + host));
        tries.note(peer, &refusal(Refused::Unknown), start);
    }
    let waits = tries.note("172.16.0.1".parse().expect("one"), &refusal(Refused::Expired), start);
    assert!(waits.is_some(), "the table is full, and the count of the others as well");
    let entries = tries.take();
    assert!(entries.len() <= 18, "{}", entries.len());
    assert_eq!(entries.iter().map(|entry| entry.tries).sum::<u64>(), 10_001);
    assert!(entries.iter().any(|entry| entry.peer.is_none() && entry.tries > 9_000), "{entries:?}");
    assert_eq!(tries.take(), []);
}

#[test]
fn who_asks_too_often_waits_for_its_minute_to_end_and_others_do_not() {
    let (mut rates, start) = (Rates::new(Some(3)), Instant::now());
    let (ann, bob) = (name("ann"), name("bob"));
    for _ in 0..3 {
        assert_eq!(rates.note(&ann, start), None);
    }
    assert_eq!(rates.note(&ann, start + rates::MINUTE / 4), Some(rates::MINUTE * 3 / 4));
    assert_eq!(rates.note(&bob, start), None);
    assert_eq!(rates.note(&ann, start + rates::MINUTE), None);
    let mut any = Rates::default();
    assert!((0..10_000).all(|_| any.note(&ann, start).is_none()), "no bound was said");
}
