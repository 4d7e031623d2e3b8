//! The promises of [`Bootloader`].

use twinroot_core::facts::{EntryObserved, Tries};
use twinroot_payload::io::ReadAt;
use twinroot_trust::digest::Digest;
use twinroot_trust::version::Version;

use crate::{Arming, Bootloader, Code};

/// A UKI of a release. Two different ones are needed, neither of the system that runs.
#[derive(Debug, Clone)]
pub struct Image {
    /// Version of the release.
    pub version: Version,
    /// Root hash on its command line.
    pub root_hash: Digest,
    /// The UKI.
    pub uki: Vec<u8>,
}

impl Image {
    fn digest(&self) -> Digest {
        Digest::of(&self.uki)
    }
}

/// Checks a bootloader that has no entry of `old` nor of `new` yet; `new` is the later version.
///
/// # Panics
/// With the promise that is broken.
pub fn bootloader_contract(loader: &dyn Bootloader, old: &Image, new: &Image) {
    a_staged_image_is_no_entry(loader, old);
    only_the_image_that_was_promised_is_kept(loader, new);
    arming_makes_an_entry_on_trial_once(loader, old);
    blessing_takes_the_counter_off_and_nothing_puts_it_back(loader, old);
    a_one_shot_request_is_for_its_entry(loader, new);
    a_pin_stays_until_it_is_taken_away(loader, old);
    removing_leaves_nothing_of_an_entry(loader, new);
    sweeping_leaves_what_is_wanted(loader, new);
    loader.clear_attempts().expect("health can be noted");
    loader.clear_attempts().expect("twice");
    assert_eq!(
        observed(loader, old).map(|entry| entry.tries),
        Some(None),
        "the good entry is as it was"
    );
    loader
        .remove(&stem(loader, old))
        .expect("removable: another system runs");
}

fn stage(loader: &dyn Bootloader, image: &Image) {
    let size = image.uki.len() as u64;
    let mut writer = loader
        .stage_image(&image.digest(), size)
        .expect("there is room");
    for piece in image.uki.chunks(1000) {
        writer.write(piece).expect("writable");
    }
    writer
        .finish()
        .expect("what was written is what was promised");
}

fn observed(loader: &dyn Bootloader, image: &Image) -> Option<EntryObserved> {
    let seen = loader.observe().expect("can be looked at");
    let mut same = seen
        .entries
        .into_iter()
        .filter(|entry| entry.uki == image.digest());
    let entry = same.next();
    assert_eq!(same.next(), None, "one entry a UKI");
    entry
}

fn stem(loader: &dyn Bootloader, image: &Image) -> String {
    observed(loader, image).expect("it is an entry").stem
}

fn a_staged_image_is_no_entry(loader: &dyn Bootloader, image: &Image) {
    let digest = image.digest();
    assert!(
        loader.image(&digest).expect("can be asked for").is_none(),
        "nothing is there yet"
    );
    let missing = loader.arm(&image.version, &digest, Arming::Counted { tries: 3 });
    assert_eq!(
        missing.expect_err("nothing is staged").code,
        Code::EntryMissing
    );
    // An earlier try that was cut leaves a part, which the next try replaces.
    let mut cut = loader
        .stage_image(&digest, image.uki.len() as u64)
        .expect("there is room");
    cut.write(&image.uki[..10]).expect("writable");
    drop(cut);
    stage(loader, image);
    stage(loader, image);
    assert_eq!(
        observed(loader, image),
        None,
        "no loader boots what is only staged"
    );
    let staged = loader
        .image(&digest)
        .expect("can be asked for")
        .expect("it is staged");
    let mut bytes = vec![0; image.uki.len()];
    assert_eq!(
        staged.len(),
        Ok(bytes.len() as u64),
        "no more than was written"
    );
    staged.read_at(0, &mut bytes).expect("readable");
    assert!(bytes == image.uki, "what is staged is what was written");
}

fn only_the_image_that_was_promised_is_kept(loader: &dyn Bootloader, image: &Image) {
    let (digest, size) = (image.digest(), image.uki.len() as u64);
    let mut short = loader.stage_image(&digest, size).expect("there is room");
    short.write(&image.uki[1..]).expect("writable");
    short.finish().expect_err("a byte is missing");
    let mut flipped = loader.stage_image(&digest, size).expect("there is room");
    let mut bytes = image.uki.clone();
    bytes[100] ^= 1;
    flipped.write(&bytes).expect("writable");
    flipped.finish().expect_err("a bit is wrong");
    let mut long = loader.stage_image(&digest, size).expect("there is room");
    let over = long.write(&[&image.uki[..], b"x"].concat());
    assert!(over.is_err() || long.finish().is_err(), "a byte too many");
    loader
        .arm(&image.version, &digest, Arming::Counted { tries: 3 })
        .expect_err("no whole image was ever staged");
    assert_eq!(observed(loader, image), None);
}

fn arming_makes_an_entry_on_trial_once(loader: &dyn Bootloader, image: &Image) {
    for _ in 0..2 {
        loader
            .arm(
                &image.version,
                &image.digest(),
                Arming::Counted { tries: 3 },
            )
            .expect("armed");
        let entry = observed(loader, image).expect("it is an entry now");
        assert_eq!(entry.tries, Some(Tries { left: 3, done: 0 }));
        assert_eq!(
            (entry.version, entry.root_hash),
            (image.version.clone(), image.root_hash)
        );
    }
    assert_eq!(
        loader.observe().expect("can be looked at").one_shot,
        None,
        "it is counted"
    );
}

fn blessing_takes_the_counter_off_and_nothing_puts_it_back(loader: &dyn Bootloader, image: &Image) {
    let stem = stem(loader, image);
    for _ in 0..2 {
        loader.bless(&stem).expect("blessed");
        assert_eq!(observed(loader, image).map(|entry| entry.tries), Some(None));
    }
    assert_eq!(self::stem(loader, image), stem, "the stem never changes");
    // A repetition from before the blessing finds its work done.
    stage(loader, image);
    loader
        .arm(
            &image.version,
            &image.digest(),
            Arming::Counted { tries: 3 },
        )
        .expect("armed");
    assert_eq!(
        observed(loader, image).map(|entry| entry.tries),
        Some(None),
        "it stays good"
    );
    let unknown = loader
        .bless("twinroot_0_0000000000000000")
        .expect_err("there is no such entry");
    assert_eq!(unknown.code, Code::EntryMissing);
}

fn a_one_shot_request_is_for_its_entry(loader: &dyn Bootloader, image: &Image) {
    stage(loader, image);
    loader
        .arm(
            &image.version,
            &image.digest(),
            Arming::OneShot { tries: 2 },
        )
        .expect("armed");
    let entry = observed(loader, image).expect("it is an entry");
    assert_eq!(
        entry.tries,
        Some(Tries { left: 2, done: 0 }),
        "it does not look blessed"
    );
    assert_eq!(
        loader.observe().expect("can be looked at").one_shot,
        Some(entry.stem)
    );
}

fn a_pin_stays_until_it_is_taken_away(loader: &dyn Bootloader, image: &Image) {
    let stem = stem(loader, image);
    for pin in [Some(&*stem), Some(&*stem), None, None] {
        loader.pin(pin).expect("pinned or not");
        assert_eq!(
            loader
                .observe()
                .expect("can be looked at")
                .pinned
                .as_deref(),
            pin
        );
    }
    let unknown = loader
        .pin(Some("twinroot_0_0000000000000000"))
        .expect_err("no such entry");
    assert_eq!(
        unknown.code,
        Code::EntryMissing,
        "a pin to nothing would be no pin"
    );
}

fn removing_leaves_nothing_of_an_entry(loader: &dyn Bootloader, image: &Image) {
    let stem = stem(loader, image);
    for _ in 0..2 {
        loader.remove(&stem).expect("removed, or gone already");
        assert_eq!(observed(loader, image), None);
    }
}

fn sweeping_leaves_what_is_wanted(loader: &dyn Bootloader, image: &Image) {
    let (digest, there) = (image.digest(), |l: &dyn Bootloader, d: &Digest| {
        l.image(d).expect("can be asked for").is_some()
    });
    stage(loader, image);
    loader.sweep(&[digest]).expect("swept");
    assert!(there(loader, &digest), "what is to be kept is kept");
    loader.sweep(&[]).expect("swept");
    assert!(!there(loader, &digest), "what nobody wants is gone");
}
