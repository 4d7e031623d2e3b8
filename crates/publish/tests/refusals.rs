//! What the publisher's side refuses, before anything of it is published.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test's helpers fail by panicking, and its input files need not survive a crash"
)]

mod common;

use std::process::Command;
use std::sync::Arc;

use common::{Store, view_with};
use tempfile::TempDir;
use twinroot_core::error::Code;
use twinroot_publish::error::Error;
use twinroot_publish::fake::{self, EDGE, NoSync, Repo, STABLE};
use twinroot_publish::init::{InitPlan, RolePlan, init};
use twinroot_publish::keys::{CommandSigner, KeyDirectory, KeyKind, Passphrase, SecretKey, Signer};
use twinroot_publish::release::Selection;
use twinroot_publish::repository::Repository;
use twinroot_publish::ring::Ring;
use twinroot_publish::rollout::OfferPlan;
use twinroot_publish::settings::Settings;
use twinroot_trust::keys::{KeyIdRule, KeyPolicy};
use twinroot_trust::policy::{Schedule, Wave};
use twinroot_trust::time::Seconds;

/// Nothing was drafted and the code is the stable one.
fn refused(repo: &Repo, outcome: Result<fake::Release, Error>, code: Code) -> Error {
    let error = outcome.expect_err("it must be refused");
    assert_eq!(error.code(), code, "{error}");
    assert!(!error.remedy().is_empty());
    assert_eq!(
        repo.repository.drafts().unwrap(),
        [""; 0],
        "nothing is drafted after a refusal"
    );
    error
}

#[test]
fn an_image_whose_uki_carries_another_root_hash_is_refused() {
    let mut repo = Repo::new(1);
    let other = TempDir::new().unwrap();
    let path = other.path().join("other.efi");
    std::fs::write(
        &path,
        fake::uki(
            &"1.0".parse().unwrap(),
            &fake::root_hash(&fake::image(9, 16)),
        ),
    )
    .unwrap();
    let outcome = repo.add(STABLE, "1.0", &fake::image(1, 16), |plan| plan.uki = path);
    let error = refused(&repo, outcome, Code::RootHashMismatch);
    assert!(error.to_string().contains("other.efi"), "{error}");
}

#[test]
fn a_uki_that_is_none_or_for_another_machine_is_refused() {
    use twinroot_core::bootfmt::pe::{Machine, build_uki};
    let mut repo = Repo::new(2);
    let dir = TempDir::new().unwrap();
    let (nonsense, arm) = (dir.path().join("nonsense.efi"), dir.path().join("arm.efi"));
    std::fs::write(&nonsense, b"MZ and nothing more").unwrap();
    let image = fake::image(1, 16);
    let cmdline = format!("roothash={}", fake::root_hash(&image));
    let sections: [(&str, &[u8]); 3] = [
        (".osrel", b"ID=x\n"),
        (".cmdline", cmdline.as_bytes()),
        (".linux", b"kernel"),
    ];
    std::fs::write(
        &arm,
        build_uki("arm", None, Machine::Arm64, &sections).unwrap(),
    )
    .unwrap();
    let outcome = repo.add(STABLE, "1.0", &image, |plan| plan.uki = nonsense);
    refused(&repo, outcome, Code::UkiInvalid);
    let outcome = repo.add(STABLE, "1.0", &image, |plan| plan.uki = arm);
    refused(&repo, outcome, Code::InputFileInvalid);
}

#[test]
fn a_tree_of_another_image_or_with_a_flipped_bit_is_refused() {
    let mut repo = Repo::new(3);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("tree.img");
    let image = fake::image(1, 300);
    let good = tree(&image);
    for at in [good.len() - 1, good.len() - 4096, 4096, 2 * 4096 + 40] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let outcome = repo.add(STABLE, "1.0", &image, |plan| plan.tree = Some(path.clone()));
        let error = outcome.expect_err("a flipped bit in the tree");
        assert!(
            matches!(
                error.code(),
                Code::InputFileInvalid | Code::RootHashMismatch
            ),
            "{at}: {error}"
        );
    }
    std::fs::write(&path, tree(&fake::image(2, 300))).unwrap();
    let outcome = repo.add(STABLE, "1.0", &image, |plan| plan.tree = Some(path.clone()));
    refused(&repo, outcome, Code::RootHashMismatch);
    std::fs::write(&path, good).unwrap();
    repo.add(STABLE, "1.0", &image, |plan| plan.tree = Some(path))
        .expect("the image's own tree is right");
}

/// The tree partition of an image, as the node's writer makes it.
fn tree(image: &[u8]) -> Vec<u8> {
    use twinroot_payload::verity::{BLOCK, Superblock, TreeBuilder, TreeShape, block_hash};
    let shape = TreeShape::for_size(image.len() as u64).unwrap();
    let mut out = vec![0; usize::try_from(shape.partition_bytes()).unwrap()];
    let mut builder = TreeBuilder::new(shape, &fake::SALT).unwrap();
    let mut put = |offset: u64, block: &[u8; BLOCK]| {
        let at = usize::try_from(offset).unwrap();
        out[at..at + BLOCK].copy_from_slice(block);
        Ok(())
    };
    for block in image.chunks(BLOCK) {
        builder
            .push(&block_hash(&fake::SALT, block), &mut put)
            .unwrap();
    }
    let root = builder.finish(&mut put).unwrap();
    out[..BLOCK].copy_from_slice(
        &Superblock::new(&shape, &fake::SALT, &root)
            .unwrap()
            .encode(),
    );
    out
}

#[test]
fn a_changed_salt_a_used_root_hash_and_a_used_version_are_refused() {
    let mut repo = Repo::new(4);
    let first = repo.release(STABLE, "1.0", &fake::image(1, 16));
    let outcome = repo.add(STABLE, "1.1", &fake::image(2, 16), |plan| {
        plan.salt = Some(vec![1; 32])
    });
    refused(&repo, outcome, Code::SaltChanged);
    // A node that denied the root hash of 1.0 would refuse 1.1 for ever.
    let outcome = repo.add(STABLE, "1.1", &first.image, |_| ());
    refused(&repo, outcome, Code::RootHashUsed);
    let outcome = repo.add(EDGE, "1.1", &first.image, |_| ());
    refused(&repo, outcome, Code::RootHashUsed);
    let outcome = repo.add(STABLE, "1.0", &fake::image(3, 16), |_| ());
    refused(&repo, outcome, Code::ReleaseExists);
    // 1.00 is the same version as 1.0.
    let outcome = repo.add(EDGE, "1.00", &fake::image(3, 16), |_| ());
    refused(&repo, outcome, Code::ReleaseExists);
    let outcome = repo.add("nightly", "1.1", &fake::image(3, 16), |_| ());
    refused(&repo, outcome, Code::ChannelUnknown);
}

#[test]
fn an_image_that_is_no_whole_number_of_blocks_is_refused() {
    let mut repo = Repo::new(5);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("short.img");
    for length in [0, 1, 4095, 4097] {
        std::fs::write(&path, vec![7; length]).unwrap();
        let outcome = repo.add(STABLE, "1.0", &fake::image(1, 1), |plan| {
            plan.image = path.clone()
        });
        refused(&repo, outcome, Code::InputFileInvalid);
    }
}

#[test]
fn a_rollout_beyond_the_limit_of_the_manifest_is_refused() {
    let mut repo = Repo::new(6);
    let hour = Seconds(3600);
    let limit = Schedule::new(vec![
        Wave {
            percent: 1,
            soak: hour,
        },
        Wave {
            percent: 100,
            soak: Seconds(0),
        },
    ])
    .unwrap();
    repo.release_with(STABLE, "1.0", &fake::image(1, 16), |plan| {
        plan.schedule = limit
    });
    let version: twinroot_trust::version::Version = "1.0".parse().unwrap();
    let mut offer = |start, schedule| {
        let plan = OfferPlan {
            version: version.clone(),
            start,
            schedule,
        };
        repo.repository.offer(STABLE, &plan, repo.now).map(drop)
    };
    let early = twinroot_trust::time::UnixTime(repo.now.0 - 1);
    assert_eq!(
        offer(Some(early), None).unwrap_err().code(),
        Code::RolloutTooWide
    );
    assert_eq!(
        offer(None, Some(Schedule::at_once())).unwrap_err().code(),
        Code::RolloutTooWide
    );
    let hasty = Schedule::new(vec![
        Wave {
            percent: 1,
            soak: Seconds(3599),
        },
        Wave {
            percent: 100,
            soak: Seconds(0),
        },
    ])
    .unwrap();
    assert_eq!(
        offer(None, Some(hasty)).unwrap_err().code(),
        Code::RolloutTooWide
    );
    let slower = Schedule::new(vec![
        Wave {
            percent: 1,
            soak: Seconds(7200),
        },
        Wave {
            percent: 50,
            soak: hour,
        },
    ])
    .unwrap();
    offer(None, Some(slower)).expect("slower and narrower is allowed");
}

#[test]
fn a_key_that_the_role_does_not_have_is_refused_before_anything_is_written() {
    let mut repo = Repo::new(7);
    repo.add(STABLE, "1.0", &fake::image(1, 16), |_| ())
        .unwrap();
    let before = std::fs::read(repo.repository.layout.draft("channel-stable")).unwrap();
    for name in ["edge-1", "root-1", "timestamp-1"] {
        let signer = repo.ring().signer(name).unwrap().unwrap();
        let error = repo
            .repository
            .sign_draft("channel-stable", &*signer)
            .unwrap_err();
        assert_eq!(error.code(), Code::SignatureUseless, "{name}");
    }
    // A command that answers with a signature over something else.
    let signature = fake::key_from_seed(7, "stable-1").sign(b"another message");
    let command = answering(&hex(&signature));
    let error = repo
        .repository
        .sign_draft("channel-stable", &command.1)
        .unwrap_err();
    assert_eq!(error.code(), Code::SignatureUseless);
    assert_eq!(
        std::fs::read(repo.repository.layout.draft("channel-stable")).unwrap(),
        before
    );
}

#[test]
fn an_external_command_signs_in_hex_or_base64_and_its_failure_is_told() {
    use base64::Engine;
    let mut repo = Repo::new(8);
    repo.add(STABLE, "1.0", &fake::image(1, 16), |_| ())
        .unwrap();
    let message = repo
        .repository
        .draft("channel-stable")
        .unwrap()
        .unwrap()
        .message();
    let sign = |name: &str| fake::key_from_seed(8, name).sign(&message);
    let in_hex = answering(&hex(&sign("stable-1")));
    assert_eq!(
        repo.repository
            .sign_draft("channel-stable", &in_hex.1)
            .unwrap(),
        "stable-1"
    );
    let in_base64 = answering(&base64::engine::general_purpose::STANDARD.encode(sign("stable-3")));
    assert_eq!(
        repo.repository
            .sign_draft("channel-stable", &in_base64.1)
            .unwrap(),
        "stable-3"
    );
    repo.publish().expect("two of three have signed");

    let command = |words: &[&str]| {
        CommandSigner::new(words.iter().map(|word| (*word).to_owned()).collect()).unwrap()
    };
    for bad in [
        command(&["false"]),
        command(&["no-such-program-here"]),
        command(&["true"]),
        command(&["echo", "??"]),
    ] {
        let error = bad.sign(b"message").unwrap_err();
        assert_eq!(error.code(), Code::SignerFailed, "{error}");
    }
}

/// A command that gives this answer whatever it is asked; the file must outlive it.
fn answering(text: &str) -> (TempDir, CommandSigner) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("answer");
    std::fs::write(&path, format!("{text}\n")).unwrap();
    let command = vec!["cat".to_owned(), path.display().to_string()];
    (dir, CommandSigner::new(command).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn p256_keys_sign_only_where_the_key_policy_allows_them() {
    for allowed in [false, true] {
        let dir = TempDir::new().unwrap();
        let keys = KeyDirectory::new(dir.path().join("keys"), Passphrase::None);
        let mut plan = plan_with_one_channel();
        plan.settings.allow_p256 = allowed;
        for name in plan.key_names() {
            let kind = if name == "stable-1" {
                KeyKind::P256
            } else {
                KeyKind::Ed25519
            };
            keys.create(name, kind).unwrap();
        }
        let made = init(
            &dir.path().join("repository"),
            &plan,
            &keys,
            Arc::new(NoSync),
            fake::BEGINNING,
        );
        if !allowed {
            assert_eq!(made.unwrap_err().code(), Code::KeyKindRefused);
            assert!(
                Repository::open(&dir.path().join("repository")).is_err(),
                "a refused `init` leaves no repository"
            );
            continue;
        }
        let mut repository = made.unwrap();
        let ring = Ring::new(Some(keys.clone()));
        sign_all(&repository, &ring);
        repository
            .release(&Selection::default(), &ring, fake::BEGINNING)
            .unwrap();
        let published = repository.layout.published();
        let anchor = std::fs::read(published.join("metadata/1.root.json")).unwrap();
        let policy = KeyPolicy {
            p256: true,
            keyid: KeyIdRule::Strict,
        };
        view_with(
            &published,
            &anchor,
            &mut Store::new(),
            fake::BEGINNING,
            policy,
        )
        .expect("a node whose image allows P-256 reads it");
        let refused = view_with(
            &published,
            &anchor,
            &mut Store::new(),
            fake::BEGINNING,
            KeyPolicy::node(),
        );
        assert!(
            refused.is_err(),
            "a node whose image does not allow P-256 refuses the channel"
        );
    }
}

fn sign_all(repository: &Repository, ring: &Ring) {
    for role in repository.drafts().unwrap() {
        for name in repository.missing_signers(&role).unwrap() {
            if let Some(signer) = ring.signer(&name).unwrap() {
                repository.sign_draft(&role, &*signer).unwrap();
            }
        }
    }
}

fn plan_with_one_channel() -> InitPlan {
    let mut plan = InitPlan::new(Settings::new(
        "product".parse().unwrap(),
        "x86-64".parse().unwrap(),
    ));
    plan.channels = vec![(
        "stable".parse().unwrap(),
        RolePlan::numbered("stable", 1, 1),
    )];
    plan
}

#[test]
fn one_key_under_two_names_does_not_count_twice() {
    let dir = TempDir::new().unwrap();
    let keys = KeyDirectory::new(dir.path().join("keys"), Passphrase::None);
    let mut plan = plan_with_one_channel();
    plan.channels = vec![(
        "stable".parse().unwrap(),
        RolePlan::numbered("stable", 2, 2),
    )];
    let same = fake::key_from_seed(1, "same");
    for name in plan.key_names() {
        if name.starts_with("stable") {
            keys.store(name, &same).unwrap();
        } else {
            keys.create(name, KeyKind::Ed25519).unwrap();
        }
    }
    let made = init(
        &dir.path().join("repository"),
        &plan,
        &keys,
        Arc::new(NoSync),
        fake::BEGINNING,
    );
    assert_eq!(made.unwrap_err().code(), Code::ThresholdUnmeetable);
}

#[test]
fn key_files_are_private_encrypted_and_open_only_with_their_passphrase() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    std::fs::write(&right, "correct horse\nsecond line is ignored\n").unwrap();
    std::fs::write(&wrong, "incorrect horse\n").unwrap();
    let keys = |file: &std::path::Path| {
        KeyDirectory::new(dir.path().join("keys"), Passphrase::File(file.to_owned()))
    };
    for kind in [KeyKind::Ed25519, KeyKind::P256] {
        let name = kind.as_str();
        let public = keys(&right).create(name, kind).unwrap();
        let path = dir.path().join("keys").join(format!("{name}.key"));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        );
        let signer = keys(&right).signer(name).unwrap();
        assert!(public.verifies(b"message", &signer.sign(b"message").unwrap()));
        assert_eq!(
            keys(&wrong).signer(name).unwrap_err().code(),
            Code::KeyUnreadable
        );
        let without = KeyDirectory::new(dir.path().join("keys"), Passphrase::None);
        assert_eq!(
            without.signer(name).unwrap_err().code(),
            Code::KeyUnreadable
        );
        assert_eq!(
            keys(&right).create(name, kind).unwrap_err().code(),
            Code::KeyExists
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let open = keys(&right).signer(name).unwrap_err();
        assert!(open.to_string().contains("640"), "{open}");
    }
    for name in ["", "../x", "a/b", ".hidden", "-option", "a b"] {
        assert!(
            keys(&right).create(name, KeyKind::Ed25519).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn key_files_are_read_and_written_by_openssl_too() {
    let dir = TempDir::new().unwrap();
    let openssl = |arguments: &[&str]| {
        Command::new("openssl")
            .args(arguments)
            .current_dir(dir.path())
            .output()
    };
    if openssl(&["version"]).is_err() {
        println!("SKIP openssl is not installed");
        return;
    }
    std::fs::write(dir.path().join("pass"), "correct horse\n").unwrap();
    let keys = KeyDirectory::new(dir.path(), Passphrase::File(dir.path().join("pass")));
    for kind in [KeyKind::Ed25519, KeyKind::P256] {
        let name = kind.as_str();
        let public = keys.create(name, kind).unwrap();
        let file = format!("{name}.key");
        let read = openssl(&["pkey", "-in", &file, "-passin", "file:pass", "-pubout"]).unwrap();
        assert!(
            read.status.success(),
            "{}",
            String::from_utf8_lossy(&read.stderr)
        );
        assert_eq!(String::from_utf8_lossy(&read.stdout), public.to_pem());
    }
    // And the other way: a key that OpenSSL made.
    for (algorithm, options) in [
        ("ed25519", &[][..]),
        ("EC", &["-pkeyopt", "ec_paramgen_curve:P-256"]),
    ] {
        let mut arguments = vec!["genpkey", "-algorithm", algorithm, "-out", "foreign.pem"];
        arguments.extend(options);
        assert!(openssl(&arguments).unwrap().status.success());
        let pem = std::fs::read_to_string(dir.path().join("foreign.pem")).unwrap();
        let secret =
            SecretKey::from_pem(&pem, None).unwrap_or_else(|why| panic!("{algorithm}: {why}"));
        let public = openssl(&["pkey", "-in", "foreign.pem", "-pubout"]).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&public.stdout),
            secret.public().to_pem()
        );
    }
}

#[test]
fn a_second_process_is_told_that_the_repository_is_locked() {
    let repo = Repo::new(9);
    let error = Repository::open(&repo.path()).unwrap_err();
    assert_eq!(error.code(), Code::LockHeld);
    let elsewhere = TempDir::new().unwrap();
    let error = Repository::open(elsewhere.path()).unwrap_err();
    assert_eq!(error.code(), Code::RepositoryMissing);
}

#[test]
fn signatures_made_on_another_machine_are_taken_only_for_the_same_draft() {
    let mut repo = Repo::new(10);
    repo.add(STABLE, "1.0", &fake::image(1, 16), |_| ())
        .unwrap();
    let role = "channel-stable";
    let mut copy = repo.repository.draft(role).unwrap().unwrap();
    let secret = fake::key_from_seed(10, "stable-2");
    copy.sign(secret.public().id(), secret.sign(&copy.message()));
    let mut useless = copy.clone();
    useless.signatures[0].bytes[3] ^= 1;
    assert_eq!(
        repo.repository
            .import_signatures(role, &useless)
            .unwrap_err()
            .code(),
        Code::SignatureUseless
    );
    assert_eq!(
        repo.repository.import_signatures(role, &copy).unwrap(),
        ["stable-2"]
    );
    // The draft changes: the old copy is of no use any more, and neither is its signature.
    repo.add(STABLE, "1.1", &fake::image(2, 16), |_| ())
        .unwrap();
    assert_eq!(
        repo.repository
            .import_signatures(role, &copy)
            .unwrap_err()
            .code(),
        Code::SignatureUseless
    );
    assert_eq!(
        repo.repository.draft_status(role).unwrap().requirements[0]
            .signed
            .len(),
        0
    );
}
