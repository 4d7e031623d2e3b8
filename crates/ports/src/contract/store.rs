//! The promises of [`Store`].

use crate::{Code, Store};

/// Checks a store. `make` gives a new, empty one at each call.
///
/// # Panics
/// With the promise that is broken.
pub fn store_contract(make: &mut dyn FnMut() -> Box<dyn Store>) {
    what_is_written_is_read(&*make());
    what_is_missing_is_none(&*make());
    names_are_listed_sorted_below_their_folder(&*make());
    names_that_leave_the_store_are_refused(&*make());
    removing_twice_is_fine(&*make());
}

fn what_is_written_is_read(store: &dyn Store) {
    let large = vec![0xA5; 300_000];
    for (name, bytes) in [
        ("floor", &b"one"[..]),
        ("trust/root.json", b""),
        ("a/b/c", &large),
    ] {
        store
            .write(name, bytes)
            .expect("a plain name can be written");
        assert_eq!(
            store.read(name).expect("readable").as_deref(),
            Some(bytes),
            "{name}"
        );
    }
    store
        .write("floor", b"1")
        .expect("a blob can be replaced by a shorter one");
    assert_eq!(
        store.read("floor").expect("readable").as_deref(),
        Some(&b"1"[..])
    );
    // Role names of signed metadata are URL-quoted.
    store
        .write("trust/a%2Fb.json", b"role")
        .expect("percent escapes are part of names");
    assert_eq!(
        store.read("trust/a%2Fb.json").expect("readable").as_deref(),
        Some(&b"role"[..])
    );
}

fn what_is_missing_is_none(store: &dyn Store) {
    assert_eq!(
        store.read("floor").expect("a missing blob is no error"),
        None
    );
    assert_eq!(
        store
            .read("no/such/folder")
            .expect("nor is a missing folder"),
        None
    );
    assert_eq!(
        store.list("").expect("an empty store lists nothing"),
        Vec::<String>::new()
    );
    assert_eq!(
        store.list("none").expect("nor is a missing folder"),
        Vec::<String>::new()
    );
}

fn names_are_listed_sorted_below_their_folder(store: &dyn Store) {
    for name in [
        "staged/z",
        "staged/a",
        "staged-not/x",
        "floor",
        "staged/deep/m",
    ] {
        store.write(name, b"x").expect("writable");
    }
    assert_eq!(
        store.list("staged").expect("listable"),
        ["staged/a", "staged/deep/m", "staged/z"]
    );
    let all = [
        "floor",
        "staged-not/x",
        "staged/a",
        "staged/deep/m",
        "staged/z",
    ];
    assert_eq!(store.list("").expect("listable"), all);
}

fn names_that_leave_the_store_are_refused(store: &dyn Store) {
    let long = "x".repeat(256);
    let bad = [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a//b",
        ".",
        "a/",
        "a\\b",
        "a\0b",
        "é",
        &long,
    ];
    for name in bad {
        let refusal = store.write(name, b"x").expect_err(name);
        assert_eq!(refusal.code, Code::NameRefused, "{name:?}");
        assert_eq!(
            store.read(name).expect_err(name).code,
            Code::NameRefused,
            "{name:?}"
        );
        assert_eq!(
            store.remove(name).expect_err(name).code,
            Code::NameRefused,
            "{name:?}"
        );
    }
    assert_eq!(store.list("").expect("listable"), Vec::<String>::new());
}

fn removing_twice_is_fine(store: &dyn Store) {
    store.write("deny/one", b"x").expect("writable");
    store.remove("deny/one").expect("removable");
    store.remove("deny/one").expect("what is gone is gone");
    store
        .remove("deny/never/there")
        .expect("what never was is gone too");
    assert_eq!(store.read("deny/one").expect("readable"), None);
}
