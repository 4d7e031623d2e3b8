//! Power lost between any two changes of the store: the next run ends where this one would have.

use crate::support::{Client, Repo, Stop};

/// Kills the client before its n-th change of the store, for every n, and lets it run again.
fn killed_everywhere(start: &Client, repo: &Repo) -> usize {
    let mut whole = start.clone();
    whole.update(repo).expect("the repository is good");
    for dies_before in 0.. {
        let mut client = start.clone();
        client.dies_before = Some(dies_before);
        let died = match client.try_refresh(repo) {
            Err(Stop::Died) => true,
            Ok((mut flow, _)) => {
                flow.find("d/file").unwrap();
                client.drive(&mut flow, &repo.files) == Err(Stop::Died)
            }
            Err(Stop::Refused(error)) => panic!("{error}"),
        };
        client.dies_before = None;
        client
            .update(repo)
            .unwrap_or_else(|error| panic!("after {dies_before} changes: {error}"));
        assert!(
            client.store == whole.store,
            "the store differs after {dies_before} changes"
        );
        if !died {
            return dies_before;
        }
    }
    unreachable!("the loop ends when a run survives")
}

#[test]
fn a_first_run_can_be_cut_anywhere() {
    let mut repo = Repo::with_delegation();
    let client = Client::of(&repo);
    repo.bump("root");
    repo.publish();
    assert_eq!(
        killed_everywhere(&client, &repo),
        5,
        "root, timestamp, snapshot, targets, delegated"
    );
}

#[test]
fn a_later_run_can_be_cut_anywhere_with_either_anchor() {
    let mut repo = Repo::with_delegation();
    let mut client = Client::of(&repo);
    client.update(&repo).unwrap();
    let mut image = client.clone();
    image.image = Some(repo.root.bytes());
    for _ in 0..2 {
        repo.bump("root");
        repo.publish();
    }
    repo.bump_all();
    assert_eq!(killed_everywhere(&client, &repo), 6);
    assert_eq!(
        killed_everywhere(&image, &repo),
        7,
        "two kept roots and root.json"
    );
}
