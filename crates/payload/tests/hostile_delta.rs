//! Deltas as a hostile signer might make them: every digest is right and yet nothing wrong comes out,
//! nothing is held that is larger than declared, and nothing is read outside the base.

#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do

mod common;

use common::block;
use twinroot_payload::Error;
use twinroot_payload::delta::stream::{Signed, stream};
use twinroot_payload::delta::{DeltaIndex, Expect, Kind};
use twinroot_payload::io::ReadAt;
use twinroot_payload::verity::{BLOCK, sha256};

/// Seven bits a byte, as the format writes numbers.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn zigzag(value: i64) -> Vec<u8> {
    number(((value << 1) ^ (value >> 63)) as u64)
}

fn frame(plain: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; zstd_safe::compress_bound(plain.len())];
    let length = zstd_safe::compress(&mut frame[..], plain, 3).unwrap();
    frame.truncate(length);
    frame
}

/// Base ranges: start less the end of the one before, and count.
type Ranges = Vec<(i64, u64)>;

/// Parts of a delta; what a test does not care for stands for four blocks out of one segment.
struct Forged {
    kind: Kind,
    base_bytes: u64,
    target_bytes: u64,
    runs: Vec<Vec<u8>>,
    shifts: Vec<u8>,
    /// Coding, blocks and base ranges of the one segment.
    segment: Option<(u8, u64, Ranges)>,
    coded: Vec<u8>,
    /// What the segment should decode to.
    output: Vec<u8>,
}

impl Forged {
    /// A segment of four blocks.
    fn segment(coding: u8, ranges: &[(i64, u64)], coded: Vec<u8>, output: Vec<u8>) -> Self {
        Self {
            kind: Kind::Image,
            base_bytes: 4 * BLOCK as u64,
            target_bytes: 4 * BLOCK as u64,
            runs: vec![number(3 << 2 | 2)],
            shifts: Vec::new(),
            segment: Some((coding, 4, ranges.to_vec())),
            coded,
            output,
        }
    }

    fn file(&self) -> (Vec<u8>, Signed) {
        let mut body = self.runs.concat();
        body.extend_from_slice(&self.shifts);
        if let Some((coding, blocks, ranges)) = &self.segment {
            body.push(*coding);
            for value in [blocks - 1, self.coded.len() as u64, ranges.len() as u64] {
                body.extend_from_slice(&number(value));
            }
            for (start, count) in ranges {
                body.extend_from_slice(&zigzag(*start));
                body.extend_from_slice(&number(count - 1));
            }
            body.extend_from_slice(&sha256(&self.output[..BLOCK])[..4]);
            body.extend_from_slice(&sha256(&self.output));
            body.extend_from_slice(&sha256(&self.coded));
        }
        let mut file = vec![0; 128];
        file[..8].copy_from_slice(b"twindelt");
        file[8] = 1;
        file[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
        file[16..24].copy_from_slice(&self.base_bytes.to_le_bytes());
        file[24..32].copy_from_slice(&self.target_bytes.to_le_bytes());
        file[40] = u8::from(self.segment.is_some());
        file[44] = self.runs.len() as u8;
        file[48] = u8::from(self.kind == Kind::File);
        let body = frame(&body);
        let file_bytes = (128 + body.len() + self.coded.len()) as u64;
        file[32..40].copy_from_slice(&file_bytes.to_le_bytes());
        file.extend_from_slice(&body);
        let signed = Signed {
            index_size: file.len() as u64,
            index_digest: sha256(&file),
            expect: Expect {
                kind: self.kind,
                base: [0; 32],
                target: [0; 32],
                target_bytes: self.target_bytes,
                file_bytes,
            },
        };
        file.extend_from_slice(&self.coded);
        (file, signed)
    }

    /// What comes out of it against a base.
    fn made(&self, base: &dyn ReadAt) -> Result<Vec<u8>, Error> {
        let (file, signed) = self.file();
        let mut made = Vec::new();
        stream(&signed, base, &file, &mut |bytes| {
            made.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(made)
    }

    /// Whether its index alone is refused.
    fn index(&self) -> Result<DeltaIndex, Error> {
        let (file, signed) = self.file();
        DeltaIndex::open(&file[..signed.index_size as usize], &signed.expect)
    }
}

fn blocks(names: &[u64]) -> Vec<u8> {
    names.iter().flat_map(|name| block(*name)).collect()
}

#[test]
fn the_forger_makes_good_deltas_too() {
    let base = blocks(&[1, 2, 3, 4]);
    let plain = [0x61; 4 * BLOCK].to_vec();
    let good = [
        Forged::segment(1, &[], plain.clone(), plain.clone()),
        Forged::segment(2, &[], frame(&plain), plain.clone()),
        Forged::segment(3, &[(0, 4)], frame(&plain), plain.clone()),
    ];
    for forged in good {
        assert!(forged.made(&base).unwrap() == plain);
    }
}

#[test]
fn base_ranges_negative_or_huge_are_refused_and_overlapping_ones_are_read_as_they_stand() {
    let plain = [0x61; 4 * BLOCK].to_vec();
    let with = |ranges: &[(i64, u64)]| Forged::segment(3, ranges, frame(&plain), plain.clone());
    let hostile: [(&str, &[(i64, u64)]); 8] = [
        ("before the base", &[(-1, 1)]),
        ("back before the base", &[(2, 1), (-4, 1)]),
        ("behind the base", &[(4, 1)]),
        ("beyond the end", &[(3, 2)]),
        ("a huge start", &[(i64::MAX, 1)]),
        ("the least start", &[(i64::MIN, 1)]),
        ("a huge count", &[(0, u64::MAX)]),
        (
            "many that add up beyond 4 MiB",
            &[(0, 4), (-4, 4), (-4, 2000)],
        ),
    ];
    for (what, ranges) in hostile {
        assert!(with(ranges).index().is_err(), "{what}");
    }
    let base = blocks(&[1, 2, 3, 4]);
    let overlapping = with(&[(0, 3), (-2, 3), (-4, 4)]);
    assert!(overlapping.made(&base).unwrap() == plain);
}

#[test]
fn a_prefix_frame_is_one_frame_of_the_declared_size_whatever_window_it_asks_for() {
    let base = blocks(&[1, 2, 3, 4]);
    let plain = [0x61; 4 * BLOCK].to_vec();
    let hostile = [
        ("a bomb", frame(&vec![0x61; 64 << 20])),
        ("too little", frame(&plain[..BLOCK])),
        (
            "two frames",
            [frame(&plain[..BLOCK]), frame(&plain[BLOCK..])].concat(),
        ),
        (
            "an empty frame behind",
            [frame(&plain), frame(&[])].concat(),
        ),
        ("a byte behind", [frame(&plain), vec![0]].concat()),
        ("a frame cut short", {
            let frame = frame(&plain);
            frame[..frame.len() - 1].to_vec()
        }),
        ("a skippable frame before", {
            let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
            [&skippable[..], &frame(&plain)].concat()
        }),
    ];
    for coding in [2, 3] {
        let ranges: &[(i64, u64)] = if coding == 3 { &[(0, 4)] } else { &[] };
        for (what, coded) in &hostile {
            let forged = Forged::segment(coding, ranges, coded.clone(), plain.clone());
            assert!(forged.made(&base).is_err(), "{what}, coding {coding}");
        }
        // A window of 2^41 bytes is beyond all bounds; one of 2^31 is not, and costs nothing, since the
        // decoder works in the output (crate::delta::code).
        let real = frame(&plain);
        assert_eq!(real[4], 0x60, "the frame header is not the one expected");
        for (exponent, bearable) in [(31u8, false), (21, true)] {
            let mut windowed = vec![0x28, 0xb5, 0x2f, 0xfd, 0x80, exponent << 3];
            windowed.extend_from_slice(&(plain.len() as u32).to_le_bytes());
            windowed.extend_from_slice(&real[7..]);
            let forged = Forged::segment(coding, ranges, windowed, plain.clone());
            let made = forged.made(&base);
            assert_eq!(made.is_ok(), bearable, "2^{exponent} KiB, coding {coding}");
        }
    }
}

/// A difference: control numbers, runs (gap, values), what stands between.
fn difference(control: &[Vec<u8>], runs: &[(u64, &[u8])], extra: &[u8]) -> Vec<u8> {
    let gaps: Vec<u8> = runs.iter().flat_map(|(gap, _)| number(*gap)).collect();
    let lengths = runs.iter().flat_map(|(_, v)| number(<[u8]>::len(v) as u64));
    let lengths: Vec<u8> = lengths.collect();
    let mut values = [const { Vec::new() }; 5];
    for (_, run) in runs {
        values[<[u8]>::len(run).clamp(1, 5) - 1].extend_from_slice(run);
    }
    coded(&control.concat(), &gaps, &lengths, &values, extra)
}

/// The same from its streams.
fn coded(
    control: &[u8],
    gaps: &[u8],
    lengths: &[u8],
    values: &[Vec<u8>; 5],
    extra: &[u8],
) -> Vec<u8> {
    let stream = |plain: &[u8]| match plain {
        [] => Vec::new(),
        _ => frame(plain),
    };
    let mut streams = vec![frame(control), stream(gaps), stream(lengths)];
    streams.extend(values.iter().map(|values| stream(values)));
    let mut coded: Vec<u8> = streams
        .iter()
        .flat_map(|stream| number(stream.len() as u64))
        .collect();
    coded.extend(streams.concat());
    coded.extend(stream(extra));
    coded
}

const DIFFERENCE: u8 = 5;

#[test]
fn a_difference_never_leaves_its_base_or_its_streams() {
    let base = blocks(&[1, 2, 3, 4]);
    let all = 4 * BLOCK as u64;
    let made = |control: &[Vec<u8>], extra: &[u8]| {
        let coded = difference(control, &[], extra);
        Forged::segment(DIFFERENCE, &[(0, 4)], coded, base.clone()).made(&base)
    };
    // The base with nothing added: the form that the others are bent from.
    let good = [number(1), number(all), number(0), zigzag(0)];
    assert!(made(&good, &[]).unwrap() == base);
    let half = all / 2;
    let two = |jump: i64| {
        let (adds, extras) = ([number(half), number(half)], [number(0), number(0)]);
        let jumps = [zigzag(jump), zigzag(0)];
        [
            vec![number(2)],
            adds.to_vec(),
            extras.to_vec(),
            jumps.to_vec(),
        ]
        .concat()
    };
    for jump in [
        1,
        -(half as i64) - 1,
        i64::MAX,
        i64::MIN,
        1 << 32,
        -(1 << 32),
    ] {
        assert!(made(&two(jump), &[]).is_err(), "a jump of {jump}");
    }
    let bent: [(&str, Vec<Vec<u8>>); 6] = [
        (
            "adds beyond the base",
            vec![number(1), number(all + 1), number(0), zigzag(0)],
        ),
        (
            "adds of 2^63",
            vec![number(1), number(1 << 63), number(0), zigzag(0)],
        ),
        (
            "extras that are not there",
            vec![number(1), number(all), number(1), zigzag(0)],
        ),
        (
            "an output that is not filled",
            vec![number(1), number(half), number(0), zigzag(0)],
        ),
        ("more pieces than bytes", vec![number(u64::MAX)]),
        (
            "a number too many",
            [good.to_vec(), vec![number(0)]].concat(),
        ),
    ];
    for (what, control) in bent {
        assert!(made(&control, &[]).is_err(), "{what}");
    }
    // A control that unpacks to 64 MiB.
    assert!(made(&[vec![0; 64 << 20]], &[]).is_err());
    // Streams that are longer than any output needs.
    assert!(made(&good, &vec![0; 64 << 20]).is_err());
    assert!(made(&good, &vec![0; BLOCK]).is_err());
}

#[test]
fn runs_of_a_difference_stay_in_their_pieces_and_carry_goes_on_in_them_alone() {
    // Bytes of the base: 255 255 0 1, then as they are.
    let mut base = blocks(&[1, 2, 3, 4]);
    base[..4].copy_from_slice(&[255, 255, 0, 1]);
    let all = 4 * BLOCK as u64;
    let one = [number(1), number(all), number(0), zigzag(0)];
    let make = |coded: Vec<u8>, start: &[u8]| {
        let mut wanted = base.clone();
        wanted[..start.len()].copy_from_slice(start);
        Forged::segment(DIFFERENCE, &[(0, 4)], coded, wanted).made(&base)
    };
    let runs = |control: &[Vec<u8>], runs: &[(u64, &[u8])]| difference(control, runs, &[]);
    // One is added to the first byte, and carried through two.
    assert!(make(runs(&one, &[(0, &[1])]), &[0, 0, 1, 1]).is_ok());
    // One is taken from the third, and from the fourth in its turn.
    assert!(make(runs(&one, &[(2, &[0xff])]), &[255, 255, 255, 0]).is_ok());
    // Both: what is carried from the first meets the second run.
    let both: [(u64, &[u8]); 2] = [(0, &[1]), (1, &[0xff])];
    assert!(make(runs(&one, &both), &[0, 0, 0, 1]).is_ok());
    // Two pieces: what the first would carry ends with it.
    let cut = [
        number(2),
        number(1),
        number(all - 1),
        number(0),
        number(0),
        zigzag(0),
        zigzag(0),
    ];
    assert!(make(runs(&cut, &[(0, &[1])]), &[0, 255, 0, 1]).is_ok());
    // A run that goes from one piece into the next, one behind the last, one of no length.
    for (what, control, run) in [
        ("two pieces", &cut[..], (0, &[1u8, 1][..])),
        ("behind the end", &one[..], (all, &[1][..])),
        ("past the end", &one[..], (all - 1, &[1, 1][..])),
        ("nowhere", &one[..], (u64::MAX, &[1][..])),
        ("no length", &one[..], (0, &[][..])),
    ] {
        assert!(make(runs(control, &[run]), &[]).is_err(), "{what}");
    }
    // Values that no run takes, a run without values, a gap without length.
    let plain = one.concat();
    let none = [const { Vec::new() }; 5];
    let some = [vec![1], vec![], vec![], vec![], vec![]];
    for (what, streams) in [
        ("values left", coded(&plain, &[], &[], &some, &[])),
        ("no values", coded(&plain, &[0], &[1], &none, &[])),
        ("no length", coded(&plain, &[0, 0], &[1], &some, &[])),
        ("no gap", coded(&plain, &[0], &[1, 1], &some, &[])),
    ] {
        assert!(make(streams, &[]).is_err(), "{what}");
    }
}
