"""A second decoder of payloads, written from docs/formats/payload.md alone: the page says enough.

    decode_payload.py full  PAYLOAD INDEX_BYTES SALT_HEX OUT      prints the image's root hash
    decode_payload.py delta DELTA   INDEX_BYTES BASE     OUT      prints the SHA-256 of what came out

Standard library, and the `zstd` program for frames. Meant for small files: it holds everything.
"""

import hashlib
import struct
import subprocess
import sys
import tempfile

BLOCK = 4096


def check(holds, what):
    if not holds:
        raise SystemExit(f"decode_payload.py: {what}")


class Numbers:
    """Seven bits a byte, least first, in the shortest form."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                check(byte or shift == 7, "a number is not in its shortest form")
                return value

    def zigzag(self):
        value = self.number()
        return value >> 1 if value % 2 == 0 else -(value + 1 >> 1)

    def byte(self):
        return self.take(1)[0]

    def take(self, count):
        check(self.at + count <= len(self.data), "it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def end(self):
        check(self.at == len(self.data), "something follows")


def frame(data, prefix=None):
    """What a zstd frame decodes to, with content before its first byte."""
    with tempfile.NamedTemporaryFile() as coded, tempfile.NamedTemporaryFile() as before:
        coded.write(data)
        coded.flush()
        command = ["zstd", "-d", "-q", "-c", "--long=31"]
        if prefix is not None:
            before.write(prefix)
            before.flush()
            command.append(f"--patch-from={before.name}")
        done = subprocess.run([*command, coded.name], stdout=subprocess.PIPE, check=True)
    return done.stdout


def sha256(data):
    return hashlib.sha256(data).digest()


def root_hash(image, salt):
    """dm-verity: hashes of blocks, 128 a block, up to one block, whose hash is the root."""
    level = image
    while True:
        leaves = [sha256(salt + level[at : at + BLOCK]) for at in range(0, len(level), BLOCK)]
        if len(leaves) == 1:
            return leaves[0]
        level = b"".join(leaves)
        level += bytes(-len(level) % BLOCK)


def full(path, index_bytes, salt, out):
    """The section 'Index' of the page, in its order."""
    data = open(path, "rb").read()
    head = struct.unpack_from("<8sIIIIQQQQB7x32s32x", data)
    magic, version, block, most, segments, blocks, distinct, runs_bytes, size, width, root = head
    check((magic, version, block) == (b"twinroot", 1, BLOCK), "no full payload of version 1")
    check(size == len(data), "the file has another size")
    runs_at = 128 + 72 * segments
    check(runs_at + runs_bytes + width * distinct == index_bytes, "the index has another size")
    image, written = bytearray(blocks * BLOCK), set()
    for number in range(segments):
        record = struct.unpack_from("<BBHIIIQQQ32s", data, 128 + 72 * number)
        coding, _, _, count, coded_bytes, run_bytes, start, runs_start, _, digest = record
        coded = data[start : start + coded_bytes]
        check(count <= most and sha256(coded) == digest, f"segment {number} does not verify")
        plain = {0: lambda c: b"", 1: lambda c: c, 2: frame}[coding](coded)
        check(len(plain) == count * BLOCK, f"segment {number} has another length")
        runs = Numbers(data[runs_at + runs_start : runs_at + runs_start + run_bytes])
        target = source = 0
        while runs.at < run_bytes:
            target += runs.number()
            source += runs.zigzag()
            length = runs.number() + 1
            content = plain[source * BLOCK : (source + length) * BLOCK] if coding else bytes(length * BLOCK)
            check(len(content) == length * BLOCK, "a run leaves its segment")
            fresh = range(target, target + length)
            check(written.isdisjoint(fresh), "a block is written twice")
            written.update(fresh)
            image[target * BLOCK : (target + length) * BLOCK] = content
            target += length
            # A zero segment has no blocks of its own to be behind.
            source += length if coding else 0
    check(len(written) == blocks, "a block is never written")
    check(root_hash(bytes(image), salt) == root, "the root hash is another one")
    open(out, "wb").write(image)
    print(root.hex())


def changes(gaps, lengths, values):
    """Of a difference: the bytes of pieces that something is added to, with what, and where runs end."""
    gaps, lengths, added, runs, at, taken = Numbers(gaps), Numbers(lengths), {}, [], 0, [0] * 5
    while gaps.at < len(gaps.data):
        at += gaps.number()
        length = lengths.number()
        check(length > 0, "a run of no length")
        kind = min(length, 5) - 1
        run = values[kind][taken[kind] : taken[kind] + length]
        check(len(run) == length, "values end early")
        added.update((at + i, value - 256 if value > 127 else value) for i, value in enumerate(run))
        runs.append((at, at + length))
        at, taken[kind] = at + length, taken[kind] + length
    lengths.end()
    check(taken == [len(stream) for stream in values], "values are left over")
    return added, runs


def difference(coded, base):
    """The coding 5: additions to pieces of the base, and extra, steered by control."""
    numbers = Numbers(coded)
    sizes = [numbers.number() for _ in range(8)]
    streams = [frame(stream) if stream else b"" for stream in map(numbers.take, sizes)]
    extra = coded[numbers.at :]
    steer = Numbers(streams[0])
    added, runs = changes(streams[1], streams[2], streams[3:])
    extra = frame(extra, base) if extra else b""
    count = steer.number()
    adds = [steer.number() for _ in range(count)]
    extras = [steer.number() for _ in range(count)]
    jumps = [steer.zigzag() for _ in range(count)]
    steer.end()
    out, position, patched, taken = bytearray(), 0, 0, 0
    for add_length, extra_length, jump in zip(adds, extras, jumps):
        old, carry, end = base[position : position + add_length], 0, patched + add_length
        check(len(old) == add_length, "a position leaves the base")
        check(all(not patched <= at < end or to <= end for at, to in runs), "a run leaves its piece")
        for byte in old:
            total = byte + added.pop(patched, 0) + carry
            out.append(total & 255)
            carry = total >> 8
            patched += 1
        out += extra[taken : taken + extra_length]
        position, taken = position + add_length + jump, taken + extra_length
        check(0 <= position <= len(base), "a position leaves the base")
    check(not added and taken == len(extra), "streams are left over")
    return bytes(out)


def delta(path, index_bytes, base_path, out):
    """The section 'The delta format' of the page."""
    data, base = open(path, "rb").read(), open(base_path, "rb").read()
    head = struct.unpack_from("<8sIIQQQIIB15x32s32s", data)
    magic, version, body_bytes, base_bytes, target_bytes, size, segments, runs, kind, _, _ = head
    check((magic, version) == (b"twindelt", 1), "no delta of version 1")
    check((size, base_bytes) == (len(data), len(base)) and kind in (0, 1), "it is for something else")
    base += bytes(-len(base) % BLOCK)
    body = Numbers(frame(data[128:index_bytes]))
    check(len(body.data) == body_bytes, "the body has another size")
    runs = [(number >> 2, number & 3) for number in (body.number() for _ in range(runs))]
    runs = [(above + 1, kind) for above, kind in runs]
    check(sum(count for count, _ in runs) == -(-target_bytes // BLOCK), "runs cover something else")
    shifts = [body.zigzag() for _, kind in runs if kind == 1]
    records = [(body.byte(), body.number() + 1, body.number(), body.number()) for _ in range(segments)]
    ranges, end = [], 0
    for record in records:
        mine = b""
        for _ in range(record[3]):
            start = end + body.zigzag()
            end = start + body.number() + 1
            check(0 <= start and end * BLOCK <= len(base), "a range leaves the base")
            mine += base[start * BLOCK : end * BLOCK]
        ranges.append(mine)
    digests = [body.take(68) for _ in range(segments)]
    body.end()
    pieces, at = [], index_bytes
    for (coding, blocks, coded_bytes, _), mine, digest in zip(records, ranges, digests):
        coded = data[at : at + coded_bytes]
        at += coded_bytes
        check(sha256(coded) == digest[36:68], "coded bytes do not verify")
        how = {1: lambda: coded, 2: lambda: frame(coded), 3: lambda: frame(coded, mine)}
        how[5] = lambda: difference(coded, mine)
        plain = how[coding]()
        check(len(plain) == blocks * BLOCK and sha256(plain) == digest[4:36], "an output does not verify")
        check(sha256(plain[:BLOCK])[:4] == digest[:4], "a hint is wrong")
        pieces.append(plain)
    check(at == len(data), "something follows")
    fresh, used, shift, target = b"".join(pieces), 0, 0, bytearray()
    shifts = iter(shifts)
    for count, kind in runs:
        length = count * BLOCK
        if kind == 0:
            target += bytes(length)
        elif kind == 1:
            shift += next(shifts)
            start = len(target) + shift * BLOCK
            check(0 <= start and start + length <= len(base), "a copy leaves the base")
            target += base[start : start + length]
        else:
            check(kind == 2 and used + length <= len(fresh), "a run is of no known kind")
            target += fresh[used : used + length]
            used += length
    check(used == len(fresh), "blocks are left over")
    target = bytes(target[:target_bytes])
    open(out, "wb").write(target)
    print(sha256(target).hex())


if __name__ == "__main__":
    verb, path, index_bytes, third, out = sys.argv[1:]
    if verb == "full":
        full(path, int(index_bytes), bytes.fromhex(third), out)
    else:
        check(verb == "delta", f"unknown verb {verb}")
        delta(path, int(index_bytes), third, out)
