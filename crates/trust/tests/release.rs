//! Promise: a release counts only if the node's own channel lists it, its bytes are the signed
//! ones, and it was made for this kind of node.
#![allow(clippy::unwrap_used)] // a helper that cannot go on panics, as its test would

mod support;

use support::{Client, Key, NOW, Repo};
use twinroot_trust::digest::Digest;
use twinroot_trust::keys::KeyPolicy;
use twinroot_trust::manifest::Manifest;
use twinroot_trust::policy::RolloutPolicy;
use twinroot_trust::release::{
    Identity, Listed, PolicyPath, Release, ReleaseError, ReleasePath, SavedRelease,
    channel_releases, rollout_target,
};
use twinroot_trust::time::UnixTime;
use twinroot_trust::tuf::{Expiry, Verified, Workflow, prove_target};

const FULL: &str = include_str!("fixtures/manifest/schema-1/full.toml");
const STABLE: &str = include_str!("fixtures/policy/schema-1/stable.toml");

fn node() -> Identity {
    Identity {
        product: "container-host".parse().unwrap(),
        variant: Some("edge-site".parse().unwrap()),
        architecture: "x86-64".parse().unwrap(),
        channel: "stable".parse().unwrap(),
    }
}

fn path(channel: &str, version: &str) -> String {
    format!("channels/{channel}/container-host/x86-64/{version}/manifest.toml")
}

fn manifest(version: &str) -> Vec<u8> {
    assert!(FULL.contains("\"2026.11.2\""));
    FULL.replacen("2026.11.2", version, 1).into_bytes()
}

/// Channels `stable` (2 of 3) and `beta` (1 of 1) and the rollout role, with a release in stable.
fn repository() -> Repo {
    let mut repo = Repo::new();
    repo.delegate(
        "targets",
        "channel-stable",
        &[10, 11, 12].map(Key::new),
        2,
        &["channels/stable/*/*/*/manifest.toml"],
        true,
    );
    repo.delegate(
        "targets",
        "channel-beta",
        &[Key::new(13)],
        1,
        &["channels/beta/*/*/*/manifest.toml"],
        true,
    );
    repo.delegate(
        "targets",
        "rollout",
        &[Key::new(14)],
        1,
        &["rollout/*/*/*.toml"],
        true,
    );
    repo.add_target(
        "channel-stable",
        &path("stable", "2026.11.2"),
        &manifest("2026.11.2"),
    );
    repo.add_target(
        "rollout",
        "rollout/container-host/x86-64/stable.toml",
        STABLE.as_bytes(),
    );
    repo.publish();
    repo
}

fn trusting(repo: &Repo, roles: &[&str]) -> Workflow {
    let mut client = Client::of(repo);
    let (mut flow, _) = client.try_refresh(repo).expect("the repository is good");
    for role in roles {
        flow.trust_role(role).expect("targets delegates to it");
        client
            .drive(&mut flow, &repo.files)
            .expect("the role is good");
    }
    flow
}

fn listed(repo: &Repo) -> Result<Vec<Verified<Listed>>, ReleaseError> {
    channel_releases(trusting(repo, &["channel-stable"]).trusted(), &node())
}

fn versions(repo: &Repo) -> Vec<String> {
    listed(repo)
        .unwrap()
        .iter()
        .map(|release| release.path.version.to_string())
        .collect()
}

fn admitted(
    repo: &Repo,
    bytes: &[u8],
    identity: &Identity,
) -> Result<Verified<Release>, ReleaseError> {
    let listed = listed(repo).unwrap();
    Release::admit(
        listed.last().expect("a release is listed"),
        bytes.to_vec(),
        identity,
    )
}

#[test]
fn a_release_of_the_nodes_own_channel_is_admitted() {
    let repo = repository();
    let release = admitted(&repo, &manifest("2026.11.2"), &node()).unwrap();
    assert_eq!(
        release.manifest,
        Manifest::parse(&manifest("2026.11.2")).unwrap()
    );
    assert_eq!(release.id, Digest::of(&manifest("2026.11.2")));
    assert_eq!(release.path.to_string(), path("stable", "2026.11.2"));
}

#[test]
fn releases_are_listed_in_the_order_of_their_versions() {
    let mut repo = repository();
    for version in ["2026.9.0", "2026.11.10", "2026.11.2~rc1"] {
        repo.add_target(
            "channel-stable",
            &path("stable", version),
            &manifest(version),
        );
    }
    repo.publish();
    assert_eq!(
        versions(&repo),
        ["2026.9.0", "2026.11.2~rc1", "2026.11.2", "2026.11.10"]
    );
}

#[test]
fn what_other_roles_list_under_the_channels_paths_does_not_count() {
    let mut repo = repository();
    let evil = manifest("2026.12.0");
    repo.add_target("targets", &path("stable", "2026.12.0"), &evil);
    repo.add_target(
        "channel-beta",
        &path("stable", "2026.12.1"),
        &manifest("2026.12.1"),
    );
    repo.add_target(
        "channel-beta",
        &path("beta", "2026.12.2"),
        &manifest("2026.12.2"),
    );
    repo.add_target(
        "rollout",
        &path("stable", "2026.12.3"),
        &manifest("2026.12.3"),
    );
    repo.publish();
    assert_eq!(versions(&repo), ["2026.11.2"]);
    let flow = trusting(&repo, &["channel-beta", "rollout", "channel-stable"]);
    assert_eq!(channel_releases(flow.trusted(), &node()).unwrap().len(), 1);
}

/// The same path listed by an earlier role, with other bytes: a plain TUF search finds the other
/// role's, the node does not.
#[test]
fn a_channel_cannot_shadow_another_channels_release() {
    let mut repo = repository();
    let name = path("stable", "2026.11.2");
    repo.add_target("targets", &name, b"something else");
    repo.publish();
    let found = Client::of(&repo).find(&repo, &name).unwrap().unwrap();
    assert_eq!(found.hashes.sha256, Some(Digest::of(b"something else")));
    let listed = listed(&repo).unwrap();
    assert_eq!(
        listed[0].manifest.hashes.sha256,
        Some(Digest::of(&manifest("2026.11.2")))
    );
}

#[test]
fn names_that_are_no_release_for_this_node_are_left_out() {
    let mut repo = repository();
    for other in [
        "channels/stable/container-host/arm64/2026.12.0/manifest.toml",
        "channels/stable/database-host/x86-64/2026.12.0/manifest.toml",
        "channels/stable/container-host/x86-64/../manifest.toml",
        "channels/stable/container-host/x86-64/2026.12.0/manifest.toml.sig",
        "channels/stable/container-host/x86-64/2026.12.0",
        "channels/beta/container-host/x86-64/2026.12.0/manifest.toml",
    ] {
        repo.add_target("channel-stable", other, &manifest("2026.12.0"));
    }
    repo.publish();
    assert_eq!(versions(&repo), ["2026.11.2"]);
}

#[test]
fn a_release_outside_the_channels_delegated_paths_does_not_count() {
    let mut repo = repository();
    repo.delegation("targets", "channel-stable").insert(
        "paths",
        twinroot_trust::json::Value::from_iter(["channels/stable/other/*/*/manifest.toml"]),
    );
    repo.publish();
    assert!(versions(&repo).is_empty());
}

#[test]
fn two_versions_that_compare_as_equal_are_refused() {
    let mut repo = repository();
    repo.add_target(
        "channel-stable",
        &path("stable", "2026.11.02"),
        &manifest("2026.11.02"),
    );
    repo.publish();
    assert_eq!(
        listed(&repo).map(|_| ()).expect_err("ambiguous").code(),
        "ambiguous-version"
    );
}

#[test]
fn bytes_other_than_the_signed_ones_are_no_release() {
    let repo = repository();
    let good = manifest("2026.11.2");
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert_eq!(
            admitted(&repo, &bytes, &node())
                .expect_err("changed")
                .code(),
            "wrong-digest"
        );
    }
    assert_eq!(
        admitted(&repo, &good[1..], &node())
            .expect_err("short")
            .code(),
        "wrong-length"
    );
    assert_eq!(
        admitted(&repo, &[&good[..], b"\n"].concat(), &node())
            .expect_err("long")
            .code(),
        "wrong-length"
    );
}

/// Valid metadata, signed by the right keys, for something that this node is not.
#[test]
fn a_release_for_another_product_variant_architecture_or_version_is_refused() {
    let cases = [
        (
            "product = \"container-host\"",
            "product = \"database-host\"",
            "product",
        ),
        (
            "variant = \"edge-site\"",
            "variant = \"core-site\"",
            "variant",
        ),
        ("variant = \"edge-site\"\n", "", "variant"),
        (
            "architecture = \"x86-64\"",
            "architecture = \"arm64\"",
            "architecture",
        ),
        (
            "version = \"2026.11.2\"",
            "version = \"2026.11.3\"",
            "version",
        ),
        (
            "version = \"2026.11.2\"",
            "version = \"2026.11.02\"",
            "version",
        ),
    ];
    for (from, to, what) in cases {
        assert!(FULL.contains(from));
        let bytes = FULL.replacen(from, to, 1).into_bytes();
        let mut repo = repository();
        repo.add_target("channel-stable", &path("stable", "2026.11.2"), &bytes);
        repo.publish();
        let error = admitted(&repo, &bytes, &node()).expect_err(to);
        assert_eq!(error.code(), "wrong-software", "{to}: {error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let mut other = node();
    other.channel = "beta".parse().unwrap();
    let error = admitted(&repository(), &manifest("2026.11.2"), &other).expect_err("channel");
    assert_eq!(error.code(), "wrong-software");
}

#[test]
fn a_channel_that_does_not_exist_or_is_not_loaded_is_named() {
    let repo = repository();
    let flow = trusting(&repo, &[]);
    assert_eq!(
        channel_releases(flow.trusted(), &node())
            .expect_err("not loaded")
            .code(),
        "metadata-out-of-order"
    );
    let mut other = node();
    other.channel = "nightly".parse().unwrap();
    let error = channel_releases(flow.trusted(), &other).expect_err("no such channel");
    assert_eq!(error.code(), "channel-unknown");
    assert!(error.to_string().contains("channel-nightly"));
    let mut flow = trusting(&repo, &[]);
    assert_eq!(
        flow.trust_role("channel-nightly")
            .expect_err("no such role")
            .code(),
        "not-delegated"
    );
}

#[test]
fn the_rollout_policy_comes_from_its_own_role_and_speaks_of_its_own_channel() {
    let mut repo = repository();
    let read = |repo: &Repo, bytes: &str| {
        let flow = trusting(repo, &["rollout"]);
        let target = rollout_target(flow.trusted(), &node())
            .unwrap()
            .expect("a policy is listed");
        RolloutPolicy::read(&prove_target(&target, bytes.into()).unwrap())
    };
    let policy = read(&repo, STABLE).unwrap();
    assert_eq!(
        policy.check_within(&Manifest::parse(&manifest("2026.11.2")).unwrap()),
        Ok(())
    );
    let beta = STABLE.replace("\"stable\"", "\"beta\"");
    repo.add_target(
        "rollout",
        "rollout/container-host/x86-64/stable.toml",
        beta.as_bytes(),
    );
    repo.publish();
    assert_eq!(
        read(&repo, &beta).expect_err("another channel's").code(),
        "wrong-software"
    );
    // Whatever the top-level role lists under that name, the rollout role decides.
    let mut repo = repository();
    repo.add_target(
        "targets",
        "rollout/container-host/x86-64/stable.toml",
        b"evil",
    );
    repo.publish();
    assert!(read(&repo, STABLE).is_ok());
    let mut elsewhere = node();
    elsewhere.architecture = "arm64".parse().unwrap();
    assert!(
        rollout_target(trusting(&repo, &["rollout"]).trusted(), &elsewhere)
            .unwrap()
            .is_none()
    );
}

fn saved(repo: &mut Repo) -> SavedRelease {
    SavedRelease {
        roots: vec![],
        timestamp: repo.timestamp.bytes(),
        snapshot: repo.snapshot.bytes(),
        targets: repo.doc("targets").bytes(),
        channel: repo.doc("channel-stable").bytes(),
        version: "2026.11.2".parse().unwrap(),
        manifest: manifest("2026.11.2"),
    }
}

#[test]
fn a_saved_release_is_proven_again_from_its_bytes() {
    let mut repo = repository();
    let anchor = repo.root.bytes();
    let prove =
        |saved: &SavedRelease, expiry| saved.prove(&anchor, &node(), expiry, KeyPolicy::node());
    let good = saved(&mut repo);
    let release = prove(&good, Expiry::Judged(NOW)).unwrap();
    assert_eq!(
        release,
        admitted(&repo, &manifest("2026.11.2"), &node()).unwrap()
    );
    // Expired since: only judged where the caller asks for it.
    let later = UnixTime(4_100_000_000);
    assert_eq!(
        prove(&good, Expiry::Judged(later))
            .expect_err("2099")
            .code(),
        "metadata-expired"
    );
    assert!(prove(&good, Expiry::NotJudged).is_ok());
    // No byte of what was kept can be changed.
    let parts: [fn(&mut SavedRelease) -> &mut Vec<u8>; 5] = [
        |s| &mut s.timestamp,
        |s| &mut s.snapshot,
        |s| &mut s.targets,
        |s| &mut s.channel,
        |s| &mut s.manifest,
    ];
    for part in parts {
        let mut bent = good.clone();
        let at = part(&mut bent).len() / 2;
        part(&mut bent)[at] ^= 1;
        assert!(prove(&bent, Expiry::NotJudged).is_err());
        part(&mut bent).clear();
        assert!(prove(&bent, Expiry::NotJudged).is_err());
    }
    let mut other = good.clone();
    other.version = "2026.11.3".parse().unwrap();
    assert_eq!(
        prove(&other, Expiry::NotJudged)
            .expect_err("not listed")
            .code(),
        "release-not-in-channel"
    );
}

#[test]
fn a_saved_release_follows_the_kept_root_chain() {
    let mut repo = repository();
    let anchor = repo.root.bytes();
    repo.bump("root");
    let second = repo.root.bytes();
    repo.bump("root");
    let mut chained = saved(&mut repo);
    chained.roots = vec![second.clone(), repo.root.bytes()];
    assert!(
        chained
            .prove(&anchor, &node(), Expiry::Judged(NOW), KeyPolicy::node())
            .is_ok()
    );
    chained.roots.swap(0, 1);
    let error = chained.prove(&anchor, &node(), Expiry::Judged(NOW), KeyPolicy::node());
    assert_eq!(error.expect_err("order").code(), "root-version-skipped");
}

#[test]
fn paths_read_back_as_written_and_nothing_else_is_a_path() {
    for good in [
        "channels/stable/container-host/x86-64/1.0/manifest.toml",
        "channels/a/b/c/1~rc1^2-3/manifest.toml",
    ] {
        assert_eq!(good.parse::<ReleasePath>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "channels/stable/p/a/1.0/manifest.toml/",
        "/channels/stable/p/a/1.0/manifest.toml",
        "channels/stable/p/a/../manifest.toml",
        "channels//p/a/1/manifest.toml",
        "channels/Stable/p/a/1/manifest.toml",
        "channels/stable/p/a/1/Manifest.toml",
        "channels/stable/p/1/manifest.toml",
        "rollout/p/a/stable.toml",
    ] {
        assert!(bad.parse::<ReleasePath>().is_err(), "{bad}");
    }
    let good = "rollout/container-host/x86-64/stable.toml";
    assert_eq!(good.parse::<PolicyPath>().unwrap().to_string(), good);
    assert_eq!(node().policy_path().to_string(), good);
    for bad in [
        "",
        "rollout/p/a/.toml",
        "rollout/p/a/stable",
        "rollout/p/stable.toml",
        "rollout/../a/stable.toml",
        "rollout/p/a/s/stable.toml",
    ] {
        assert!(bad.parse::<PolicyPath>().is_err(), "{bad}");
    }
}
