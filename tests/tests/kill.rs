//! `kill -9` at any moment costs time, and nothing else.

use twinroot_tests::program;
use xtask::kill;

#[test]
fn a_hundred_kills_in_a_row_end_in_the_new_release_and_fetch_nothing_twice() {
    let programs = ["twinroot", "twinroot-publish", "lab"].map(program);
    let folder = programs[0].parent().expect("programs lie in a folder");
    kill::run(&kill::Args::for_tests(folder.to_owned())).expect("every kill is survived");
}
