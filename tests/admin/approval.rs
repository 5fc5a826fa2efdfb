//! Case 106: what was approved is what is loaded, whatever is added, approved and swapped meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portcullis::gateway::Approval;

use super::*;

/// A tool that answers with its own number.
fn numbered(number: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m (func (export "run") (result i32) (i32.const {number})))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).expect("valid")
}

/// The file whose name begins with the digest, in a folder of the data folder.
fn file_of(world: &World, folder: &str, digest: PackageDigest) -> PathBuf {
    fn find(folder: &Path, start: &str) -> Option<PathBuf> {
        std::fs::read_dir(folder).expect("a folder").find_map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                return find(&path, start);
            }
            path.file_name()?.to_str()?.starts_with(start).then_some(path)
        })
    }
    let folder = world.temporary.path().join("data").join(folder);
    find(&folder, &digest.hex()).expect("it is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_swapped_on_the_disk_are_neither_approved_nor_run() {
    let world = world(&[]).await;
    let admin = local_admin();
    let digest = world.register("tool", numbered(1)).await.expect("registered");
    let path = file_of(&world, "packages", digest);
    let whole = std::fs::read(&path).expect("there");
    std::fs::write(&path, numbered(2)).expect("swapped");
    let refused = world.host.approve(&admin, &id("tool"), Some(digest)).await;
    assert!(matches!(refused, Err(HostError::Registry(RegistryError::Altered { .. }))), "{refused:?}");
    assert_eq!(events(&world, |event| matches!(event, Event::PackageApproved { .. })), 0);

    std::fs::write(&path, &whole).expect("as it was");
    world.host.approve(&admin, &id("tool"), Some(digest)).await.expect("its twin");
    world.grant(&limited("tool", LONG)).await;
    // Swapped after the approval, with nothing compiled left.
    std::fs::write(&path, numbered(2)).expect("swapped");
    std::fs::remove_file(file_of(&world, "artifacts", digest)).expect("removed");
    let world = restarted(world).await;
    let failed = world.call("tool", "run", json!({})).await.expect_err("neither the one nor the other runs");
    assert!(matches!(failed, CallError::Host(_)), "{failed:?}");
    std::fs::write(&path, &whole).expect("as it was");
    assert_eq!(world.value("tool", "run", json!({})).await, json!(1));
}

/// Two admins approve different bytes while others are added and agents call: the log's last approval is what
/// is approved, and no call ran bytes that were not approved when it was admitted.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_recorded_approval_is_what_runs() {
    let world = world(&[]).await;
    let digests: BTreeMap<PackageDigest, u32> =
        (0..4).map(|number| (PackageDigest::of(&numbered(number)), number)).collect();
    for number in 0..2 {
        world.register("tool", numbered(number)).await.expect("registered");
    }
    let first = PackageDigest::of(&numbered(0));
    world.host.approve(&local_admin(), &id("tool"), Some(first)).await.expect("approved");
    let admins = [0, 1].map(|number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let digest = PackageDigest::of(&numbered(number));
            for _ in 0..12 {
                let wanted = Approval { digest: Some(digest), downgrade: true, ..Approval::default() };
                world.host.approve_as(&local_admin(), &id("tool"), wanted).await.expect("approved");
                // Grants of the other's bytes give nothing; each admin grants anew, and may come too late.
                drop(world.try_grant(&limited("tool", LONG)).await);
            }
        })
    });
    let author = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            for number in 2..4 {
                world.register("tool", numbered(number)).await.expect("registered");
            }
        }
    });
    let agent = tokio::spawn({
        let (world, digests) = (Arc::clone(&world), digests.clone());
        async move {
            for _ in 0..200 {
                match world.call("tool", "run", json!({})).await {
                    Ok(answer) => {
                        let number = digests[&answer.report.digest];
                        assert_eq!(answer.answer.structured, Some(json!(number)), "the bytes that it names");
                    }
                    Err(CallError::Denied {
                        denial: Denial::OtherBytes { .. } | Denial::NotGranted { .. },
                        ..
                    }) => {}
                    Err(CallError::Failed { error: InvokeError::Stopped(_), .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    });
    for task in admins.into_iter().chain([author, agent]) {
        timeout(PATIENCE, task).await.expect("it ends").expect("no other error");
    }
    let mut approved: Vec<PackageDigest> = Vec::new();
    for record in world.all_records() {
        match record.event {
            Event::PackageApproved { digest, .. } => approved.push(digest),
            // It may have been judged just before the last approval, never by one that is yet to come.
            Event::CallAdmitted { context, .. } => assert!(approved.contains(&context.digest), "{context:?}"),
            _ => {}
        }
    }
    let last = *approved.last().expect("approvals");
    let packages = world.host.package(&id("tool")).await.expect("there");
    let in_force: Vec<PackageDigest> = packages
        .iter()
        .filter(|details| details.package.state == portcullis::database::PackageState::Approved)
        .map(|details| details.package.digest)
        .collect();
    assert_eq!(in_force, [last]);
    world.grant(&limited("tool", LONG)).await;
    assert_eq!(world.value("tool", "run", json!({})).await, json!(digests[&last]));
    let world = restarted(world).await;
    assert_eq!(world.value("tool", "run", json!({})).await, json!(digests[&last]));
}
