//! The hash tree is the one that `veritysetup` makes, and damage to it is seen.
#![allow(clippy::unwrap_used)] // helpers of tests panic as the tests do
#![allow(clippy::disallowed_methods)] // the judge is a program that works on files

mod common;

use std::process::Command;

use common::{SALT, block, image, tree_of};
use twinroot_payload::error::Error;
use twinroot_payload::finish::{Goal, verify};
use twinroot_payload::io::{Fault, ReadAt};
use twinroot_payload::verity::{
    BLOCK, Superblock, TreeBuilder, TreeShape, block_hash, check_stored_tree, claimed_root, hex,
    root_of, sha256,
};

/// Seeded data: block b is one 64-bit word 512 times, made from b and the seed.
struct Seeded {
    seed: u64,
    blocks: u64,
}

impl ReadAt for Seeded {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        for (n, piece) in buf.chunks_exact_mut(BLOCK).enumerate() {
            let number = offset / BLOCK as u64 + n as u64;
            let mut x = number
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(self.seed);
            x ^= x >> 29;
            x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x ^= x >> 32;
            piece
                .chunks_exact_mut(8)
                .for_each(|word| word.copy_from_slice(&x.to_le_bytes()));
        }
        Ok(())
    }

    fn len(&self) -> Result<u64, Fault> {
        Ok(self.blocks * BLOCK as u64)
    }
}

/// Blocks (the seed is the same number), salt, root hash and SHA-256 of the tree's partition, as
/// veritysetup 2.6.1 gave them:
/// `veritysetup format --salt SALT --uuid 11111111-2222-3333-4444-555555555555 DATA TREE`.
const VERITYSETUP: &[(u64, &str, &str, &str)] = &[
    (
        1,
        "",
        "43d00be14d042bc9c1943eaaf803cc73342978e959600f2f58fa9d8eb8d6ddd3",
        "934260963f5652cf16f0096db50fe9f1f3d8e62cf8a83b8d6dda66e07a99ce89",
    ),
    (
        1,
        "00ff",
        "10edc54f8c9b8dfe9a51c471a9981d926cd064d17acbe3981c869e9c40f732b7",
        "c42f51ad59d061218f7617caf92aba540cf0c69833b638f2ad079a41e63b75ec",
    ),
    (
        1,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "6f523ccf5bea060ba0eda348a929dd2734ba7df024354921f9cc35a2a6797f0f",
        "252a9a78d55d2246f26d00c6045f5845ddff4be42e192460b0931d7e5ad52b7d",
    ),
    (
        2,
        "",
        "86068f0e08a719ee036cf7069ea1830398588c1155714889d0de7ec7e1e198d6",
        "bf175ae46bff8ccbef324e9d16b80cffefc4417dd4e31a040f80505682b2fd96",
    ),
    (
        2,
        "00ff",
        "f7981bf96103e5106186c164a7a34a5a511c64b17d15039a95e1126ba2834224",
        "4d3e75665d8ff7d3170ec992688d989e9b56605118fee0749b63a8e93a81af3e",
    ),
    (
        2,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "3d18315fa0f47ee522edf944c49be1774b2b3e6d7619617a9328582c34c8b1b9",
        "9d11ec4a91902433667c565830895ee03e0108bb5bc4fc1392fe8c4684b7dc65",
    ),
    (
        127,
        "",
        "b36d31c5d28cbb814de2b0b8dbbb78cc5e843abcd5a4e208cd20310f77896143",
        "4b3e786fbf8dfc54061a0a8ecafe6f513d78c44fbbbcd16b7b76c8083339e736",
    ),
    (
        127,
        "00ff",
        "c2bf4429c0a64b8b9fa52150f0b46b8de35970d947c33720cdd7c8050acf7c95",
        "9c8b515f1119331cfc1392831deaf0954e9a5fd2140e36748e03599de6b85ac5",
    ),
    (
        127,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "25040c7666450f3c7deab646387c7e3b58fc884cd2fb484c5e078a18b4bd36e1",
        "eaf15cb5c17b00435faff3bf68f75c7be84e421d0c131b8c3d8ff25fd5458b9d",
    ),
    (
        128,
        "",
        "37326209e630b9d69d66ba78032804c36aeafc2b0c0d922f892a4f14f30cddfb",
        "ec63c6729d161283a420bae5cb65d4b8000ba254b07927a82b265854a0982aa2",
    ),
    (
        128,
        "00ff",
        "def950939390995b43ebf4d50e58bc54b51577da2ed47bc7ad394b0cbe095191",
        "e82b9a5132f3de08d7090b62345b56e320cb0f846431ead390134a02d0a6b87e",
    ),
    (
        128,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "6479f559fd1f1bff1ccf6bb78711a0355894c1237039bc1fa8cef9ae8a5d3980",
        "3ca03dea16ea686ab873b6e1bb6ba06da3d7833316a7761d82be6d2925071766",
    ),
    (
        129,
        "",
        "927d6be019274443fb548eaef90df12959fe9a33c2b89196479f81408a361aab",
        "90d0d9e459919d9b212b5dcc53f91c6b86ca7d6d176ffaa562d112bcef2cfc1d",
    ),
    (
        129,
        "00ff",
        "5625a7f4c0f29317c7363c1a3d8cbba2200583b03b6a1fa0fafccda9bc70fb35",
        "9aa296c12046edc35e55557779a6f736a549c20d95163f46bd0b2653c1c93317",
    ),
    (
        129,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "2004678e49b8106f326961f59228fa2320648b976674d03ebbc8e434b6c6958c",
        "a19b2e295eabb538b91310c92c8aad594a292dddac2ad51856729862eb73d596",
    ),
    (
        16383,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "38344b9db329f6fa63d557a38b25d83746f0ecab8bc1b44ff46cbe1ee7513da0",
        "8deb499e202bf4c7e948a3a5bc673463fd66baa21e8f98694bfaf56adb50293e",
    ),
    (
        16384,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "120c28453daaea1e35b6cee27b8eb3a660016aad3dd33b7be92b82395f4d0e75",
        "d0344d6ea268716a346cbb4e2afb69a72944b7cdb53873f06d8f5c9432f15642",
    ),
    (
        16385,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "52f62e4533b06bbe8e291433810f1bebf6a9adbea7726eae19115ef55d0c7b47",
        "54f5f0a190e2393a2b97a2caddc0c08ce958025c79d8fb1c6a408eaf34743261",
    ),
    (
        16512,
        "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
        "2d5c525c79b0176fd914ce30ee75a121e5c8eff583f75e6d1c338ce3445e2904",
        "9fd21dd21de59aafedcc88c0df96fb2533f6c53d5b0ef70e1f2116580ac6ea6d",
    ),
];

/// The UUID that the fixtures were made with.
const FIXTURE_UUID: [u8; 16] = [
    0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55,
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[n * 2..n * 2 + 2], 16).unwrap())
        .collect()
}

/// A tree's partition in memory, and the root hash.
fn partition(data: &dyn ReadAt, shape: TreeShape, salt: &[u8]) -> (Vec<u8>, [u8; 32]) {
    let mut out = vec![0; shape.partition_bytes() as usize];
    let mut put = |at: u64, block: &[u8; BLOCK]| {
        out[at as usize..at as usize + BLOCK].copy_from_slice(block);
        Ok(())
    };
    let mut builder = TreeBuilder::new(shape, salt).unwrap();
    let mut bytes = vec![0; BLOCK];
    for number in 0..shape.data_blocks() {
        data.read_at(number * BLOCK as u64, &mut bytes).unwrap();
        builder.push(&block_hash(salt, &bytes), &mut put).unwrap();
    }
    let root = builder.finish(&mut put).unwrap();
    let superblock = Superblock::new(&shape, salt, &root).unwrap().encode();
    out[..BLOCK].copy_from_slice(&superblock);
    (out, root)
}

#[test]
fn root_hashes_and_trees_are_those_of_veritysetup_for_every_shape() {
    for (blocks, salt, root, tree) in VERITYSETUP {
        let salt = unhex(salt);
        let data = Seeded {
            seed: *blocks,
            blocks: *blocks,
        };
        let shape = TreeShape::new(*blocks).unwrap();
        let (mut made, found) = partition(&data, shape, &salt);
        assert_eq!(hex(&found), *root, "root hash of {blocks} blocks");
        assert_eq!(hex(&root_of(&data, &shape, &salt).unwrap()), *root);
        made[16..32].copy_from_slice(&FIXTURE_UUID);
        assert_eq!(hex(&sha256(&made)), *tree, "tree of {blocks} blocks");
    }
}

#[test]
fn veritysetup_itself_makes_the_same_partition_byte_for_byte() {
    let Ok(found) = Command::new("veritysetup").arg("--version").output() else {
        println!("SKIPPED: veritysetup is not installed (package cryptsetup-bin)");
        return;
    };
    assert!(found.status.success(), "veritysetup --version fails");
    let dir = tempfile::tempdir().unwrap();
    let (data_path, tree_path) = (dir.path().join("data"), dir.path().join("tree"));
    for blocks in [1, 2, 127, 128, 129, 300, 16385] {
        let data = Seeded { seed: 77, blocks };
        let mut bytes = vec![0; blocks as usize * BLOCK];
        data.read_at(0, &mut bytes).unwrap();
        std::fs::write(&data_path, &bytes).unwrap();
        let _ = std::fs::remove_file(&tree_path);
        let (made, root) = partition(&data, TreeShape::new(blocks).unwrap(), SALT);
        let h = hex(&root[..16]);
        let uuid = [&h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..]].join("-");
        let out = Command::new("veritysetup")
            .args(["format", "--salt", &hex(SALT), "--uuid", &uuid])
            .args([&data_path, &tree_path])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(said.contains(&hex(&root)), "{blocks} blocks: {said}");
        assert!(
            std::fs::read(&tree_path).unwrap() == made,
            "tree of {blocks} blocks differs"
        );
    }
}

#[test]
fn every_flipped_bit_of_a_stored_tree_is_found() {
    // 130 blocks: two leaf blocks and a root block, with padding in both.
    let image = image(&(1..=130).collect::<Vec<_>>());
    let tree = tree_of(&image, SALT);
    let shape = TreeShape::new(130).unwrap();
    let root = root_of(&image, &shape, SALT).unwrap();
    check_stored_tree(&tree, &shape, SALT, &root, None).unwrap();
    for at in (BLOCK..tree.len()).step_by(61) {
        let mut bad = tree.clone();
        bad[at] ^= 1 << (at % 8);
        let error = check_stored_tree(&bad, &shape, SALT, &root, None).unwrap_err();
        assert_eq!(error.code(), "payload-tree-wrong", "bit of byte {at}");
    }
}

#[test]
fn a_slot_claims_its_root_only_while_superblock_and_root_block_are_whole() {
    let image = image(&(1..=5).collect::<Vec<_>>());
    let tree = tree_of(&image, SALT);
    let root = root_of(&image, &TreeShape::new(5).unwrap(), SALT).unwrap();
    let claim = claimed_root(&tree)
        .unwrap()
        .expect("a whole tree claims its root");
    assert_eq!((claim.root_hash, claim.data_blocks), (root, 5));
    assert_eq!(claim.salt, SALT);
    for torn in 0..2 * BLOCK / 512 {
        let mut bad = tree.clone();
        let sector = torn * 512..(torn + 1) * 512;
        if bad[sector.clone()].iter().all(|byte| *byte == 0) {
            continue; // losing a sector of zeroes loses nothing
        }
        bad[sector].fill(0);
        assert_eq!(claimed_root(&bad).unwrap(), None, "sector {torn} is lost");
    }
    assert_eq!(claimed_root(&vec![0; 2 * BLOCK]).unwrap(), None);
    assert_eq!(claimed_root(&vec![0; BLOCK]).unwrap(), None);
    assert_eq!(claimed_root(&vec![0xff; 4 * BLOCK]).unwrap(), None);
}

#[test]
fn verify_refuses_a_slot_with_one_wrong_bit_anywhere() {
    let names: Vec<u64> = (1..=129).collect();
    let image = image(&names);
    let tree = tree_of(&image, SALT);
    let shape = TreeShape::new(129).unwrap();
    let goal = Goal {
        shape,
        salt: SALT,
        root_hash: root_of(&image, &shape, SALT).unwrap(),
    };
    verify(&goal, &image, &tree).unwrap();
    for at in [0, BLOCK - 1, 64 * BLOCK + 5, image.len() - 1] {
        let mut bad = image.clone();
        bad[at] ^= 0x10;
        assert_eq!(
            verify(&goal, &bad, &tree).unwrap_err().code(),
            "payload-root-hash"
        );
    }
    let other = Goal {
        root_hash: [7; 32],
        ..goal
    };
    assert_eq!(
        verify(&other, &image, &tree).unwrap_err().code(),
        "payload-not-claimed"
    );
    let salted = Goal {
        salt: b"another",
        ..goal
    };
    assert!(verify(&salted, &image, &tree).is_err());
}

#[test]
fn a_one_block_image_is_proven_by_its_only_leaf() {
    let image = image(&[9]);
    let shape = TreeShape::new(1).unwrap();
    assert_eq!(
        root_of(&image, &shape, SALT).unwrap(),
        block_hash(SALT, &block(9))
    );
    let goal = Goal {
        shape,
        salt: SALT,
        root_hash: block_hash(SALT, &block(9)),
    };
    verify(&goal, &image, &tree_of(&image, SALT)).unwrap();
}

#[test]
fn a_tree_takes_exactly_as_many_leaves_as_its_image_has_blocks() {
    let mut builder = TreeBuilder::new(TreeShape::new(2).unwrap(), SALT).unwrap();
    builder.push(&[1; 32], &mut |_, _| Ok(())).unwrap();
    builder.push(&[2; 32], &mut |_, _| Ok(())).unwrap();
    let error = builder.push(&[3; 32], &mut |_, _| Ok(())).unwrap_err();
    assert!(matches!(error, Error::ImageSize { .. }));
    let builder = TreeBuilder::new(TreeShape::new(2).unwrap(), SALT).unwrap();
    assert!(builder.finish(&mut |_, _| Ok(())).is_err());
}

#[test]
fn sizes_that_no_slot_image_has_are_refused() {
    assert_eq!(
        TreeShape::for_size(0).unwrap_err().code(),
        "payload-image-size"
    );
    assert_eq!(
        TreeShape::for_size(4097).unwrap_err().code(),
        "payload-image-size"
    );
    assert_eq!(
        TreeShape::for_size(u64::MAX - 4095).unwrap_err().code(),
        "payload-too-large"
    );
    let salt = [0; 257];
    let shape = TreeShape::new(1).unwrap();
    assert_eq!(
        TreeBuilder::new(shape, &salt).unwrap_err().code(),
        "payload-salt-too-long"
    );
}

#[test]
fn offsets_beyond_four_gigabytes_are_right() {
    // 2^32 bytes are 2^20 blocks: levels of 8192, 64 and 1 blocks.
    let shape = TreeShape::for_size(1 << 32).unwrap();
    let blocks: Vec<u64> = shape.levels().iter().map(|level| level.blocks).collect();
    assert_eq!(blocks, [8192, 64, 1]);
    let starts: Vec<u64> = shape.levels().iter().map(|level| level.start).collect();
    assert_eq!(starts, [66, 2, 1]);
    let shape = TreeShape::for_size((1 << 32) + 4096).unwrap();
    assert_eq!(shape.levels()[0].blocks, 8193);
    assert_eq!(
        shape.leaf_offset(1 << 20),
        Some((shape.levels()[0].start + 8192) * 4096)
    );
    assert_eq!(shape.leaf_offset((1 << 20) + 1), None);
}
