//! The life of releases in a repository, from the first key to a withdrawal.

use twinroot_publish::fake::{self, EDGE, Repo, STABLE};
use twinroot_trust::time::Seconds;

#[test]
fn a_release_needs_two_of_three_keys_and_is_found_by_a_node() {
    let mut repo = Repo::new(1);
    let release = repo.release(STABLE, "1.0", &fake::image(1, 64));
    assert_eq!(release.root_hash, fake::root_hash(&fake::image(1, 64)));
    repo.pass(Seconds(3600));
    repo.release(STABLE, "1.1", &fake::changed(&release.image, 2, [3, 40]));
    repo.release(EDGE, "1.2", &fake::image(2, 16));
    let status = repo.repository.status().unwrap();
    println!("{status}");
}
