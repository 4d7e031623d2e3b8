//! The index of a delta, and its segments.

use twinroot_payload::delta::{Coding, Decoder, DeltaIndex, Expect, Kind, Source};
use twinroot_payload::error::Error;
use twinroot_payload::verity::{BLOCK, sha256};

use super::LONGEST;
use super::numbers::{Reader, write, write_signed};

/// A zstd frame with its content size named, as a publisher writes it; level 1, for speed.
fn frame(content: &[u8]) -> Vec<u8> {
    let mut out = vec![0; zstd_safe::compress_bound(content.len())];
    let length = zstd_safe::compress(&mut out[..], content, 1).expect("the bound is large enough");
    out.truncate(length);
    out
}

/// Header and body of an index for what the manifest would say.
fn index_of(
    sizes: (u64, u64),
    counts: (u32, u32),
    coded_bytes: u64,
    body: &[u8],
) -> (Vec<u8>, Expect) {
    let mut bytes = b"twindelt\x01\0\0\0".to_vec();
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&sizes.0.to_le_bytes());
    bytes.extend_from_slice(&sizes.1.to_le_bytes());
    let body = frame(body);
    let file_bytes = 128 + body.len() as u64 + coded_bytes;
    bytes.extend_from_slice(&file_bytes.to_le_bytes());
    bytes.extend_from_slice(&counts.0.to_le_bytes());
    bytes.extend_from_slice(&counts.1.to_le_bytes());
    bytes.extend_from_slice(&[1]);
    bytes.resize(64, 0);
    bytes.extend_from_slice(&[0xba; 32]);
    bytes.extend_from_slice(&[0x7a; 32]);
    bytes.extend_from_slice(&body);
    let expect = Expect {
        kind: Kind::File,
        base: [0xba; 32],
        target: [0x7a; 32],
        target_bytes: sizes.1,
        file_bytes,
    };
    (bytes, expect)
}

/// The body of an index is the input; the sizes around it come from its first bytes.
pub fn delta_index(data: &[u8]) {
    let Some((head, body)) = data.split_at_checked(16) else {
        return;
    };
    if data.len() > LONGEST {
        return;
    }
    let number = |at: usize| u64::from(u32::from_le_bytes(head[at..at + 4].try_into().unwrap()));
    let sizes = (number(0) + 1, number(4) + 1);
    let counts = (u32::from(head[8]), u32::from(head[9]));
    let coded = number(12) % (1 << 24);
    let (bytes, expect) = index_of(sizes, counts, coded, body);
    if let Ok(index) = DeltaIndex::open(&bytes, &expect) {
        accepted(&index, body, bytes.len() as u64, sizes, coded);
    }
}

/// Written back from what the index says, the body is the same; nothing leaves base, target or file.
fn accepted(index: &DeltaIndex, body: &[u8], start: u64, sizes: (u64, u64), coded: u64) {
    let (base_blocks, target_blocks) = (sizes.0.div_ceil(4096), sizes.1.div_ceil(4096));
    let (mut runs, mut shifts, mut at, mut data, mut last) = (Vec::new(), Vec::new(), 0, 0, 0_i64);
    index
        .pieces(&mut |piece| {
            assert_eq!(piece.target, at, "pieces follow each other");
            assert!(piece.count > 0);
            let kind = match piece.source {
                Source::Zero => 0,
                Source::Base(from) => {
                    assert!(from + piece.count <= base_blocks, "a copy leaves the base");
                    let shift = from as i64 - piece.target as i64;
                    write_signed(&mut shifts, shift - last);
                    last = shift;
                    1
                }
                Source::Data => {
                    data += piece.count;
                    2
                }
            };
            write(&mut runs, 4 * (piece.count - 1) + kind);
            at += piece.count;
            Ok(())
        })
        .expect("an accepted index has whole runs");
    assert_eq!(at, target_blocks, "the target is covered once");
    let (mut records, mut ranges, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    let (mut end, mut blocks, mut range_end) = (start, 0, 0_i64);
    for segment in index.segments() {
        assert_eq!(segment.coded_start, end, "segments follow without gaps");
        end += u64::from(segment.coded_bytes);
        blocks += u64::from(segment.blocks);
        let (mut count, mut gathered) = (0, 0);
        index
            .ranges(segment, &mut |from, length| {
                assert!(from + length <= base_blocks, "a range leaves the base");
                write_signed(&mut ranges, from as i64 - range_end);
                write(&mut ranges, length - 1);
                range_end = (from + length) as i64;
                (count, gathered) = (count + 1, gathered + length);
                Ok(())
            })
            .expect("an accepted index has whole ranges");
        assert_eq!(gathered, u64::from(segment.base_blocks));
        assert!(gathered <= 1024 && u64::from(segment.blocks) + gathered <= 1280);
        records.push(segment.coding.byte());
        write(&mut records, u64::from(segment.blocks) - 1);
        write(&mut records, u64::from(segment.coded_bytes));
        write(&mut records, count);
        digests.extend_from_slice(&segment.probe);
        digests.extend_from_slice(&segment.output);
        digests.extend_from_slice(&segment.digest);
    }
    assert_eq!(
        (blocks, end),
        (data, start + coded),
        "segments fill runs and file"
    );
    assert!(
        [runs, shifts, records, ranges, digests].concat() == body,
        "a body is written in one way only"
    );
}

/// Blocks of base and output, and coded bytes as they are.
pub fn segment(data: &[u8]) {
    let Some(([coding, base, out], coded)) = data.split_first_chunk() else {
        return;
    };
    if data.len() > LONGEST {
        return;
    }
    if let Some(coding) = Coding::from_byte(1 + coding % 5) {
        decode(coding, u32::from(base % 8), u32::from(out % 8) + 1, coded);
    }
}

/// A difference whose streams are whole frames: inputs get to what steers them. Each stream of the input begins
/// with its length.
pub fn difference(data: &[u8]) {
    let Some(([base, out, a, b], mut rest)) = data.split_first_chunk() else {
        return;
    };
    if data.len() > LONGEST {
        return;
    }
    let blocks = usize::from(out % 4) + 1;
    // What stands between fits the output more often than not.
    let between = usize::from(u16::from_le_bytes([*a, *b])) % (blocks * BLOCK + 2);
    let stream = |plain: &[u8]| match plain {
        [] => Vec::new(),
        plain => frame(plain),
    };
    let mut part = || {
        let (length, behind) = rest.split_first().unwrap_or((&0, &[]));
        let (part, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        stream(part)
    };
    let mut streams: Vec<Vec<u8>> = (0..7).map(|_| part()).collect();
    streams.insert(0, stream(rest));
    let mut coded = Vec::new();
    for stream in &streams {
        write(&mut coded, stream.len() as u64);
    }
    coded.extend(streams.concat());
    coded.extend(stream(&vec![7; between]));
    decode(
        Coding::Difference,
        u32::from(base % 8) + 1,
        blocks as u32,
        &coded,
    );
}

/// Bytes of the base: not zero, not all alike.
fn base_of(blocks: u32) -> Vec<u8> {
    (0..blocks as usize * BLOCK)
        .map(|n| ((n * 31) ^ (n >> 7)) as u8)
        .collect()
}

/// An index with this one segment, whose digests are right but for the output's.
fn one_segment(
    coding: Coding,
    (base, out): (u32, u32),
    coded: &[u8],
    output: &[u8; 32],
) -> Option<DeltaIndex> {
    let mut body = Vec::new();
    write(&mut body, 4 * (u64::from(out) - 1) + 2);
    body.push(coding.byte());
    write(&mut body, u64::from(out) - 1);
    write(&mut body, coded.len() as u64);
    write(&mut body, u64::from(base > 0));
    if base > 0 {
        write_signed(&mut body, 0);
        write(&mut body, u64::from(base) - 1);
    }
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(output);
    body.extend_from_slice(&sha256(coded));
    let sizes = (u64::from(base.max(1)) * 4096, u64::from(out) * 4096);
    let (bytes, expect) = index_of(sizes, (1, 1), coded.len() as u64, &body);
    DeltaIndex::open(&bytes, &expect).ok()
}

/// A plain decoder says what should come out: then that must come out, or, where it refuses, nothing may be
/// accepted, whatever output is named.
fn decode(coding: Coding, base_blocks: u32, out_blocks: u32, coded: &[u8]) {
    let blocks = (base_blocks, out_blocks);
    let base = base_of(base_blocks);
    let length = out_blocks as usize * BLOCK;
    let plain = plainly(coding, coded, &base, length);
    // Bytes behind the output that nobody may touch.
    let mut room = vec![0xa5; length + 64];
    let mut decoder = Decoder::new();
    let mut named = plain.as_deref().map_or([0; 32], sha256);
    for attempt in 0..2 {
        let Some(index) = one_segment(coding, blocks, coded, &named) else {
            return;
        };
        let (out, behind) = room.split_at_mut(length);
        let outcome = decoder.decode(&index.segments()[0], coded, &base, out);
        assert!(
            behind.iter().all(|byte| *byte == 0xa5),
            "more was written than was declared"
        );
        match (&outcome, &plain) {
            (Ok(()), Some(plain)) if attempt == 0 => {
                assert!(out == *plain, "something else came out")
            }
            (Err(_), Some(_)) if attempt == 0 => panic!("what is right was refused: {outcome:?}"),
            (Ok(()), None) => panic!("accepted, though a plain decoder refuses it"),
            (Ok(()), Some(_)) => panic!("accepted with another output named"),
            (Err(Error::SegmentDigest { .. }), _) => {
                panic!("the digest of the coded bytes was right")
            }
            (Err(_), _) => {}
        }
        // Once more: the bytes that a refused attempt has left behind, or an output that is not the right one.
        named = match &plain {
            None => sha256(&room[..length]),
            Some(_) => [0; 32],
        };
    }
}

/// The same by the words of the page, without a thought for speed.
fn plainly(coding: Coding, coded: &[u8], base: &[u8], length: usize) -> Option<Vec<u8>> {
    let out = match coding {
        Coding::Raw => coded.to_vec(),
        Coding::Zstd => unframe(coded, &[], length)?,
        Coding::Prefix => unframe(coded, base, length)?,
        Coding::Difference => {
            let mut reader = Reader {
                bytes: coded,
                at: 0,
            };
            let lengths = (0..8)
                .map(|_| reader.number())
                .collect::<Option<Vec<_>>>()?;
            let mut frames = Vec::new();
            for length in lengths {
                frames.push(reader.take(usize::try_from(length).ok()?)?.to_vec());
            }
            let extra = stream(&coded[reader.at..], base, 2 * length)?;
            let mut streams = Vec::new();
            for (number, frame) in frames.iter().enumerate() {
                let most = if number == 0 { 1 << 20 } else { 2 * length };
                streams.push(stream(frame, &[], most)?);
            }
            let behind_control = streams[1..].iter().map(Vec::len).sum::<usize>();
            if behind_control + extra.len() > 2 * length {
                return None;
            }
            put_together(&streams, &extra, base)?
        }
    };
    (out.len() == length).then_some(out)
}

fn stream(bytes: &[u8], prefix: &[u8], most: usize) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let size = zstd_safe::get_frame_content_size(bytes).ok()??;
    let size = usize::try_from(size)
        .ok()
        .filter(|size| (1..=most).contains(size))?;
    unframe(bytes, prefix, size)
}

/// One frame and nothing else, of a named size, without a dictionary.
fn unframe(bytes: &[u8], prefix: &[u8], size: usize) -> Option<Vec<u8>> {
    let whole = bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        && zstd_safe::find_frame_compressed_size(bytes).ok()? == bytes.len()
        && zstd_safe::get_dict_id_from_frame(bytes).is_none()
        && zstd_safe::get_frame_content_size(bytes).ok()? == Some(size as u64);
    let mut out = vec![0; size];
    let mut context = zstd_safe::DCtx::create();
    if !prefix.is_empty() {
        context.ref_prefix(prefix).ok()?;
    }
    (whole && context.decompress(&mut out[..], bytes).ok()? == size).then_some(out)
}

/// Every number of a list, or nothing where one is malformed.
fn numbers(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut reader = Reader { bytes, at: 0 };
    let mut all = Vec::new();
    while reader.at < bytes.len() {
        all.push(reader.number()?);
    }
    Some(all)
}

/// Where runs begin and end, and what is added to which byte, the pieces one behind the other.
type Additions = (Vec<(u64, u64)>, Vec<(u64, i16)>);

/// Additions by the streams of a difference.
fn additions(streams: &[Vec<u8>]) -> Option<Additions> {
    let (gaps, lengths) = (numbers(&streams[1])?, numbers(&streams[2])?);
    if gaps.len() != lengths.len() {
        return None;
    }
    let mut taken = [0; 5];
    let (mut at, mut runs, mut added) = (0_u64, Vec::new(), Vec::new());
    for (gap, length) in gaps.into_iter().zip(lengths) {
        if length == 0 {
            return None;
        }
        at = at.checked_add(gap)?;
        let class = length.min(5) as usize - 1;
        let values = &streams[3 + class];
        runs.push((at, at.checked_add(length)?));
        for _ in 0..length {
            let value = *values.get(taken[class])?;
            added.push((at, i16::from(value as i8)));
            (at, taken[class]) = (at + 1, taken[class] + 1);
        }
    }
    let used = (0..5).all(|class| taken[class] == streams[3 + class].len());
    used.then_some((runs, added))
}

fn put_together(streams: &[Vec<u8>], extra: &[u8], base: &[u8]) -> Option<Vec<u8>> {
    let (runs, added) = additions(streams)?;
    let control = &streams[0];
    let mut reader = Reader {
        bytes: control,
        at: 0,
    };
    let count = reader.number()?;
    if count > control.len() as u64 {
        return None;
    }
    let adds = (0..count)
        .map(|_| reader.number())
        .collect::<Option<Vec<_>>>()?;
    let extras = (0..count)
        .map(|_| reader.number())
        .collect::<Option<Vec<_>>>()?;
    let jumps = (0..count)
        .map(|_| reader.signed())
        .collect::<Option<Vec<_>>>()?;
    if reader.at != control.len() {
        return None;
    }
    let (mut out, mut at, mut patched, mut taken) = (Vec::new(), 0_i128, 0_u64, 0_usize);
    let (mut additions, mut runs) = (added.into_iter().peekable(), runs.into_iter().peekable());
    for ((plus, between), jump) in adds.into_iter().zip(extras).zip(jumps) {
        let (plus, between) = (usize::try_from(plus).ok()?, usize::try_from(between).ok()?);
        let from = usize::try_from(at).ok()?;
        let end = patched + plus as u64;
        while runs.peek().is_some_and(|(begin, _)| *begin < end) {
            if runs.next().is_some_and(|(_, to)| to > end) {
                return None;
            }
        }
        let mut carry = 0;
        for old in base.get(from..from.checked_add(plus)?)? {
            let value = additions
                .next_if(|(at, _)| *at == patched)
                .map_or(0, |a| a.1);
            let sum = i16::from(*old) + value + carry;
            out.push(sum.rem_euclid(256) as u8);
            carry = sum.div_euclid(256);
            patched += 1;
        }
        out.extend_from_slice(extra.get(taken..taken.checked_add(between)?)?);
        taken += between;
        at += plus as i128 + i128::from(jump);
        if at < 0 || at > base.len() as i128 {
            return None;
        }
    }
    (additions.next().is_none() && taken == extra.len()).then_some(out)
}
